"""Claims that are being judged: for one address or login a few at a time, so that failures count before the next.

Without this a hundred connections could have a hundred guesses judged before the first of them counts; and a login
whose hash is costly to check could hold all threads that check passwords.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Hashable, Sequence

Turn = tuple[Hashable, int]
"""A key, and how many claims with it may be judged at once."""


class Turns:
    """One worker's; pure bookkeeping."""

    def __init__(self) -> None:
        self._judged: dict[Hashable, int] = {}
        self._held: dict[Hashable, collections.deque[Callable[[], None]]] = {}
        self._free: collections.deque[Turn] = collections.deque()
        self._calling = False

    def idle(self) -> bool:
        """Whether nothing is being judged now, so that nothing needs to be held."""
        return not self._judged

    def take(self, turns: Sequence[Turn], again: Callable[[], None]) -> bool:
        """Count a claim in; or keep ``again``, which is called when asking again is worthwhile, and return False."""
        for key, most in turns:
            if self._judged.get(key, 0) >= most:
                self._held.setdefault(key, collections.deque()).append(again)
                return False
        for key, _ in turns:
            self._judged[key] = self._judged.get(key, 0) + 1
        return True

    def give_back(self, turns: Sequence[Turn]) -> None:
        """The verdict is known: the next in line may ask again."""
        for key, _ in turns:
            self._judged[key] -= 1
            if not self._judged[key]:
                del self._judged[key]
        self._free.extend(turns)
        if self._calling:  # one of those called has got its verdict at once: no call within a call within a call
            return
        self._calling = True
        while self._free:
            self._call(*self._free.popleft())
        self._calling = False

    def _call(self, key: Hashable, most: int) -> None:
        while self._judged.get(key, 0) < most and (held := self._held.get(key)):
            again = held.popleft()
            if not held:
                del self._held[key]
            again()
