"""Questions about the order of messages."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


def moved(numbers: Sequence[int]) -> set[int]:
    """The fewest of ``numbers`` (all different) without which the rest ascends: n log n, by patience sorting."""
    tops: list[int] = []
    at: list[int] = []
    for number in numbers:
        pile = bisect_left(tops, number)
        tops[pile : pile + 1] = [number]
        at.append(pile)
    left = set(numbers)
    pile = len(tops) - 1
    for number, its in zip(reversed(numbers), reversed(at), strict=True):
        if its == pile:
            left.discard(number)
            pile -= 1
    return left


def by_number(pairs: Sequence[tuple[int, int]], extras: Sequence[int], had: int) -> tuple[list[int], list[int]]:
    """For clients that know a message by its place: again and missed, for each count k of messages fetched, 0..``had``.

    ``pairs`` are (old place, new place), ``extras`` new places of what the old host has not; places count from 1. Such
    a client goes on at place k + 1: what it has had and is behind that now comes again, what it has not had and is
    before it is missed.
    """
    again, missed = [0] * (had + 2), [0] * (had + 2)
    for old, new in pairs:
        row, first, end = (again, old, new) if old < new else (missed, new, old)
        row[min(first, had + 1)] += 1
        row[min(end, had + 1)] -= 1
    for new in extras:
        missed[min(new, had + 1)] += 1
    return list(accumulate(again[: had + 1])), list(accumulate(missed[: had + 1]))
