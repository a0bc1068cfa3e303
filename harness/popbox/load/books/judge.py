"""The verdict on each message that the host said 250 to, and on each that came without that."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EVIDENCE = "evidence.json"  # token -> lines of the MTA's log
FOUND = "found.json"  # token -> where a message that POP3 did not hand out was found
SHOWN = 200  # our choice: of each verdict so many messages are told of

# Verdicts, the worst first. Those of FAULTS are faults of the host.
FAULTS = ("lost", "altered", "misdelivered", "doubled", "returned", "renumbered", "stranger")
OTHERS = ("not yet", "bounced", "explained", "once")


@dataclass(frozen=True, slots=True)
class Case:
    """One message that is worth telling of. ``at_s`` is when it was accepted, in seconds from the first message.

    ``octets`` and ``qp`` (0: not known) are those of the reply to DATA; ``log`` what the MTA's log says of it.
    """

    verdict: str
    token: str
    box: str
    why: str
    at_s: float = 0.0
    octets: int = 0
    qp: int = 0
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The books of one run. ``counts`` has each verdict; ``cases`` tells of up to ``SHOWN`` of each but ``once``."""

    accepted: int
    counts: dict[str, int]
    cases: tuple[Case, ...] = field(default=())

    def with_logs(self, logs: Mapping[str, Sequence[str]]) -> Verdict:
        """The same, each case with the lines of the MTA's log on its token."""
        return replace(self, cases=tuple(replace(one, log=tuple(logs.get(one.token, ()))) for one in self.cases))


# A crash of the MTA, or a disk that took no more, explains a second copy when it lies between 250 and that copy:
# the MTA may have delivered the first one and not have noted that.
_CRASH = """EXISTS (SELECT 1 FROM faults x WHERE x.target IN ('smtp', 'queue', 'popboxes')
    AND x.kind IN ('kill', 'stop', 'restart', 'fill', 'read-only')
    AND x.from_ns < {last} AND coalesce(x.until_ns, x.from_ns) > {first})"""
_SAID = """SELECT token, any_value(octets), any_value(regexp_extract(note, '\\bqp (\\d+)', 1)) FROM rows
    WHERE event = 'accept' AND list_contains(?, token) GROUP BY token"""
# verdict, token, box, why: one row a message and recipient
_VERDICTS = f"""
CREATE TABLE own AS SELECT a.token, a.box, a.at_ns, a.digest, count(c.uidl) AS copies,
    count(c.uidl) FILTER (c.digest = a.digest AND c.kinds = 1) AS whole,
    max(c.seen_ns) AS last_ns, string_agg(c.uidl, ' ') AS uidls
  FROM (SELECT token, box, at_ns, digest FROM accepted
        UNION ALL SELECT token, box, at_ns, digest FROM unsure u
        WHERE NOT EXISTS (SELECT 1 FROM accepted s WHERE s.token = u.token AND s.box = u.box)
        AND EXISTS (SELECT 1 FROM copies k WHERE k.token = u.token AND k.box = u.box)) a
  LEFT JOIN copies c ON c.token = a.token AND c.box = a.box GROUP BY ALL;
CREATE TABLE verdicts AS
  SELECT CASE WHEN copies = 0 THEN 'missing' WHEN whole < copies THEN 'altered'
    WHEN copies = 1 THEN 'once'
    WHEN EXISTS (SELECT 1 FROM rows v WHERE v.event = 'vanish' AND v.box = own.box
                 AND list_contains(string_split(own.uidls, ' '), v.uidl)) THEN 'renumbered'
    WHEN {_CRASH.format(first="at_ns", last="last_ns")} THEN 'explained' ELSE 'doubled' END AS verdict,
    token, box, at_ns,
    CASE WHEN copies > 1 THEN copies || ' copies: ' || uidls WHEN whole < copies THEN 'handed out other octets as '
    || uidls ELSE '' END AS why FROM own;
INSERT INTO verdicts SELECT 'misdelivered', c.token, c.box, a.at_ns, 'it was for ' || a.box FROM copies c
  JOIN (SELECT token, min(at_ns) AS at_ns, string_agg(DISTINCT box, ', ') AS box
        FROM (SELECT token, box, at_ns FROM accepted UNION ALL SELECT token, box, at_ns FROM unsure) GROUP BY token) a
  ON a.token = c.token
  WHERE NOT EXISTS (SELECT 1 FROM accepted b WHERE b.token = c.token AND b.box = c.box)
  AND NOT EXISTS (SELECT 1 FROM unsure b WHERE b.token = c.token AND b.box = c.box);
INSERT INTO verdicts SELECT 'stranger', coalesce(c.token, ''), c.box, c.first_ns,
    'UIDL ' || c.uidl || ' holds a message that this run did not send' FROM copies c
  WHERE NOT EXISTS (SELECT 1 FROM accepted b WHERE b.token = c.token)
  AND NOT EXISTS (SELECT 1 FROM unsure b WHERE b.token = c.token);
INSERT INTO verdicts SELECT 'returned', any_value(f.token), f.box, min(t.at_ns),
    'UIDL ' || f.uidl || ' was deleted, QUIT answered with +OK, and it was handed out again'
  FROM rows f JOIN taken t ON f.box = t.box AND f.uidl = t.uidl
  WHERE f.event = 'fetch' AND f.at_ns > t.at_ns GROUP BY f.box, f.uidl;
INSERT INTO verdicts SELECT 'renumbered', '', v.box, min(v.at_ns),
    'UIDL ' || v.uidl || ' was listed, not fetched and not deleted, and is there no more' FROM rows v
  WHERE v.event = 'vanish' AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.box = v.box AND c.uidl = v.uidl)
  GROUP BY v.box, v.uidl;
INSERT INTO verdicts SELECT 'renumbered', min(token), box, min(first_ns),
    'UIDL ' || uidl || ' stood for several messages' FROM copies GROUP BY box, uidl HAVING count(DISTINCT token) > 1;
"""


