"""Which message of the new host is which of the old one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from popbox.migrate.verify.message import Message

MESSAGE_ID = 2  # in digest.FIELDS


@dataclass(slots=True)
class Pairs:
    """``both``: (old, new) by old number; what stands alone is ``missing`` or ``extra``."""

    both: list[tuple[Message, Message]] = field(default_factory=list)
    missing: list[Message] = field(default_factory=list)
    extra: list[Message] = field(default_factory=list)


def pair(old: list[Message], new: list[Message]) -> Pairs:
    """By the strongest likeness first: UIDL and content, content, UIDL, and at last a Message-ID that is there once.

    Content before UIDL, as some servers number their messages for UIDL: one that is lost would change all behind it.
    """
    pairs = Pairs(missing=list(old), extra=list(new))
    for likeness in (_uidl_and_content, _content, _uidl):
        _match(pairs, likeness)
    _match(pairs, _message_id, once=True)
    pairs.both.sort(key=lambda both: both[0].number)
    return pairs


def _uidl_and_content(message: Message) -> Hashable:
    return (message.uidl, message.key) if message.uidl and message.key else None


def _content(message: Message) -> Hashable:
    return message.key


def _uidl(message: Message) -> Hashable:
    return message.uidl or None


def _message_id(message: Message) -> Hashable:
    return (message.content.fields[MESSAGE_ID] or None) if message.content else None


def _match(pairs: Pairs, likeness: Callable[[Message], Hashable], once: bool = False) -> None:
    """Pair what is alike, the first with the first; ``once``: only where each side has one."""
    groups: dict[Hashable, tuple[list[Message], list[Message]]] = defaultdict(lambda: ([], []))
    for messages, side in ((pairs.missing, 0), (pairs.extra, 1)):
        for message in messages:
            if (like := likeness(message)) is not None:
                groups[like][side].append(message)
    found = [
        both
        for olds, news in groups.values()
        if not once or len(olds) == len(news) == 1
        for both in zip(olds, news, strict=False)
    ]
    taken = {id(message) for both in found for message in both}
    pairs.both += found
    pairs.missing = [message for message in pairs.missing if id(message) not in taken]
    pairs.extra = [message for message in pairs.extra if id(message) not in taken]
