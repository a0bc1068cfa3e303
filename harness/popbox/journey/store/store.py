"""The store of events and journeys: one SQLite file, one writing process, any number of reading threads."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from popbox.errors import PopboxError
from popbox.journey.model import Event
from popbox.journey.store.batch import Batch
from popbox.journey.store.prune import AT_ONCE, began, loose, octets, old, remove, remove_loose
from popbox.journey.store.reading import Reading
from popbox.journey.store.schema import VERSION, connect, folded, prepare

IN_MEMORY = ":memory:"
PAGES_A_JOURNEY = 20  # our choice: free pages that are given back with each that is taken out


class StoreError(PopboxError):
    """The store cannot be opened, read or written: names the file and the reason."""


class Store(Reading):
    """See ``open``. What it answers is in ``Reading``; this half opens and writes."""

    def __init__(self, path: str, connection: sqlite3.Connection | None, lock: int | None) -> None:
        """Use ``open`` or ``in_memory``."""
        super().__init__(path, connection if path == IN_MEMORY else None)
        self._writer, self._lock_fd, self._lock = connection, lock, threading.RLock()
        self._sources: dict[str, int] = {}
        self._listeners: list[Callable[[int], None]] = []
        self._last = super().cursor()

    @classmethod
    def open(cls, path: Path, *, write: bool = True) -> Self:
        """Open the file, or make it where it is written; ``write=False`` beside a process that writes.

        Raises:
            StoreError: another process writes it, or it is no store of this version.
        """
        if not write and not path.exists():
            raise StoreError(f"{path}: there is no such store")
        if path.exists() and not path.is_file():
            raise StoreError(f"{path}: it is no file")
        lock = _locked(path) if write else None
        if write:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # subjects and addresses of others
        connection = None
        try:
            connection = connect(str(path), write=write)
            version = prepare(connection) if write else connection.execute("PRAGMA user_version").fetchone()[0]
            why = "" if version == VERSION else f"its version is {version}, and this popbox reads version {VERSION}"
        except sqlite3.Error as error:
            why = str(error)
        if not why:
            return cls(str(path), connection if write else None, lock)
        if connection is not None:
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

    def cursor(self) -> int:
        """See Reading. Who writes knows it."""
        return self._last if self._writer else super().cursor()

    def disk(self) -> os.statvfs_result | None:
        """How the file system of the store is now; None for one in memory, or where it cannot be asked."""
        try:
            return None if self._path == IN_MEMORY else os.statvfs(self._path)
        except OSError:
            return None

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

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """All that is added within it is stored together at its end, or, after an error, not at all.

        Raises:
            StoreError: the disk is full or fails; nothing was stored.
        """
        with self._lock:
            if self._writer is None:
                raise StoreError(f"{self._path}: it is closed, or open for reading only")
            batch = Batch(self._writer, self._last, self._sources)
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield batch
                self._writer.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self._writer.execute("ROLLBACK")
                self._sources.clear()
                if isinstance(error, sqlite3.Error):
                    raise StoreError(f"{self._path}: {error}") from error
                raise
            before, self._last = self._last, batch.last
        if batch.last != before:
            for tell in self._listeners:
                tell(batch.last)

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
