"""Whether a login is given to two boxes, of millions, in 16 octets each: each shard looks at all of them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

PARTS = 256


@dataclass(frozen=True)
class Once:
    """Keys and where each stands. They are known by `hash`: 64 bits, of another secret in each process."""

    _hashes: tuple[array[int], ...] = field(default_factory=lambda: tuple(array("q") for _ in range(PARTS)))
    _places: tuple[array[int], ...] = field(default_factory=lambda: tuple(array("Q") for _ in range(PARTS)))

    def note(self, key: tuple[str, str], place: int) -> None:
        """One more; ``place`` is a number of the caller's."""
        found = hash(key)
        self._hashes[found % PARTS].append(found)
        self._places[found % PARTS].append(place)

    def twice(self) -> tuple[int, int] | None:
        """The first place whose key stood at another one before, behind that one; None where each key is there once."""
        doubles = [pair for part in range(PARTS) if (pair := self._in(part))]
        return min(doubles, key=lambda pair: pair[1], default=None)

    def _in(self, part: int) -> tuple[int, int] | None:
        if len(set(self._hashes[part])) == len(self._hashes[part]):
            return None
        first: dict[int, int] = {}
        for found, place in zip(self._hashes[part], self._places[part], strict=True):
            if found in first:
                return first[found], place
            first[found] = place
        raise AssertionError("unreachable")
