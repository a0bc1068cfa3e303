"""Whether two sides of a box are the same in all that is asked, told from the octets as they came, without digests.

Nearly every box of a good move is. ``False`` says nothing: ``compare`` decides then, by its own rules.
"""

from __future__ import annotations

from popbox.migrate.pop3.habits import listed
from popbox.migrate.verify.mailbox import Side
from popbox.migrate.verify.message import Message


def unchanged(old: Side, new: Side, profiles: tuple[str, str]) -> bool:
    """Whether ``compare`` would say equal to each question, and name nothing."""
    if not (_clear(old) and _clear(new)):
        return False
    uidls = [message.uidl for message in old.messages]
    if uidls != [message.uidl for message in new.messages] or len(set(uidls)) != len(uidls) or "" in uidls:
        return False
    if not all(_fits(side.messages, profile) for side, profile in zip((old, new), profiles, strict=True)):
        return False
    added = (profiles[0] == "qmail") - (profiles[1] == "qmail")
    return all(_same(a.sent, b.sent, added) for a, b in zip(old.messages, new.messages, strict=True))


def _clear(side: Side) -> bool:
    """Whether it took the login, and its replies were as they should be."""
    found = side.listing
    odd = side.odd or found.malformed or found.wrong or found.odd
    return not (side.refused or odd or found.no_uidl or found.no_stat)


def _fits(messages: list[Message], profile: str) -> bool:
    """Whether each is listed with a size that is due."""
    return all(one.measured and not one.listed and one.size in listed(profile, *one.measured) for one in messages)


def _same(old: bytes | None, new: bytes | None, added: int) -> bool:
    """Whether these are one message, with ``added`` empty lines more at the end of the old one: -1, 0 or 1.

    An empty one says less than its rules need (``sizes.canonical``).
    """
    if not old or not new:
        return False
    if added == 0:
        return old == new
    more, less = (old, new) if added > 0 else (new, old)
    return len(more) == len(less) + 2 and more.endswith(b"\r\n") and more.startswith(less)
