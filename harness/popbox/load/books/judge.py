"""The verdict on each message that the host said 250 to, and on each that came without that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from popbox.load.books.journal import FETCH_ENDED
from popbox.load.books.journey import journeys
from popbox.load.books.message import is_of
from popbox.load.books.recorded import twice_in_one_life
from popbox.load.plan.noted import read_back

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EVIDENCE = "evidence.json"  # token -> lines of the MTA's log
EXPLAINED = "explained.json"  # box -> what `mailhost explain` says of the address of a message that is nowhere
FOUND = "found.json"  # "token box" -> where a message that POP3 did not hand out was found
SHOWN = 200  # our choice: of each verdict so many messages are told of

# Verdicts, the worst first. Those of FAULTS are faults of the host.
FAULTS = ("lost", "altered", "misdelivered", "doubled", "returned", "renumbered", "stranger")
OTHERS = ("not yet", "bounced", "explained", "once")


@dataclass(frozen=True, slots=True)
class Case:
    """One message that is worth telling of. ``at_s`` is when it was accepted, in seconds from the first message.

    ``octets`` and ``qp`` (0: not known) are those of the reply to DATA; ``log`` what the MTA's log says of it;
    ``journey`` what the users' journals say of it, a line each.
    """

    verdict: str
    token: str
    box: str
    why: str
    at_s: float = 0.0
    octets: int = 0
    qp: int = 0
    log: tuple[str, ...] = ()
    journey: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The books of one run. ``counts`` has each verdict; ``cases`` tells of up to ``SHOWN`` of each but ``once``."""

    accepted: int
    counts: dict[str, int]
    cases: tuple[Case, ...] = field(default=())


Look = Callable[[Sequence[Case]], None]

# Which faults of which service may explain a duplicate. The MTA makes a second file where it ended, or a disk of its
# took no more, between the first delivery and its record. POP3 hands a file out again where the head, or the way to it,
# failed between RETR and the reply to QUIT, which is the record of what was taken (RFC 1939 §6).
_MTA = "(x.target = 'smtp' AND x.kind IN ('kill', 'stop', 'restart') OR x.target IN ('queue', 'popboxes'))"
_HEAD = "x.target IN ('pop3', 'popboxes')"
_BETWEEN = """(SELECT string_agg(x.kind || ' ' || x.target || ' at ' || printf('%.1f s', (x.from_ns - z.ns) / 1e9), ', '
    ORDER BY x.from_ns) FROM faults x, zero z
    WHERE {service} AND x.from_ns < {last} AND coalesce(x.until_ns, x.from_ns) > {first})"""
_SAID = """SELECT token, any_value(octets), any_value(regexp_extract(note, '\\bqp (\\d+)', 1)) FROM rows
    WHERE event = 'accept' AND list_contains(?, token) GROUP BY token"""
# own: one row a message and recipient. again: a file that was handed out once more after a session that did not end
# with the reply to QUIT. verdicts: verdict, token, box, why
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
  SELECT CASE WHEN copies = 0 THEN 'missing' WHEN whole < copies THEN 'altered' ELSE 'once' END AS verdict,
    token, box, at_ns, CASE WHEN whole < copies THEN 'handed out other octets as ' || uidls ELSE '' END AS why
  FROM own WHERE copies < 2 OR whole < copies;
INSERT INTO verdicts SELECT CASE WHEN renumbered THEN 'renumbered' WHEN crash IS NULL THEN 'doubled'
    ELSE 'explained' END, token, box, at_ns, copies || ' copies: ' || uidls || CASE WHEN renumbered THEN ''
    WHEN crash IS NULL THEN '; the MTA was not broken between 250 and the last of them'
    ELSE '; between 250 and the last of them: ' || crash END
  FROM (SELECT *, {_BETWEEN.format(service=_MTA, first="at_ns", last="last_ns")} AS crash,
    EXISTS (SELECT 1 FROM rows v WHERE v.event = 'vanish' AND v.box = own.box
            AND list_contains(string_split(own.uidls, ' '), v.uidl)) AS renumbered
    FROM own WHERE copies > 1 AND whole = copies);
CREATE TABLE again AS SELECT *, {_BETWEEN.format(service=_HEAD, first="got_ns", last="ended_ns")} AS crash FROM (
  SELECT s.box, s.token, s.uidl, s.got_ns, e.event, e.note, lead(s.got_ns) OVER one AS next_ns,
    coalesce(e.at_ns, next_ns) AS ended_ns
  FROM (SELECT r.box, r.token, r.uidl, r.writer, r.session, min(r.at_ns) AS got_ns FROM rows r JOIN copies c
        ON c.fetches > 1 AND c.box = r.box AND c.token = r.token AND c.uidl = r.uidl
        WHERE r.event = 'fetch' GROUP BY ALL) s
  LEFT JOIN rows e ON e.event IN ('commit', 'uncommit') AND e.writer = s.writer AND e.session = s.session
  WINDOW one AS (PARTITION BY s.box, s.token, s.uidl ORDER BY s.got_ns))
  WHERE next_ns IS NOT NULL AND event IS DISTINCT FROM 'commit';
