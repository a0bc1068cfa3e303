"""From what RETR sends to the file that it was: LF line ends, without what the old server adds to each message."""

from __future__ import annotations

from popbox.migrate.oldhost.mboxes.header import HEAD_OCTETS
from popbox.migrate.pop3.habits import KNOWN, listed
from popbox.migrate.pop3.host import Profile

ENDS = 2  # so many newlines at the end can be the server's: qmail-pop3d's empty line, and that of an unended last line


class Content:
    """Takes a message in pieces cut anywhere. Of each CR LF the CR is the wire's; any other CR stays."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.head = b""
        self.octets = self._lines = 0
        self._cr = self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What can be written of the message after the next octets, byte-stuffing undone."""
        self.octets += len(piece)
        self._lines += piece.count(b"\n")
        text = self._cr + piece
        self._cr = text[len(text) - text.endswith(b"\r") :]
        text = self._held + text[: len(text) - len(self._cr)].replace(b"\r\n", b"\n")
        kept = text[: max(0, len(text) - ENDS)]
        self._held = text[len(kept) :]
        self._see(kept)
        return kept

    def fits(self, size: int) -> Profile | None:
        """The profile whose LIST gives such a size for it."""
        return next((name for name in KNOWN if size in listed(name, self.octets, self._lines)), None)

    def end(self, profile: Profile, size: int) -> bytes:
        """The rest, by the habits of a profile. ``size`` is LIST's: it tells whether the last line was ended."""
        kept, rest = self._held, self._cr
        if profile == "qmail":
            kept = kept.removesuffix(b"\n")
            kept = kept.removesuffix(b"\n") if size == self.octets - self._lines - 2 else kept
        elif profile == "dovecot" and size == self.octets - 2:
            kept = kept.removesuffix(b"\n")
        self._see(kept)
        return kept + rest

    def _see(self, text: bytes) -> None:
        if len(self.head) < HEAD_OCTETS:
            self.head += text[: HEAD_OCTETS - len(self.head)]
