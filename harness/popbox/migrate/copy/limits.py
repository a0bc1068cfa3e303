"""How fast an import may go: octets and files a second, kept by waiting, so that the old host can serve its clients."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

BURST_S = 0.1  # our choice: so much of a second may be used at once
_RATE = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)(?:i?B)?(?:/s)?", re.IGNORECASE)


def octets(text: str) -> int:
    """``500K``, ``20M``, ``1.5G`` or plain octets, by powers of 1024.

    Raises:
        ValueError: it has another form.
    """
    found = _RATE.fullmatch(text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"{text!r} is not a rate such as 500K, 20M or 1.5G (octets a second)")
    return max(1, int(float(found[1]) * 1024 ** " KMG".index(found[2].upper() or " ")))


class Limit:
    """One kind of unit. Going over is paid for by waiting: the average holds from the first second on."""

    def __init__(
        self,
        per_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``per_s`` None: no limit."""
        self._per_s, self._clock, self._sleep = per_s, clock, sleep
        self._free_at = clock()

    def take(self, units: int) -> None:
        """Wait until so many units may be used."""
        if self._per_s is None:
            return
        now = self._clock()
        self._free_at = max(self._free_at, now - BURST_S) + units / self._per_s
        if self._free_at > now:
            self._sleep(self._free_at - now)
