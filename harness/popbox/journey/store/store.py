"""The store of events and journeys: one SQLite file, one writing process, any number of reading threads."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from popbox.errors import PopboxError
from popbox.journey.derive import derive
from popbox.journey.model import Event, Journey, Kind
from popbox.journey.store.project import project
from popbox.journey.store.prune import AT_ONCE, PRUNED, began, loose, octets, old, remove, remove_loose
from popbox.journey.store.schema import VERSION, connect, folded, prepare
from popbox.journey.store.search import Filters, search

IN_MEMORY = ":memory:"
NEW = 0  # as the message of an event: it is the first of a new message
PAGES_A_JOURNEY = 20  # our choice: free pages that are given back with each that is taken out
MOST_EVENTS = 1000  # our choice: of one answer; the caller goes on from the last seq
COLUMNS = "e.seq, e.at, s.name, e.place, e.kind, e.message, e.fields"
FROM = "FROM events e JOIN sources s ON s.id = e.source"


class StoreError(PopboxError):
    """The store cannot be opened, read or written: names the file and the reason."""


class Store:
    """See ``open``. Reading methods may be called from any thread; each thread reads by a connection of its own."""

    def __init__(self, path: str, connection: sqlite3.Connection | None, lock: int | None) -> None:
        """Use ``open`` or ``in_memory``."""
        self._path, self._writer, self._lock_fd = path, connection, lock
        self._lock, self._local = threading.RLock(), threading.local()
        self._sources: dict[str, int] = {}
        self._listeners: list[Callable[[int], None]] = []
        self._last = self.cursor()

    @classmethod
    def open(cls, path: Path, *, write: bool = True) -> Self:
        """Open the file, or make it where it is written; ``write=False`` beside a process that writes.

        Raises:
            StoreError: another process writes it, or it is no store of this version.
        """
        if not write and not path.exists():
            raise StoreError(f"{path}: there is no such store")
        lock = _locked(path) if write else None
        if write:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # subjects and addresses of others
        connection = connect(str(path), write=write)
        try:
            version = prepare(connection) if write else connection.execute("PRAGMA user_version").fetchone()[0]
            why = "" if version == VERSION else f"its version is {version}, and this popbox reads version {VERSION}"
        except sqlite3.Error as error:
            why = str(error)
        if not why:
            return cls(str(path), connection if write else None, lock)
        connection.close()
        if lock is not None:
            os.close(lock)
        raise StoreError(f"{path}: {why}")

    @classmethod
    def in_memory(cls) -> Self:
        """A store that ends with its user, who is one thread: writing and reading have the same connection."""
        connection = connect(IN_MEMORY, write=True)
        prepare(connection)
        return cls(IN_MEMORY, connection, None)

    def close(self) -> None:
        """Close the writing connection and give the lock back; harmless when done twice."""
        with self._lock:
            if self._writer:
                self._writer.close()
            if self._lock_fd is not None:
                os.close(self._lock_fd)
            self._writer = self._lock_fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Writing

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """All that is added within it is stored together at its end, or, after an error, not at all.

        Raises:
            StoreError: the disk is full or fails; nothing was stored.
        """
        with self._lock:
            if self._writer is None:
                raise StoreError(f"{self._path}: it is closed, or open for reading only")
            before = self._last
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield Batch(self, self._writer)
                self._writer.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                self._last = before
                self._sources.clear()
                if isinstance(error, sqlite3.Error):
                    raise StoreError(f"{self._path}: {error}") from error
                raise
        if self._last != before:
            for tell in self._listeners:
                tell(self._last)

    def append(self, events: Iterable[Event]) -> list[int]:
        """Store events in one transaction; returns their seqs, 0 for each whose source and place are there already.

        Raises:
            StoreError: nothing was stored.
        """
        with self.batch() as batch:
            return [batch.add(event) for event in events]

    def on_commit(self, tell: Callable[[int], None]) -> None:
        """Have ``tell`` called with the last seq after each batch with events, by the writer; it must not block."""
        self._listeners.append(tell)

    def prune(self, before: float = 0.0, most_octets: int | None = None) -> int:
        """Take out journeys at their end that began before a time, then the oldest until the file is small enough.

        With them go events of no message that are as old. Returns how many of both. What tells of a live space stays,
        whatever its age.

        Raises:
            StoreError: the store cannot be written; what was taken out before that is out.
        """
        taken = 0
        while some := self.prune_some(before, most_octets):
            taken += some
        return taken

    def prune_some(self, before: float = 0.0, most_octets: int | None = None, at_once: int = AT_ONCE) -> int:
        """One step of ``prune``, a transaction; returns how many it took out, 0 where there is no more to do.

        Raises:
            StoreError: the store cannot be written; nothing was taken out.
        """
        with self.batch() as batch:
            too_big = most_octets is not None and octets(batch.db) > most_octets
            roots = old(batch.db, float("inf") if too_big else before, at_once)
            if too_big:  # what is as old as the journeys that go; where none may, the oldest
                before = max([before, *began(batch.db, roots)]) if roots else float("inf")
            remove(batch.db, roots)
            others = loose(batch.db, before, time.time(), at_once)
            remove_loose(batch.db, others)
        with self._lock:
            if self._writer and (roots or others):
                self._writer.execute(f"PRAGMA incremental_vacuum({PAGES_A_JOURNEY * at_once})").fetchall()
        return len(roots) + len(others)

    def pruned(self) -> int:
        """Up to this seq messages, or words that a part of the log is missing, were taken out; 0 where none was."""
        return int(self.position(PRUNED)[0] or 0)

    def make_space(self, name: str, domain: str, at: float) -> None:
        """Note a space: a domain for one test alone. Nothing of it is pruned until ``end_space``.

        Raises:
            StoreError: there is a space of that name.
        """
        with self.batch() as batch:
            values = (name, folded(domain), self._last, at)
            batch.db.execute("INSERT INTO spaces (name, domain, cursor, made_at) VALUES (?, ?, ?, ?)", values)

    def end_space(self, name: str, at: float) -> None:
        """Let what a space held be pruned as other journeys are."""
        with self.batch() as batch:
            batch.db.execute("UPDATE spaces SET ended_at = ? WHERE name = ? AND ended_at IS NULL", (at, name))

    def spaces(self) -> list[tuple[str, str, int, float]]:
        """Name, domain, cursor at its begin, and when it was made, of the spaces that were not ended, oldest first."""
        query = "SELECT name, domain, cursor, made_at FROM spaces WHERE ended_at IS NULL ORDER BY made_at, name"
        return self._reader().execute(query).fetchall()

    def live_spaces(self) -> dict[str, str]:
        """Name -> domain of the spaces that were not ended."""
        return dict(self._reader().execute("SELECT name, domain FROM spaces WHERE ended_at IS NULL").fetchall())

    # Reading

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

    def octets(self) -> int:
        """What the store takes on disk, without pages that are free and without what is not checked in yet."""
        return octets(self._reader())

    def histogram(self, name: str) -> tuple[dict[float, int], float]:
        """Upper bound -> how many durations have that as their least bucket, and the sum of all, in seconds."""
        db = self._reader()
        counts = dict(db.execute("SELECT le, count FROM histograms WHERE name = ?", (name,)).fetchall())
        row = db.execute("SELECT value FROM totals WHERE name = ?", (name,)).fetchone()
        return counts, row[0] if row else 0.0

    def _reader(self) -> sqlite3.Connection:
        if self._path == IN_MEMORY and self._writer:
            return self._writer
        if not hasattr(self._local, "connection"):
            self._local.connection = connect(self._path, write=False)
        found: sqlite3.Connection = self._local.connection
        return found

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
        return derive(root, events, self.foretold, self.blind()) if root else None

    def root_of(self, of: int) -> int:
        """The first message of the journey that a message belongs to; 0 where there is none."""
        row = self._reader().execute("SELECT root FROM messages WHERE id = ?", (of,)).fetchone()
        return int(row[0]) if row else 0

    def events_of(self, root: int) -> list[Event]:
        """All events of a journey, oldest first."""
        family = "SELECT id FROM messages WHERE id = ?1 OR (root = ?1 AND root != id)"
        rows = self._reader().execute(f"SELECT {COLUMNS} {FROM} WHERE e.message IN ({family}) ORDER BY e.seq", (root,))
        return [_event(row) for row in rows]

    def blind(self) -> str:
        """Why POP3 does not say which messages it hands out, if so."""
        query = "SELECT fields FROM events WHERE message IS NULL AND kind = 'blind' ORDER BY seq DESC LIMIT 1"
        row = self._reader().execute(query).fetchone()
        return str(json.loads(row[0])["why"]) if row else ""

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

        ``before`` is the id from which older ones are wanted, for the next page. A negative ``limit`` is
        none.
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
        """Why the log was cut behind a cursor, once for each time."""
        query = "SELECT fields FROM events WHERE message IS NULL AND kind = 'gap' AND seq > ? ORDER BY seq LIMIT 10"
        return tuple(str(json.loads(row[0])["why"]) for row in self._reader().execute(query, (since,)))

    def open_numbers(self) -> dict[str, int]:
        """Message number of the MTA -> id, of the messages that it has not ended."""
        query = "SELECT number, id FROM messages WHERE ended = 0 AND number != '' ORDER BY id"
        return dict(self._reader().execute(query).fetchall())

    def position(self, source: str) -> tuple[str, str]:
        """Where reading a source goes on, and what its reader keeps beside that; both empty at first."""
        row = self._reader().execute("SELECT position, state FROM sources WHERE name = ?", (source,)).fetchone()
        return (row[0], row[1]) if row else ("", "")


class Batch:
    """One transaction. Its ``db`` sees what was added so far."""

    def __init__(self, store: Store, db: sqlite3.Connection) -> None:
        self._store, self.db = store, db

    def add(self, event: Event) -> int:
        """Store an event; returns its seq, or 0 where its source and place are there already.

        Its ``message`` may be NEW: then its seq is that message's id.
        """
        fields, text = _storable(event.fields)
        source = self._source(event.source)
        once = "SELECT 1 FROM events WHERE source = ? AND place = ?"
        if event.place and self.db.execute(once, (source, event.place)).fetchone():
            return 0
        seq = self._store._last = self._store._last + 1
        message = seq if event.message == NEW else event.message
        self.db.execute(
            "INSERT INTO events (seq, at, source, place, kind, message, fields) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                seq,
                event.at,
                source,
                event.place or None,
                event.kind.value,
                message,
                text,
            ),
        )
        project(self.db, Event(event.at, event.kind, message, fields, event.source, event.place, seq))
        return seq

    def has(self, source: str, place: str) -> bool:
        """Whether there is an event of that source and place."""
        query = "SELECT 1 FROM events WHERE source = ? AND place = ?"
        return self.db.execute(query, (self._source(source), place)).fetchone() is not None

    def keep_position(self, source: str, position: str, state: str = "") -> None:
        """Where reading the source goes on, with the events that came from before it."""
        update = "UPDATE sources SET position = ?, state = ? WHERE id = ?"
        self.db.execute(update, (position, state, self._source(source)))

    def _source(self, name: str) -> int:
        known = self._store._sources
        if name not in known:
            self.db.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (name,))
            (known[name],) = self.db.execute("SELECT id FROM sources WHERE name = ?", (name,)).fetchone()
        return known[name]


def _storable(fields: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The fields and their JSON, with `?` for halves of UTF-16 pairs: SQLite refuses them, and would store no more."""
    text = json.dumps(dict(fields), ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
        found: dict[str, Any] = json.loads(text)
        return found, text
    return fields, text


def _event(row: tuple[int, float, str, str | None, str, int | None, str]) -> Event:
    seq, at, source, place, kind, message, fields = row
    return Event(at, Kind(kind), message, json.loads(fields), source, place or "", seq)


def _locked(path: Path) -> int:
    """The lock of the one writer, which ends with the process."""
    try:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise StoreError(f"{path}: another process writes this store") from None
    return fd
