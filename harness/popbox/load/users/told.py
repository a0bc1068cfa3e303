"""What a worker's users have done so far, as it reports it to the master: for who looks on, never for the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

TOLD = "popbox"  # the key in Locust's own report


class Told(NamedTuple):
    """Copies accepted (one for each recipient) and messages listed for the first time; ``late_s`` of ``lived_s``."""

    accepted: int = 0
    seen: int = 0
    late_s: float = 0.0
    lived_s: float = 0.0

    @classmethod
    def sum(cls, some: Iterable[Told]) -> Told:
        """Of all workers."""
        return cls(*map(sum, zip(cls(), *some, strict=True)))
