"""What the store answers: its events, the journeys that they tell, what waits, and what is counted."""

from __future__ import annotations

import json
import sqlite3
import threading

from popbox.journey.derive import derive
from popbox.journey.model import Event, Journey, Kind
from popbox.journey.store.prune import PRUNED, octets
from popbox.journey.store.schema import connect
from popbox.journey.store.search import Filters, search

MOST_EVENTS = 1000  # our choice: of one answer; the caller goes on from the last seq
COLUMNS = "e.seq, e.at, s.name, e.place, e.kind, e.message, e.fields"
FROM = "FROM events e JOIN sources s ON s.id = e.source"


class Reading:
    """The reading half of a store. Any thread may ask; each reads by a connection of its own."""

    def __init__(self, path: str, shared: sqlite3.Connection | None) -> None:
        """``shared`` is the one connection of a store in memory, whose user is one thread; None for a file."""
        self._path, self._shared, self._local = path, shared, threading.local()

    def _reader(self) -> sqlite3.Connection:
        if self._shared:
            return self._shared
        if not hasattr(self._local, "connection"):
            self._local.connection = connect(self._path, write=False)
        found: sqlite3.Connection = self._local.connection
        return found

    def counts(self, after: int, upto: int) -> dict[tuple[str, str], int]:
        """(kind, outcome of a delivery or empty) -> how many events there are behind a cursor, up to another."""
        query = (
            "SELECT kind, CASE kind WHEN 'tried' THEN json_extract(fields, '$.outcome') ELSE '' END, count(*)"
            " FROM events WHERE seq > ? AND seq <= ? GROUP BY 1, 2"
        )
        return {(kind, str(outcome)): count for kind, outcome, count in self._reader().execute(query, (after, upto))}

    def settling(self, after: int, upto: int) -> list[int]:
        """First messages of the journeys whose end may have changed behind a cursor, up to another."""
        query = (
            "SELECT DISTINCT m.root FROM events e JOIN messages m ON m.id = e.message WHERE e.seq > ? AND e.seq <= ?"
            " AND e.kind IN ('sent', 'ended', 'linked', 'filed', 'missing', 'unseen', 'ambiguous', 'unsure') ORDER BY 1"
        )
        return [row[0] for row in self._reader().execute(query, (after, upto))]

    def open_count(self) -> tuple[int, int]:
        """How many messages the MTA has not ended, and how many files are owed."""
        query = (
            "SELECT (SELECT count(*) FROM messages WHERE ended = 0), (SELECT total(owed) FROM messages WHERE owed > 0)"
        )
        waiting, owed = self._reader().execute(query).fetchone()
        return int(waiting), int(owed)

    def deferred_count(self, most: int) -> int:
        """How many messages that the MTA has not ended were put off at least once, of the oldest ``most`` of them."""
        query = (
            "SELECT count(*) FROM (SELECT id FROM messages WHERE ended = 0 ORDER BY id LIMIT ?) AS m WHERE EXISTS"
            " (SELECT 1 FROM events WHERE message = m.id AND kind = 'tried' AND"
            " json_extract(fields, '$.outcome') = 'deferral')"
        )
        return int(self._reader().execute(query, (most,)).fetchone()[0])

    def octets(self) -> int:
        """What the store takes on disk, without pages that are free and without what is not checked in yet."""
        return octets(self._reader())

    def histogram(self, name: str) -> tuple[dict[float, int], float]:
        """Upper bound -> how many durations have that as their least bucket, and the sum of all, in seconds."""
        db = self._reader()
        counts = dict(db.execute("SELECT le, count FROM histograms WHERE name = ?", (name,)).fetchall())
        row = db.execute("SELECT value FROM totals WHERE name = ?", (name,)).fetchone()
        return counts, row[0] if row else 0.0

    def cursor(self) -> int:
        """The seq of the last event; what comes later has a greater one. 0 in an empty store."""
        found = self._reader().execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return int(found[0]) if found else 0

    def events_since(self, seq: int, limit: int = MOST_EVENTS) -> list[Event]:
        """Events behind a cursor, oldest first, at most ``limit``."""
        rows = self._reader().execute(f"SELECT {COLUMNS} {FROM} WHERE e.seq > ? ORDER BY e.seq LIMIT ?", (seq, limit))
        return [_event(row) for row in rows]

    def journey(self, of: int, upto: int | None = None) -> Journey | None:
        """The whole journey that a message belongs to, by the id of any of its messages; None where there is none.

        With ``upto`` as it was at that cursor, which is not before its first event.
        """
        root = self.root_of(of)
        events = [one for one in self.events_of(root) if upto is None or one.seq <= upto]
        return derive(root, events, self.foretold, self.blind(), self.pop3_gap()) if root else None

    def root_of(self, of: int) -> int:
        """The first message of the journey that a message belongs to; 0 where there is none."""
        row = self._reader().execute("SELECT root FROM messages WHERE id = ?", (of,)).fetchone()
        return int(row[0]) if row else 0

    def events_of(self, root: int) -> list[Event]:
        """All events of a journey, oldest first."""
        family = "SELECT id FROM messages WHERE id = :root OR (root = :root AND root != id)"
        query = f"SELECT {COLUMNS} {FROM} WHERE e.message IN ({family}) ORDER BY e.seq"
        rows = self._reader().execute(query, {"root": root})
        return [_event(row) for row in rows]

    def filed_behind(self, root: int, after: int) -> bool:
        """Whether a journey has a file that was seen behind a cursor: a fraction of what all its events take."""
        query = (
            "SELECT 1 FROM events WHERE kind = 'filed' AND seq > :after AND message IN"
            " (SELECT id FROM messages WHERE id = :root OR (root = :root AND root != id)) LIMIT 1"
        )
        return self._reader().execute(query, {"root": root, "after": after}).fetchone() is not None

    def blind(self) -> str:
        """Why POP3 does not say which messages it hands out, if so."""
        query = "SELECT fields FROM events WHERE message IS NULL AND kind = 'blind' ORDER BY seq DESC LIMIT 1"
        row = self._reader().execute(query).fetchone()
        return str(json.loads(row[0])["why"]) if row else ""

    def pop3_gap(self) -> Event | None:
        """The last event that tells of a missing part of the POP3 log: it hides all that an earlier one hides."""
        return pop3_gap(self._reader())

    def events_about(self, of: int) -> list[Event]:
        """All events of one message, oldest first."""
        rows = self._reader().execute(f"SELECT {COLUMNS} {FROM} WHERE e.message = ? ORDER BY e.seq", (of,))
        return [_event(row) for row in rows]

    def owing(self) -> list[int]:
        """Ids of messages of which files are owed."""
        return [row[0] for row in self._reader().execute("SELECT id FROM messages WHERE owed > 0 ORDER BY id")]

    def event(self, seq: int) -> Event | None:
        """One event."""
        row = self._reader().execute(f"SELECT {COLUMNS} {FROM} WHERE e.seq = ?", (seq,)).fetchone()
        return _event(row) if row else None

    foretold = event  # what `derive` asks for: an event FORETOLD by its seq

    def search(
        self,
        filters: Filters,
        since: int = 0,
        limit: int = 100,
        *,
        before: int | None = None,
        oldest_first: bool = False,
    ) -> tuple[int, ...]:
        """Ids of messages that fit all filters and began behind the cursor ``since``; newest first by default.

        ``before`` is the id from which older ones are wanted, for the next page. A negative ``limit`` is none.
        """
        return search(self._reader(), filters, since, before, limit, oldest_first)

    def unfinished(self, since: int = 0, limit: int = 100) -> tuple[int, ...]:
        """Ids of messages begun behind the cursor that the MTA has not ended, or of which a file is owed."""
        query = "SELECT id FROM messages WHERE {} AND id > ? ORDER BY id LIMIT ?"
        db = self._reader()
        found = {row[0] for one in ("ended = 0", "owed > 0") for row in db.execute(query.format(one), (since, limit))}
        return tuple(sorted(found)[:limit])

    def unsettled(self, since: int, limit: int) -> tuple[int, ...]:
        """Those unfinished, and those of which a forwarded copy or a bounce is not in the log yet."""
        query = "SELECT DISTINCT parent FROM awaited WHERE parent > ? ORDER BY parent LIMIT ?"
        awaited = [row[0] for row in self._reader().execute(query, (since, limit))]
        return tuple(sorted({*self.unfinished(since, limit), *awaited}))

    def gaps(self, since: int) -> tuple[str, ...]:
        """Why the MTA's log was cut behind a cursor, once for each time."""
        query = (
            "SELECT fields FROM events WHERE message IS NULL AND kind = 'gap' AND seq > ?"
            " AND json_extract(fields, '$.log') IS NULL ORDER BY seq LIMIT 10"
        )
        return tuple(str(json.loads(row[0])["why"]) for row in self._reader().execute(query, (since,)))

    def open_numbers(self) -> dict[str, int]:
        """Message number of the MTA -> id, of the messages that it has not ended."""
        query = "SELECT number, id FROM messages WHERE ended = 0 AND number != '' ORDER BY id"
        return dict(self._reader().execute(query).fetchall())

    def position(self, source: str) -> tuple[str, str]:
        """Where reading a source goes on, and what its reader keeps beside that; both empty at first."""
        row = self._reader().execute("SELECT position, state FROM sources WHERE name = ?", (source,)).fetchone()
        return (row[0], row[1]) if row else ("", "")

    def pruned(self) -> int:
        """Up to this seq messages, or words that a part of the log is missing, were taken out; 0 where none was."""
        return int(self.position(PRUNED)[0] or 0)

    def spaces(self) -> list[tuple[str, str, int, float]]:
        """Name, domain, cursor at its begin, and when it was made, of the spaces that were not ended, oldest first."""
        query = "SELECT name, domain, cursor, made_at FROM spaces WHERE ended_at IS NULL ORDER BY made_at, name"
        return self._reader().execute(query).fetchall()

    def live_spaces(self) -> dict[str, str]:
        """Name -> domain of the spaces that were not ended."""
        return dict(self._reader().execute("SELECT name, domain FROM spaces WHERE ended_at IS NULL").fetchall())


def pop3_gap(db: sqlite3.Connection) -> Event | None:
    """See ``Reading.pop3_gap``, which is for readers; the writer asks by its own connection."""
    query = (
        f"SELECT {COLUMNS} {FROM} WHERE e.message IS NULL AND e.kind = 'gap'"
        " AND json_extract(e.fields, '$.log') = 'pop3' ORDER BY e.seq DESC LIMIT 1"
    )
    row = db.execute(query).fetchone()
    return _event(row) if row else None


def _event(row: tuple[int, float, str, str | None, str, int | None, str]) -> Event:
    seq, at, source, place, kind, message, fields = row
    return Event(at, Kind(kind), message, json.loads(fields), source, place or "", seq)
