"""What LIST says of a message, by the habits of its server, against what RETR sent."""

from __future__ import annotations

from collections.abc import Sequence

from popbox.migrate.pop3.habits import KNOWN, listed
from popbox.migrate.pop3.host import Profile
from popbox.migrate.verify.digest import Content
from popbox.migrate.verify.message import Message


def detect(messages: Sequence[Message], hint: Profile) -> Profile:
    """The profile that fits the most messages of a box; among equals ``hint``, which the greeting gave."""
    read = [(message.size, message.measured) for message in messages if message.measured is not None]
    if all(size in listed(hint, *measured) for size, measured in read):
        return hint
    fits = {name: sum([size in listed(name, *measured) for size, measured in read]) for name in KNOWN}
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
        loose = bool({"dovecot", "courier"} & {old_profile, new_profile})
        return old == new or (loose and abs(old - new) == 2)
    lf, crlf = (old, new) if old_profile == "qmail" else (new, old)
    return None if lf <= crlf <= 2 * lf + 2 else False
