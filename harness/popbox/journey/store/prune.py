"""Taking old journeys and events out of a store. Nothing that touches a live space goes, nor what is on its way."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from popbox.journey.model import Kind, addresses_in
from popbox.journey.store.project import keys
from popbox.journey.store.schema import folded

PRUNED = "pruned"  # the source beside which it stands up to where messages, or parts of a log, were taken out
LOOKED_AT = 10  # our choice: events of no message that are looked at in one step, for each that may go
# What was foretold is stored again after an hour (`join.foretell`), and a delivery that refers to it comes before that.
FORETOLD_S = 7_200.0
OF_NO_MESSAGE = """
SELECT seq, at, fields FROM events INDEXED BY events_about_none
WHERE message IS NULL AND kind = ? ORDER BY seq LIMIT ?
"""
FORETELLS = "SELECT 1 FROM events WHERE kind = 'trying' AND json_extract(fields, '$.foretold') = ? LIMIT 1"
AT_ONCE = 500  # our choice: journeys of one transaction, so that readers and the recorder do not wait
# Whole families, by their root; old by the begin of the last message. The walk over ids ends with the first that
# is not old: a look at a million young ones must cost nothing. 7 is the key of a domain.
OLD = """
SELECT id FROM messages m WHERE parent IS NULL AND at < ?
AND id < coalesce((SELECT id FROM messages WHERE at >= ? ORDER BY id LIMIT 1), 9223372036854775807)
AND NOT EXISTS (SELECT 1 FROM messages f WHERE f.root = m.id AND f.root != f.id
                AND (f.at >= ? OR f.ended = 0 OR f.owed > 0))
AND ended = 1 AND owed = 0
AND NOT EXISTS (SELECT 1 FROM spaces s JOIN finds f ON f.kind = 7 AND f.key = s.domain AND f.message IN
                    (SELECT m.id UNION ALL SELECT id FROM messages c WHERE c.root = m.id AND c.root != c.id)
                WHERE s.ended_at IS NULL)
ORDER BY id LIMIT ?
"""


def old(db: sqlite3.Connection, before: float, limit: int) -> list[int]:
    """Roots of at most ``limit`` journeys that are at their end, began before a time, and are in no live space."""
    return [row[0] for row in db.execute(OLD, (before, before, before, limit))]


def began(db: sqlite3.Connection, roots: Iterable[int]) -> list[float]:
    """When these messages began."""
    return [db.execute("SELECT at FROM messages WHERE id = ?", (root,)).fetchone()[0] for root in roots]


def remove(db: sqlite3.Connection, roots: Iterable[int]) -> None:
    """Take journeys away, with their events and keys. Their ids are never used again."""
    for root in roots:
        family = [row[0] for row in db.execute("SELECT id FROM messages WHERE root = ? AND root != id", (root,))]
        found: set[tuple[int, str]] = set()
        for of in (root, *family):
            rows = db.execute("SELECT kind, fields FROM events WHERE message = ?", (of,))
            found |= {key for kind, fields in rows for key in keys(Kind(kind), json.loads(fields))}
        every = [(kind, key, of) for kind, key in found for of in (root, *family)]
        db.executemany("DELETE FROM finds WHERE kind = ? AND key = ? AND message = ?", every)
        _note(db, max((root, *family)))
        for of in (root, *family):
            db.execute("DELETE FROM events WHERE message = ?", (of,))
            db.execute("DELETE FROM messages WHERE id = ?", (of,))
            db.execute("DELETE FROM awaited WHERE parent = ?", (of,))


def loose(db: sqlite3.Connection, before: float, now: float, limit: int) -> list[int]:
    """Events of no message that are older than ``before``, at most ``limit``, the oldest of each kind.

    What was foretold stays while a journey refers to it, and the last word on whether POP3 is seen.
    """
    spaces = db.execute("SELECT name, domain, cursor FROM spaces WHERE ended_at IS NULL").fetchall()
    names, domains = {one[0] for one in spaces}, {one[1] for one in spaces}
    (first,) = db.execute("SELECT coalesce(min(id), 9223372036854775807) FROM messages").fetchone()
    found: list[int] = []
    for kind in (Kind.NOTE, Kind.FORETOLD, Kind.GAP, Kind.BLIND):
        until = min(before, now - FORETOLD_S) if kind is Kind.FORETOLD else before
        rows = db.execute(OF_NO_MESSAGE, (kind.value, LOOKED_AT * limit)).fetchall()
        if kind is Kind.BLIND:
            rows = rows[:-1]
        for seq, at, fields in rows:
            if at >= until or len(found) == limit:
                break
            if kind in (Kind.GAP, Kind.BLIND):
                stays = any(seq > cursor for _, _, cursor in spaces)
                stays |= "log" in json.loads(fields) and seq > first  # it says of older journeys what is unknown
            elif kind is Kind.FORETOLD and db.execute(FORETELLS, (seq,)).fetchone():
                stays = True
            else:
                stays = _touches(json.loads(fields), names, domains)
            found += [] if stays else [seq]
    return found


def _touches(said: dict[str, Any], names: set[str], domains: set[str]) -> bool:
    """Whether an event tells of one of these spaces."""
    return said.get("space") in names or not domains.isdisjoint(domain for domain in domains_in(said))


def domains_in(said: dict[str, Any]) -> Iterator[str]:
    """The domains, in lower case, of the addresses that an event of no message names."""
    domain = said.get("domain")
    for one in (*addresses_in(said), *([domain] if isinstance(domain, str) else ())):
        yield folded(one).rpartition("@")[2]


def remove_loose(db: sqlite3.Connection, found: Iterable[int]) -> None:
    """Take such events away."""
    for seq in found:
        (kind,) = db.execute("SELECT kind FROM events WHERE seq = ?", (seq,)).fetchone()
        if kind == Kind.GAP:
            _note(db, seq)
        db.execute("DELETE FROM events WHERE seq = ?", (seq,))


def _note(db: sqlite3.Connection, upto: int) -> None:
    """Keep that from here on the store does not tell all that came behind an older cursor."""
    db.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (PRUNED,))
    db.execute("UPDATE sources SET position = max(CAST(position AS INTEGER), ?) WHERE name = ?", (upto, PRUNED))


def octets(db: sqlite3.Connection) -> int:
    """What the store takes on disk, without pages that are free."""
    (pages,), (free,), (size,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
