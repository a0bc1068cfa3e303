"""A message as POP3 handed it out: the octets as received, and where they break the protocol. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from popbox.clients.wire import Logged

STATUS_OCTETS = 512  # RFC 2449 §4, with CR LF
ANNOUNCED = re.compile(rb"\+OK (\d+) octets\b")


@dataclass(frozen=True, slots=True)
class Body:
    """A reply of several lines: ``status`` is the ``+OK`` line, ``lines`` are those before the ``end``."""

    status: Logged
    lines: tuple[Logged, ...]
    end: Logged

    @classmethod
    def read(cls, status: Logged, lines: Iterator[Logged]) -> Body | None:
        """Take the lines up to the single dot; None where the log ends before."""
        taken: list[Logged] = []
        for line in lines:
            if line.octets == b".":
                return cls(status, tuple(taken), line)
            taken.append(line)
        return None

    @property
    def wire(self) -> bytes:
        """The octets as they came, line ends too; dot-stuffing undone (RFC 1939 §3), without the end."""
        return b"".join(line.octets.removeprefix(b".") + line.ended for line in self.lines)

    @property
    def text(self) -> bytes:
        """The same with LF line ends, as a message is kept on disk."""
        return b"".join(line.octets.removeprefix(b".") + b"\n" for line in self.lines)

    def sizes(self) -> set[int]:
        """Sizes that may be told of it: RFC 1939 §11 counts CR LF as two.

        qmail-pop3d tells the file's size, and ends every message with an empty line more (Q-POP3-6, Q-POP3-13).
        """
        told = {len(self.wire)}
        return told | {len(self.wire) - 2, len(self.text) - 1} if self.text.endswith(b"\n\n") else told

    def forms(self, listed: int | None) -> tuple[bytes, ...]:
        """What the message may be.

        This is ``text``, or ``text`` without the empty line that qmail-pop3d adds (Q-POP3-13), unless a size that the
        server announced shows that the line belongs to the message.
        """
        announced = ANNOUNCED.match(self.status.octets)
        told = {listed, int(announced[1]) if announced else None}
        more = self.text.endswith(b"\n\n") and len(self.wire) not in told
        return (self.text, self.text[:-1]) if more else (self.text,)

    def faults(self, listed: int | None = None) -> Iterator[str]:
        """What is wrong with how it was sent, in words; ``listed`` is the size from LIST, where that is known."""
        if len(self.status.octets) + len(self.status.ended) > STATUS_OCTETS:
            yield f"its first line has more than {STATUS_OCTETS} octets (RFC 2449 §4)"
        if bare := [n for n, line in enumerate((self.status, *self.lines, self.end)) if line.ended != b"\r\n"]:
            which = "its first line" if bare[0] == 0 else f"line {bare[0]}"
            yield f"{which} ends in a bare LF, not in CR LF (RFC 1939 §3); {len(bare)} of its lines do"
        for number, line in enumerate(self.lines, 1):
            if line.octets.startswith(b".") and not line.octets.startswith(b".."):
                yield f"line {number} begins with a dot that was not doubled (RFC 1939 §3): {line.text[:60]!r}"
                break
        announced = ANNOUNCED.match(self.status.octets)
        if announced and int(announced.group(1)) not in self.sizes():
            yield f"its first line announces {announced.group(1).decode()} octets, and {len(self.wire)} came"
        if listed is not None and listed not in self.sizes():
            yield f"LIST says {listed} octets, and {len(self.wire)} came (RFC 1939 §11)"