def judge(books: DuckDBPyConnection, folder: Path) -> Verdict:
    """The verdicts, by the journals and by what was found of messages that POP3 did not hand out (``FOUND``)."""
    for statement in _VERDICTS.split(";\n"):
        if statement.strip():
            books.execute(statement)
    found, searched = _kept(folder / FOUND), (folder / FOUND).exists()
    bounced = {one for (one,) in books.execute("SELECT token FROM rows WHERE event = 'bounce'").fetchall()}
    accepted = _one(books, "SELECT count(*) FROM accepted")
    counted = "SELECT verdict, count(*) FROM verdicts WHERE verdict <> 'missing' GROUP BY verdict"
    counts = Counter({name: int(many) for name, many in books.execute(counted).fetchall()})
    began = _one(books, "SELECT ns FROM zero")
    cases = []
    missing = books.execute("SELECT token, box, at_ns FROM verdicts WHERE verdict = 'missing' ORDER BY at_ns")
    while some := missing.fetchmany(10_000):
        for token, box, at_ns in some:
            verdict, why = _where(token, found, bounced, searched=searched)
            counts[verdict] += 1
            if counts[verdict] <= SHOWN:
                cases.append(Case(verdict, token, box, why, (at_ns - began) / 1e9))
    for verdict in (*FAULTS, *OTHERS[:-1]):
        query = "SELECT verdict, token, box, why, at_ns FROM verdicts WHERE verdict = ? ORDER BY at_ns LIMIT ?"
        for name, token, box, why, at_ns in books.execute(query, [verdict, SHOWN]).fetchall():
            cases.append(Case(name, token, box, why, (at_ns - began) / 1e9))
    told = Verdict(accepted, {one: counts[one] for one in (*FAULTS, *OTHERS)}, tuple(_told(books, cases)))
    return told.with_logs(_kept(folder / EVIDENCE))


def _told(books: DuckDBPyConnection, cases: list[Case]) -> Iterator[Case]:
    """The cases with what was said to each."""
    rows = books.execute(_SAID, [sorted({one.token for one in cases})]).fetchall() if cases else []
    said = {token: (int(octets), int(qp or 0)) for token, octets, qp in rows}
    for one in cases:
        octets, qp = said.get(one.token, (0, 0))
        yield replace(one, octets=octets, qp=qp)


def _where(token: str, found: dict[str, list[str]], bounced: set[str], *, searched: bool) -> tuple[str, str]:
    """The verdict on a message that no POP3 session handed out."""
    if token in bounced:
        return "bounced", "its report lies in the sender's box"
    if places := found.get(token):
        return "not yet", f"accepted, and found in {', '.join(places)}"
    nowhere = "found nowhere on the host" if searched else "its files cannot be searched"
    return "lost", f"accepted, not handed out by POP3, and {nowhere}"


def _kept(path: Path) -> dict[str, list[str]]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _one(books: DuckDBPyConnection, query: str) -> int:
    row = books.execute(query).fetchone()
    return int(row[0]) if row else 0
