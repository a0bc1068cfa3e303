"""What a load run measured over its time, in bins: what came in and what was seen, how late, and per box."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_BINS = 240  # our choice: more are not to be told apart in a picture
KINDS = 8  # our choice: more colours are not to be told apart
OTHERS = "all others"
LATENCIES = tuple(0.001 * 2**power for power in range(20))  # upper ends of bins, seconds: 1 ms to 9 minutes


@dataclass(frozen=True, slots=True)
class Bin:
    """``width`` seconds of a run from ``at`` on: messages accepted, first seen by POP3, and not seen yet.

    ``queue`` is how many the MTA's queue held at most, one for all recipients; null where it was not looked at.
    """

    at: float
    accepted: int
    seen: int
    backlog: int
    accept_p99: float | None  # seconds; None where nothing was accepted
    visible_p50: float | None  # of what was accepted then
    visible_p99: float | None
    queue: int | None


@dataclass(frozen=True, slots=True)
class Failing:
    """A kind of error or reply, and in which bins how often."""

    kind: str
    counts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Times count from the first message accepted. ``heat``: bin of time, of LATENCIES, and how many messages."""

    width: float
    bins: tuple[Bin, ...]
    heat: tuple[tuple[int, int, int], ...]
    errors: tuple[Failing, ...]  # the most frequent first, the rest as one
    boxes: tuple[tuple[str, int, float], ...]  # the slowest: address, messages, mean seconds kept from visits


_WIDTH = """SELECT min(at_ns), (max(t) - min(at_ns)) / 1e9 FROM (
    SELECT at_ns, at_ns AS t FROM accepted UNION ALL SELECT at_ns, seen_ns FROM visible)"""
_BINS = """SELECT bin, sum(a), sum(v) FROM (
    SELECT (at_ns - ?) // ? AS bin, 1 AS a, 0 AS v FROM accepted
    UNION ALL SELECT (seen_ns - ?) // ?, 0, 1 FROM visible) GROUP BY bin ORDER BY bin"""
_ACCEPT = """SELECT (at_ns - ?) // ? AS bin, quantile_cont(took_us / 1e6, 0.99) FROM accepted GROUP BY bin"""
_VISIBLE = """SELECT (at_ns - ?) // ? AS bin, quantile_cont(greatest(seen_ns - at_ns, 0) / 1e9, [0.5, 0.99])
    FROM visible GROUP BY bin"""
_HEAT = """SELECT (at_ns - ?) // ? AS bin,
    least(greatest(ceil(log2(greatest(seen_ns - at_ns, 1) / 1e6)), 0), ?) AS late, count(*)
    FROM visible GROUP BY bin, late ORDER BY bin, late"""
_DEPTH = """SELECT (at_ns - ?) // ? AS bin, max(octets) FROM rows WHERE event = 'depth' GROUP BY bin"""
_ERRORS = """WITH e AS (SELECT note, greatest(at_ns - ?, 0) // ? AS bin FROM rows WHERE event = 'error'),
    k AS (SELECT note, row_number() OVER (ORDER BY count(*) DESC, note) AS place FROM e GROUP BY note)
    SELECT CASE WHEN place < ? THEN note ELSE ? END AS kind, bin, count(*), min(place) FROM e JOIN k USING (note)
    GROUP BY kind, bin ORDER BY min(min(place)) OVER (PARTITION BY kind), bin"""
_BOXES = """SELECT box, count(*), avg(coalesce(kept_ns, 0) / 1e9) AS mean FROM visible GROUP BY box
    ORDER BY mean DESC, box LIMIT 20"""


def series(books: DuckDBPyConnection) -> Series:
    """The series of the opened books, after ``figures`` has made its table ``visible``."""
    row = books.execute(_WIDTH).fetchone()
    if row is None or row[0] is None:
        return Series(1.0, (), (), (), ())
    zero, lasted_s = int(row[0]), float(row[1])
    width = max(1, math.ceil(lasted_s / MOST_BINS))
    at = [zero, width * 1_000_000_000]
    accept = {int(one): float(p99) for one, p99 in books.execute(_ACCEPT, at).fetchall()}
    visible = {int(one): found for one, found in books.execute(_VISIBLE, at).fetchall()}
    queue = {int(one): int(most) for one, most in books.execute(_DEPTH, at).fetchall()}
    bins, backlog = [], 0
    counted = {int(number): (int(a), int(v)) for number, a, v in books.execute(_BINS, at * 2).fetchall()}
    for number in range(max(counted) + 1):
        accepted, seen = counted.get(number, (0, 0))
        backlog += accepted - seen
        p50, p99 = visible.get(number, (None, None))
        late = accept.get(number), p50, p99
        bins.append(Bin(number * width, accepted, seen, backlog, *late, queue.get(number)))
    heat = books.execute(_HEAT, [*at, len(LATENCIES) - 1]).fetchall()
    return Series(
        width=float(width),
        bins=tuple(bins),
        heat=tuple((int(when), int(late), int(many)) for when, late, many in heat),
        errors=tuple(_errors(books, at)),
        boxes=tuple((str(box), int(many), float(mean)) for box, many, mean in books.execute(_BOXES).fetchall()),
    )


def _errors(books: DuckDBPyConnection, at: list[int]) -> Iterator[Failing]:
    rows = books.execute(_ERRORS, [*at, KINDS, OTHERS]).fetchall()
    for kind, some in groupby(rows, key=lambda row: str(row[0])):
        yield Failing(kind, tuple((int(bin_), int(many)) for _, bin_, many, _ in some))
