"""What each process of a run cost, sampled while it lasted: a file of lines, and the slope of its memory.

A soak shows what an hour hides: memory, descriptors or threads that only grow. The slope is that of the lowest values,
in the longest time for which a service had the same first process, without its first fifth: a program that has just
begun grows anyway. It is that of memory which is no other's: a table that several processes share has a fixed size, and
grows in each of them, page by page, for as long as there are places in it that none has touched yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import linear_regression

from popbox.load.plan.noted import read_back

FILE = "samples.tsv"
FEWEST = 8  # our choice: of fewer samples there is no slope
WARM_UP = 0.2
HOUR_S = 3_600.0
WINDOWS = 12  # our choice: in a soak of an hour each has 24 samples, and in one of them few sessions are open


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a service with all its child processes: at ``at_s`` from the begin of the load."""

    at_s: float
    who: str  # smtp, pop3, worker 1; of a service's programs "smtp qmail-send"
    pid: int  # of its first process
    processes: int
    rss_kib: int
    own_kib: int  # of that, what is not shared with other processes or with a file
    descriptors: int  # -1: not to be seen by this user
    threads: int
    cpu_s: float

    def line(self) -> str:
        """As it stands in the file."""
        return "\t".join(map(str, (self.at_s, self.who, self.pid, self.processes, *self._rest()))) + "\n"

    def _rest(self) -> tuple[float, ...]:
        return self.rss_kib, self.own_kib, self.descriptors, self.threads, self.cpu_s

    @classmethod
    def of(cls, line: str) -> Sample:
        """From a line of the file."""
        at_s, who, *rest, cpu_s = line.split("\t")
        pid, processes, rss_kib, own_kib, descriptors, threads = map(int, rest)
        return cls(float(at_s), who, pid, processes, rss_kib, own_kib, descriptors, threads, float(cpu_s))


@dataclass(frozen=True, slots=True)
class Growth:
    """How a service's cost grew, in an hour; ``over_s`` is the time that this was seen for.

    Of a shorter time it is what was seen: a buffer of 300 KB more after 12 minutes is no 1.5 MB an hour.
    """

    who: str
    over_s: float
    rss_mb_h: float  # of memory of its own
    descriptors_h: float
    threads_h: float
    rss_mb: float  # the most
    cpu_s: float  # of all its time


def read(folder: Path) -> list[Sample]:
    """The samples of a run; none where there is no such file.

    Raises:
        UnusableError: the file is damaged.
    """
    return read_back(folder / FILE, lambda text: [Sample.of(line) for line in text.splitlines()]) or []


def growth(samples: Iterable[Sample]) -> Iterator[Growth]:
    """The growth of each service, where it was seen for long enough."""
    for who, group in groupby(sorted(samples, key=lambda one: (one.who, one.at_s)), key=lambda one: one.who):
        seen = list(group)
        lives = [list(life) for _, life in groupby(seen, key=lambda one: one.pid)]
        longest = max(lives, key=lambda life: life[-1].at_s - life[0].at_s)
        warm_s = longest[0].at_s + WARM_UP * (longest[-1].at_s - longest[0].at_s)
        warm = [one for one in longest if one.at_s >= warm_s]
        if len(warm) < FEWEST:
            continue
        yield Growth(
            who=who,
            over_s=warm[-1].at_s - warm[0].at_s,
            rss_mb_h=_slope(warm, lambda one: one.own_kib * 1_024 / 1e6),
            descriptors_h=_slope(warm, lambda one: one.descriptors),
            threads_h=_slope(warm, lambda one: one.threads),
            rss_mb=max(one.rss_kib for one in seen) * 1_024 / 1e6,
            cpu_s=sum(life[-1].cpu_s - life[0].cpu_s for life in lives),
        )


def _slope(warm: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    """The growth of the lowest values, one of each window: what comes and goes with sessions is no leak."""
    size = max(1, len(warm) // WINDOWS)
    lowest = [min(warm[at : at + size], key=value) for at in range(0, len(warm), size)]
    an_hour = linear_regression([one.at_s / HOUR_S for one in lowest], [value(one) for one in lowest]).slope
    return an_hour * min(1.0, (warm[-1].at_s - warm[0].at_s) / HOUR_S)
