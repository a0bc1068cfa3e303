"""What ``parse`` finds in a message: values only."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Link:
    """A link: where it goes, as written there; the words that a reader sees; ``html`` or ``text``, where it stands."""

    href: str
    text: str
    part: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not the text: ``name`` as its sender gave it (may be empty, or a path), ``sha256`` in hex.

    ``octets`` is how long ``content`` is, after base64 or quoted-printable; ``content_id`` is without its brackets.
    """

    name: str
    content_type: str
    octets: int
    sha256: str
    content: bytes = field(repr=False)
    content_id: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """A message. ``raw`` is what the octets were, whatever could be made of them.

    ``headers`` are names and decoded values, in their order. ``text`` and ``html`` are the first part of that type that
    is no attachment, empty where there is none. ``codes`` are what looks like a one-time code, likeliest first.
    ``defects`` says what could not be read, in words.
    """

    raw: bytes = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    html: str = ""
    links: tuple[Link, ...] = ()
    codes: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    defects: tuple[str, ...] = ()

    def header(self, name: str) -> str | None:
        """The first header field of that name, whatever its case; None where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def subject(self) -> str:
        """The Subject; empty where there is none."""
        return self.header("Subject") or ""

    @property
    def code(self) -> str:
        """The likeliest one-time code.

        Raises:
            LookupError: there is none.
        """
        __tracebackhide__ = True  # a test that asks for one fails at its own line
        if not self.codes:
            raise LookupError(f"the message {self.subject!r} has nothing that looks like a one-time code")
        return self.codes[0]

    def link(self, holding: str = "") -> str:
        """Where the first link goes whose address or words hold that text.

        Raises:
            LookupError: there is none; names those there are.
        """
        __tracebackhide__ = True
        for one in self.links:
            if holding in one.href or holding in one.text:
                return one.href
        there = ", ".join(one.href for one in self.links) or "none"
        raise LookupError(f"no link of the message {self.subject!r} holds {holding!r}; its links: {there}")
