"""A part of the boxes that one machine verifies: by a hash of the login, so independent of the order of any file."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

MOST = 100_000


@dataclass(frozen=True, slots=True)
class Shard:
    """Number ``number`` (from 1) of ``of`` parts."""

    number: int
    of: int

    def __str__(self) -> str:
        """As it is typed: ``K/N``."""
        return f"{self.number}/{self.of}"

    def holds(self, login: str) -> bool:
        """Whether a box is of this part; ``login`` is that of the old host."""
        octets = blake2b(login.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(octets, "big") % self.of == self.number - 1


def parse(text: str) -> Shard:
    """``K/N``, 1 to N.

    Raises:
        ValueError: it is none.
    """
    number, slash, of = text.partition("/")
    if not (slash and all(word.isascii() and word.isdigit() and len(word) < 8 for word in (number, of))):
        raise ValueError(f"{text!r} is not K/N, as 3/20")
    if not 1 <= int(number) <= int(of) <= MOST:
        raise ValueError(f"{text!r}: K goes from 1 to N, and N to {MOST}")
    return Shard(int(number), int(of))
