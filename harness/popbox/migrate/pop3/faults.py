"""What can be wrong about the numbers of a listing: those of LIST, of UIDL, and the sums of STAT. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from popbox.clients.listing import is_number


def of_numbers(numbers: Sequence[int], uidls: Sequence[int]) -> Iterator[str]:
    """In words, what cannot be right; messages are numbered from 1 without a gap (RFC 1939 §5).

    ``numbers`` are those of LIST, ``uidls`` those of UIDL, each in its order; no ``uidls`` where none were given.
    """
    if list(numbers) == list(range(1, len(numbers) + 1)) and (not uidls or uidls == numbers):
        return
    if twice := _twice(numbers):
        yield f"lists number {_some(twice)} more than once"
    if twice := _twice(uidls):
        yield f"gives number {_some(twice)} more than one UIDL"
    seen = set(numbers)
    if gaps := sorted(set(range(1, len(seen) + 1)) - seen):
        yield f"lists {len(seen)} messages and no number {_some(gaps)}"
    if strange := sorted(set(uidls) - seen):
        yield f"gives a UIDL to number {_some(strange)}, which LIST has not"


def _twice(numbers: Sequence[int]) -> list[int]:
    return sorted(number for number, count in Counter(numbers).items() if count > 1)


def sums(said: str) -> tuple[int, int] | None:
    """Messages and octets from STAT (the text after ``+OK``); None where these are no two numbers."""
    words = said.split()[:2]
    if len(words) < 2 or not all(is_number(word.encode()) for word in words):
        return None
    return int(words[0]), int(words[1])


def of_sums(said: tuple[int, int], messages: int, octets: int | None) -> str:
    """In words, where STAT and the sums of LIST (octets None: not known) disagree; empty where they do not."""
    for what, one, other in (("messages", said[0], messages), ("octets", said[1], octets)):
        if other is not None and one != other:
            return f"counts {one} {what} in STAT and {other} in LIST"
    return ""


def _some(numbers: Sequence[int], most: int = 5) -> str:
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return ", ".join(map(str, numbers[:most])) + more
