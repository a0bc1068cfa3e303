"""When messages came: dates that keep the order of the old listing, a second apart, as qmail orders by seconds."""

from __future__ import annotations

from collections.abc import Sequence


class Dates:
    """The dates of one listing, in its order, in seconds. ``known``: those of messages that are there already."""

    def __init__(self, known: Sequence[int | None], now_s: int) -> None:
        """``now_s``: every message came before it."""
        self._known, self._last = known, 0
        self._latest: list[tuple[int, bool]] = []
        self.displaced = sum(one is not None and one < highest for one, highest in _highest_before(known))
        latest, bound = now_s - 1, False
        for there in reversed(known):
            self._latest.append((latest, bound))
            latest, bound = (latest - 1, bound) if there is None else (there - 1, True)
        self._latest.reverse()

    def at(self, index: int, own_s: int | None) -> int:
        """The date of the next message: its own where the order allows, between its neighbours' elsewhere.

        ``displaced`` counts those for which there is no room between two that have their dates already.
        """
        there = self._known[index]
        if there is not None:
            return self.note(there)
        latest, bound = self._latest[index]
        first = self._last + 1
        wish = (first if self._last else latest) if own_s is None else own_s
        chosen = max(min(wish, latest), first)
        self.displaced += chosen > latest and bound
        self._last = chosen
        return chosen

    def note(self, there_s: int) -> int:
        """The next message is there already, with this date."""
        self._last = max(self._last, there_s)
        return there_s


def _highest_before(known: Sequence[int | None]) -> list[tuple[int | None, int]]:
    highest, pairs = 0, []
    for one in known:
        pairs.append((one, highest))
        highest = max(highest, one or 0)
    return pairs
