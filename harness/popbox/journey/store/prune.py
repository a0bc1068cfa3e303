"""Taking old journeys out of a store. Nothing that touches a live space goes, and nothing that is on its way."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from popbox.journey.model import Event, Kind
from popbox.journey.store.project import keys

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


def remove(db: sqlite3.Connection, roots: Iterable[int]) -> None:
    """Take journeys away, with their events and keys. Their ids are never used again."""
    for root in roots:
        family = [row[0] for row in db.execute("SELECT id FROM messages WHERE root = ? AND root != id", (root,))]
        found: set[tuple[int, str]] = set()
        for of in (root, *family):
            rows = db.execute("SELECT at, kind, fields FROM events WHERE message = ?", (of,))
            found |= {key for at, kind, fields in rows for key in keys(Event(at, Kind(kind), of, json.loads(fields)))}
        every = [(kind, key, of) for kind, key in found for of in (root, *family)]
        db.executemany("DELETE FROM finds WHERE kind = ? AND key = ? AND message = ?", every)
        for of in (root, *family):
            db.execute("DELETE FROM events WHERE message = ?", (of,))
            db.execute("DELETE FROM messages WHERE id = ?", (of,))
            db.execute("DELETE FROM awaited WHERE parent = ?", (of,))


def octets(db: sqlite3.Connection) -> int:
    """What the store takes on disk, without pages that are free."""
    (pages,), (free,), (size,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