UPDATE verdicts SET verdict = a.verdict, why = a.why FROM (
  SELECT token, box, CASE WHEN bool_and(crash IS NOT NULL OR coalesce(note, '') = '{FETCH_ENDED}') THEN 'explained'
    ELSE 'doubled' END AS verdict, count(*) + 1 || ' times handed out: ' || any_value(uidl)
    || '; between RETR and the end of that session: '
    || array_to_string(list_distinct(list(coalesce(crash, note, 'nothing that was broken on purpose'))), '; ') AS why
  FROM again GROUP BY token, box) a
  WHERE verdicts.verdict = 'once' AND verdicts.token = a.token AND verdicts.box = a.box;
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


def judge(books: DuckDBPyConnection, folder: Path, look: Look = lambda _: None) -> Verdict:
    """The verdicts, by the journals and by what was found of messages that POP3 did not hand out (``FOUND``).

    ``look`` hears of the cases before the MTA's log (``EVIDENCE``) is read, and may bring it.
    """
    for statement in _VERDICTS.split(";\n"):
        if statement.strip():
            books.execute(statement)
    found, searched = _kept(folder / FOUND), (folder / FOUND).exists()
    explained = _kept(folder / EXPLAINED)
    bounced: dict[str, list[str]] = {}
    for token, address in books.execute("SELECT token, note FROM rows WHERE event = 'bounce'").fetchall():
        bounced.setdefault(token, []).append(address or "")
    accepted = _one(books, "SELECT count(*) FROM accepted")
    counted = "SELECT verdict, count(*) FROM verdicts WHERE verdict <> 'missing' GROUP BY verdict"
    counts = Counter({name: int(many) for name, many in books.execute(counted).fetchall()})
    began = _one(books, "SELECT ns FROM zero")
    cases = []
    missing = books.execute("SELECT token, box, at_ns FROM verdicts WHERE verdict = 'missing' ORDER BY at_ns")
    while some := missing.fetchmany(10_000):
        for token, box, at_ns in some:
            reported = any(is_of(one, box) for one in bounced.get(token, ()))
            verdict, why = _where(found.get(f"{token} {box}"), reported=reported, searched=searched)
            if verdict == "lost" and box in explained:
                why += f"; by `mailhost explain` mail for it is {': '.join(explained[box])}"
            counts[verdict] += 1
            if counts[verdict] <= SHOWN:
                cases.append(Case(verdict, token, box, why, (at_ns - began) / 1e9))
    for verdict in (*FAULTS, *OTHERS[:-1]):
        query = "SELECT verdict, token, box, why, at_ns FROM verdicts WHERE verdict = ? ORDER BY at_ns LIMIT ?"
        for name, token, box, why, at_ns in books.execute(query, [verdict, SHOWN]).fetchall():
            cases.append(Case(name, token, box, why, (at_ns - began) / 1e9))
    told = list(_told(books, cases))
    look(told)
    logs = _kept(folder / EVIDENCE)
    judged = []
    for one in told:
        case = replace(one, log=tuple(logs.get(one.token, ())))
        if case.verdict == "explained" and twice_in_one_life(case.log, case.box):
            counts.subtract(["explained"])
            counts.update(["doubled"])
            case = replace(case, verdict="doubled", why=f"{case.why}; but by its log the MTA did not end between them")
        judged.append(case)
    return Verdict(accepted, {one: counts[one] for one in (*FAULTS, *OTHERS)}, tuple(judged))


def _told(books: DuckDBPyConnection, cases: list[Case]) -> Iterator[Case]:
    """The cases with what was said to each."""
    if not cases:
        return
    tokens = sorted({one.token for one in cases})
    said = {token: (int(octets or 0), int(qp or 0)) for token, octets, qp in books.execute(_SAID, [tokens]).fetchall()}
    ways = journeys(books, [one for one in tokens if one])
    for one in cases:
        octets, qp = said.get(one.token, (0, 0))
        yield replace(one, octets=octets, qp=qp, journey=ways.get((one.token, one.box), ()))


def _where(places: list[str] | None, *, reported: bool, searched: bool) -> tuple[str, str]:
    """The verdict on a message that no POP3 session handed out, and that was found in ``places``."""
    if reported:
        return "bounced", "its report lies in the sender's box"
    if places:
        return "not yet", f"accepted, and found in {', '.join(places)}"
    nowhere = "found nowhere on the host" if searched else "its files cannot be searched"
    return "lost", f"accepted, not handed out by POP3, and {nowhere}"


def _kept(path: Path) -> dict[str, list[str]]:
    return read_back(path, TypeAdapter(dict[str, list[str]]).validate_json) or {}


def _one(books: DuckDBPyConnection, query: str) -> int:
    row = books.execute(query).fetchone()
    return int(row[0]) if row else 0
