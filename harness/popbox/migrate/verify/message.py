"""One message of a listing, and what is known of its text."""

from __future__ import annotations

from popbox.migrate.verify.digest import Content, digest


class Message:
    """``trouble`` says why its content could not be read; ``listed`` is what LIST says in place of a size, 0 then.

    ``sent`` is what RETR gave, where it is kept (see ``keep``): then ``content`` is worked out when it is asked for.
    ``measured`` is octets and line ends of what was sent.
    """

    __slots__ = ("_content", "listed", "measured", "number", "sent", "size", "trouble", "uidl")

    def __init__(
        self, number: int, uidl: str, size: int, content: Content | None = None, trouble: str = "", listed: str = ""
    ) -> None:
        """A message of LIST and UIDL; ``content`` where it is known already."""
        self.number, self.uidl, self.size = number, uidl, size
        self.trouble, self.listed = trouble, listed
        self.sent: bytes | None = None
        self.measured: tuple[int, int] | None = None
        self._content: Content | None = None
        if content is not None:
            self.content = content

    def keep(self, sent: bytes) -> None:
        """Take a message as it was sent, byte-stuffing undone."""
        self.sent, self.measured, self._content = sent, (len(sent), sent.count(b"\n")), None

    def take(self, other: Message) -> None:
        """It is the same message as one of an earlier session."""
        self.sent, self.measured, self._content = other.sent, other.measured, other._content
        self.trouble = self.trouble or other.trouble

    def forget(self) -> None:
        """It is not read yet."""
        self.sent = self.measured = self._content = None

    @property
    def read(self) -> bool:
        """Whether its text is known."""
        return self.measured is not None

    @property
    def content(self) -> Content | None:
        """What RETR gave; None: not read."""
        if self._content is None and self.sent is not None:
            self._content = digest((self.sent,))
        return self._content

    @content.setter
    def content(self, content: Content) -> None:
        self._content, self.measured = content, (content.octets, content.lines)

    @property
    def key(self) -> bytes | None:
        """What makes two messages the same one: header and body, whatever the line ends and the newlines at the end.

        Fields that servers of mbox files write into the header do not count (digest.SERVERS).
        """
        content = self.content
        return None if content is None else content.bare + content.body
