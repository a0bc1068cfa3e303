"""What LIST says of a message, by the habits of its server, against what RETR sent."""

from __future__ import annotations

from collections.abc import Sequence

from popbox.migrate.verify.digest import Content
from popbox.migrate.verify.host import Profile
from popbox.migrate.verify.mailbox import Message

KNOWN: tuple[Profile, ...] = ("rfc1939", "qmail", "dovecot")


def listed(profile: str, sent: Content) -> tuple[int, ...]:
    """The sizes that LIST may give for what was sent.

    qmail-pop3d lists the file: LF line ends, no extra line, and perhaps no newline at the end (Q-POP3-6, Q-POP3-13).
    Dovecot and courier add a missing line end and do not count it (conformance/README.md, ``added-end-not-counted``).
    """
    if profile == "qmail":
        return (sent.octets - sent.lines - 1, sent.octets - sent.lines - 2)
    return (sent.octets, sent.octets - 2) if profile == "dovecot" else (sent.octets,)


def detect(messages: Sequence[Message], hint: Profile) -> Profile:
    """The profile that fits the most messages of a box; among equals ``hint``, which the greeting gave."""
    read = [(message.size, message.content) for message in messages if message.content is not None]
    fits = {name: sum(size in listed(name, content) for size, content in read) for name in KNOWN}
    return max(KNOWN, key=lambda name: (fits[name], name == hint))


def canonical(profile: str, content: Content) -> tuple[bytes, bytes, int]:
    """Header, body and the newlines at the end, without what servers add.

    That is the line that qmail-pop3d adds to each message (E-74), and the fields of digest.SERVERS.
    """
    ends = content.ends - 1 if profile == "qmail" else content.ends
    return content.bare, content.body, max(ends, 1) if content.core else 0


def length(profile: str, content: Content) -> int:
    """Octets of the message with LF line ends and one at its end, without what servers add."""
    return content.core - content.added_octets + canonical(profile, content)[2]


def comparable(old_profile: str, old: int, new_profile: str, new: int) -> bool | None:
    """Whether two listed sizes, content unread, can be of one message; None where they tell too little to say yes.

    A size with LF line ends and one with CR LF can only be held against each other as bounds.
    """
    if (old_profile == "qmail") == (new_profile == "qmail"):
        loose = "dovecot" in (old_profile, new_profile)
        return old == new or (loose and abs(old - new) == 2)
    lf, crlf = (old, new) if old_profile == "qmail" else (new, old)
    return None if lf <= crlf <= 2 * lf + 2 else False
