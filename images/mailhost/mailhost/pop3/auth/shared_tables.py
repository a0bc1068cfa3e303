"""What the throttles of all workers share: memory made before the fork, bounded, found by salted 64-bit hashes.

Open connections are on the path of every session and take no lock: each worker alone writes its own cells, as single
64-bit stores, and all read them. Failures and good pairs are rare and slow anyway: those tables are changed under an
fcntl lock, which the kernel gives back when its holder is killed. Only pages that were touched take memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
from collections.abc import Hashable, Iterator

PLACES = 8_192
"""Places for open connections by address; a place has ``WAYS`` cells of 8 octets for each worker (256 KiB a worker)."""

WAYS = 4
FREE_FAILURES = 5
"""This many failures cost only the fixed delay: people mistype, and mail programs keep old passwords."""

WINDOW_S = 900.0
"""Failures are forgotten when there was none for this long."""

BUCKET = 8
"""Entries a bucket of ``Table`` has; when they are taken the oldest is forgotten."""

_WORDS = 5
_COUNT_BITS = 20
_COUNT = (1 << _COUNT_BITS) - 1


class Table:
    """A bounded map from a key to four numbers, ``fields[at]`` to ``fields[at + 3]``.

    The first is a time of last use. The second is a count: an entry that counts more than ``heavy``, used in the last
    ``kept_s`` seconds, gives its place to no lighter one, so that many new keys do not push it out.
    """

    def __init__(self, buckets: int, heavy: float = math.inf, kept_s: float = 0.0) -> None:
        self._heavy, self._kept_s = heavy, kept_s
        memory = memoryview(mmap.mmap(-1, buckets * BUCKET * _WORDS * 8))
        self._marks, self.fields = memory.cast("Q"), memory.cast("d")
        self._buckets = buckets

    def find(self, key: Hashable) -> int | None:
        """Where the fields of ``key`` are."""
        mark, entries = self._entries(key)
        return next((at + 1 for at in entries if self._marks[at] == mark), None)

    def place(self, key: Hashable, now: float) -> int:
        """Where the fields of ``key`` are from now on: all 0 when it is new."""
        found = self.find(key)
        if found is not None:
            return found
        mark, entries = self._entries(key)
        marks, fields = self._marks, self.fields
        at = min(entries, key=lambda entry: (marks[entry] != 0, self._is_heavy(entry, now), fields[entry + 1]))
        self._marks[at] = 0  # a worker killed from here on leaves an empty entry, not a mixed one
        for field in range(1, _WORDS):
            self.fields[at + field] = 0.0
        self._marks[at] = mark
        return at + 1

    def _is_heavy(self, entry: int, now: float) -> bool:
        return self.fields[entry + 2] > self._heavy and now - self.fields[entry + 1] < self._kept_s

    def _entries(self, key: Hashable) -> tuple[int, range]:
        mark = hash(key) % (1 << 64) or 1
        start = mark % self._buckets * BUCKET * _WORDS
        return mark, range(start, start + BUCKET * _WORDS, _WORDS)


class Shared:
    """Make it before forking."""

    def __init__(self, workers: int = 1, places: int = PLACES, buckets: int = 4_096) -> None:
        """``buckets`` of 320 octets in a table: 32,768 entries and 1.3 MiB each, four times that for the pairs."""
        self.workers = workers
        self.addresses, self.logins = (Table(buckets, FREE_FAILURES, WINDOW_S) for _ in range(2))
        self.pairs, self.good = Table(4 * buckets, FREE_FAILURES, WINDOW_S), Table(buckets)
        self.until = memoryview(mmap.mmap(-1, 8)).cast("d")
        """One time: from then on nothing is throttled, unless more fails; until then every claim checks the tables."""
        self._places = places
        self.totals = memoryview(mmap.mmap(-1, workers * 8)).cast("q")
        self.waiting = memoryview(mmap.mmap(-1, workers * 8)).cast("q")
        """For each worker: open connections, and how many of these have not logged in."""
        self.cells = memoryview(mmap.mmap(-1, places * workers * WAYS * 8)).cast("Q")
        self._lock = os.memfd_create("throttle", os.MFD_CLOEXEC) if workers > 1 else -1

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other workers from changing the tables, for a few microseconds."""
        if self._lock < 0:
            yield
            return
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def give_back(self, worker: int) -> None:
        """Zero what a worker that died had counted."""
        if self.totals[worker]:
            for place in range(self._places):
                start = (place * self.workers + worker) * WAYS
                for at in range(start, start + WAYS):
                    if self.cells[at]:
                        self.cells[at] = 0
        self.totals[worker] = self.waiting[worker] = 0

    def claim(self, worker: int, key: str) -> int:
        """The cell in which ``worker`` counts what ``key`` has open from now on, 1 at first; -1 when none is free."""
        place, mark = self._mark(key)
        start = (place * self.workers + worker) * WAYS
        for at in range(start, start + WAYS):
            if not self.cells[at]:
                self.cells[at] = mark << _COUNT_BITS | 1
                return at
        return -1

    def address(self, key: str) -> int:
        """How many connections all workers have from ``key``; those without a cell are known to their worker only."""
        place, mark = self._mark(key)
        width = self.workers * WAYS
        cells = self.cells[place * width : (place + 1) * width].tolist()
        return sum(cell & _COUNT for cell in cells if cell >> _COUNT_BITS == mark)

    def _mark(self, key: str) -> tuple[int, int]:
        mark, place = divmod(hash(key) % (1 << 57), self._places)  # the same in all workers: forks of one process
        return place, mark % (1 << 44) or 1
