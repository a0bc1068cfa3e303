"""Messages named for a person: decoded headers, without anything that a terminal would act on."""

from __future__ import annotations

from email.errors import HeaderParseError
from email.header import decode_header, make_header

from popbox.migrate.verify.message import Message
from popbox.migrate.verify.result import Named

SHOWN = 120


def named(message: Message | Named, fields: tuple[bytes, ...] = ()) -> Named:
    """With ``fields`` (digest.FIELDS) from elsewhere where the content was not read."""
    content = message.content if isinstance(message, Message) else None
    known = content.fields if content else fields
    subject, date, message_id = map(clean, known[:3]) if known else ("", "", "")
    return Named(
        number=message.number,
        uidl=message.uidl,
        size=message.size,
        subject=_decoded(subject)[:SHOWN],
        date=date[:SHOWN],
        message_id=message_id[:SHOWN],
    )


def clean(octets: bytes | str) -> str:
    """One line of printable characters; what is not is shown as its code."""
    text = octets.decode("utf-8", "backslashreplace") if isinstance(octets, bytes) else octets
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in " ".join(text.split()))


def _decoded(subject: str) -> str:
    """RFC 2047 words decoded where they can be."""
    try:
        return clean(str(make_header(decode_header(subject))))
    except (HeaderParseError, LookupError, ValueError):
        return subject
