"""What a load run measured, from its journals: rates, times, fairness, errors by kind. Times in seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from popbox.printable import counted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NUMBERS = re.compile(r"\d+")
_PLACE = re.compile(r"\[?[0-9a-fA-F:.]+\]?:\d+")
LATE_SHARE = 0.05  # a generator that was late for more of its time than this measured itself, and not the host
SLACK_NS = 100_000_000  # our choice: clocks that agree this well put a fault beside the right message
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def kind_of(text: str) -> str:
    """An error or a reply without what differs each time: addresses, and numbers of more than three digits."""
    kept = _PLACE.sub("HOST", text.splitlines()[0] if text else "")
    return _NUMBERS.sub(lambda found: found[0] if len(found[0]) <= 3 else "N", kept)[:120]


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, in seconds."""

    count: int
    p50: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """A fault, from and until when, and how long after it the first success came.

    Seconds, counted from the first message accepted.
    """

    kind: str
    target: str
    from_s: float
    until_s: float
    took_s: float | None  # None: nothing succeeded any more
    tried_s: float  # how long the users went on after it


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run measured. ``lag`` is the share of its time for which the generator was late itself."""

    lasted_s: float
    accepted: int
    accepted_rate: float  # a second
    handed_out: int
    accept: Times  # from the intended moment to 250
    dialogue: Times  # of it, from connecting or MAIL; before, the message waited for what its user had to send first
    visible: Times  # from 250 to the first session that listed it
    login: Times  # connection, greeting, USER, PASS
    session: Times  # from the connection to the reply to QUIT
    verbs: tuple[tuple[str, Times], ...]  # UIDL, RETR, DELE, QUIT: from the command to the end of the reply
    fairness: float  # Jain's index over the boxes of how long mail was kept from visits: 1 is alike, 1/n one for all
    errors: tuple[tuple[str, int], ...]  # kind, how often; the most frequent first
    lag: float
    recoveries: tuple[Recovery, ...]


# kept_ns: from the begin of the first visit to the box after 250, also of one that failed, to the one that listed it.
# How often a reader comes is no doing of the host's.
_VISIBLE = """CREATE OR REPLACE TEMP TABLE visible AS SELECT m.*, greatest(seen_ns - from_ns, 0) AS kept_ns FROM (
    SELECT a.box, a.at_ns, a.took_us, min(c.seen_ns) AS seen_ns FROM accepted a
    JOIN copies c ON c.token = a.token AND c.box = a.box GROUP BY a.token, a.box, a.at_ns, a.took_us) m
    ASOF LEFT JOIN (SELECT box, at_ns - coalesce(took_us, 0) * 1000 AS from_ns FROM rows
        WHERE event IN ('login', 'error') AND box IS NOT NULL) v ON v.box = m.box AND v.from_ns >= m.at_ns"""


_DIALOGUE = """SELECT max(took_us - coalesce(late_us, 0)) / 1e6 AS t FROM rows WHERE event = 'accept' GROUP BY token"""
_VERBS = {
    verb: f"SELECT took_us / 1e6 AS t FROM rows WHERE took_us IS NOT NULL AND {which}"
    for verb, which in {
        "UIDL": "event = 'verb' AND note = 'UIDL'",
        "RETR": "event = 'fetch'",
        "DELE": "event = 'delete'",
        "QUIT": "event = 'verb' AND note = 'QUIT'",
    }.items()
}


def out_of_time(books: DuckDBPyConnection) -> list[str]:
    """Why the journals do not fit in time, in words, after ``figures`` has made its table ``visible``."""
    query = "SELECT count(*) FROM visible WHERE seen_ns + ? < at_ns - coalesce(took_us, 0) * 1000"
    many = int(_row(books, query, [SLACK_NS])[0])
    return [f"seen before sent: {counted(many, 'message')}; the machines' clocks differ"] if many else []


def figures(books: DuckDBPyConnection) -> Figures:
    """The figures of the opened books."""
    books.execute(_VISIBLE)
    first, last = _row(books, "SELECT min(at_ns), max(at_ns) FROM rows WHERE event = 'accept'")
    lasted_s = max(((last or 0) - (first or 0)) / 1e9, 1.0)
    accepted = int(_row(books, "SELECT count(*) FROM accepted")[0])
    late = _row(books, "SELECT sum(took_us) / 1e6, count(*) FROM rows WHERE event = 'lag'")
    errors = books.execute(
        "SELECT note, count(*) AS n FROM rows WHERE event = 'error' GROUP BY note ORDER BY n DESC, note LIMIT 50"
    ).fetchall()
    return Figures(
        lasted_s=lasted_s,
        accepted=accepted,
        accepted_rate=accepted / lasted_s,
        handed_out=int(_row(books, "SELECT count(*) FROM copies")[0]),
        accept=_times(books, "SELECT max(took_us) / 1e6 AS t FROM rows WHERE event = 'accept' GROUP BY token"),
        dialogue=_times(books, _DIALOGUE),
        visible=_times(books, "SELECT greatest(seen_ns - at_ns, 0) / 1e9 AS t FROM visible"),
        login=_times(books, "SELECT took_us / 1e6 AS t FROM rows WHERE event = 'login'"),
        session=_times(books, "SELECT took_us / 1e6 AS t FROM rows WHERE event = 'commit'"),
        verbs=tuple((verb, _times(books, query)) for verb, query in _VERBS.items()),
        fairness=_fairness(books),
        errors=tuple((str(note), int(many)) for note, many in errors),
        lag=float(late[0] or 0) / max(int(late[1]), 1),
        recoveries=tuple(_recoveries(books)),
    )


def _times(books: DuckDBPyConnection, query: str) -> Times:
    parts = ", ".join(f"quantile_cont(t, {share})" for share in QUANTILES.values())
    count, *found = _row(books, f"SELECT count(*), {parts}, max(t) FROM ({query})")
    return Times(int(count), *(float(one or 0) for one in found))


def _fairness(books: DuckDBPyConnection) -> float:
    """Of the mean times of the boxes; a time below a second counts as one, as no one sees the difference."""
    mean = "SELECT greatest(avg(coalesce(kept_ns, 0) / 1e9), 1.0) AS t FROM visible GROUP BY box"
    row = _row(books, f"SELECT sum(t) * sum(t) / (count(*) * sum(t * t)) FROM ({mean})")
    return float(row[0] if row[0] is not None else 1.0)


def _recoveries(books: DuckDBPyConnection) -> list[Recovery]:
    """Success is a message accepted, for POP3 a login, and for its disk that a message accepted since is listed.

    The time in which the next fault was there does not count.
    """
    query = """SELECT kind, target, (from_ns - zero.ns) / 1e9, (until_ns - zero.ns) / 1e9, CASE f.target
        WHEN 'popboxes' THEN (SELECT min(v.seen_ns) FROM visible v WHERE v.at_ns > f.until_ns)
        WHEN 'pop3' THEN (SELECT min(r.at_ns) FROM rows r WHERE r.at_ns > f.until_ns AND r.event = 'login')
        ELSE (SELECT min(r.at_ns) FROM rows r WHERE r.at_ns > f.until_ns AND r.event = 'accept')
        END - until_ns, greatest(0, (SELECT max(at_ns) FROM rows WHERE event IN ('accept', 'refuse', 'unsure', 'login'))
        - until_ns) FROM faults f, zero WHERE until_ns IS NOT NULL ORDER BY from_ns"""
    found = books.execute(query).fetchall()
    times = [(a, u) for _, _, a, u, _, _ in found]
    return [
        Recovery(kind, target, a, u, None if took is None else took / 1e9 - _broken(times, u, took / 1e9), tried / 1e9)
        for kind, target, a, u, took, tried in found
    ]


def _broken(times: Sequence[tuple[float, float]], healed_s: float, took_s: float) -> float:
    """For how much of ``took_s`` after a moment one of the faults was there."""
    end_s = healed_s + took_s
    return sum(max(0.0, min(until, end_s) - max(begun, healed_s)) for begun, until in times)


def _row(books: DuckDBPyConnection, query: str, given: Sequence[object] = ()) -> tuple[Any, ...]:
    row = books.execute(query, given).fetchone()
    return row if row is not None else (None,)
