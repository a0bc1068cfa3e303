"""The tables. ``events`` is the truth and only grows; the others are made from it, for joining and for searching."""

from __future__ import annotations

import sqlite3
from enum import IntEnum

VERSION = 1
WRITER_KIB = 8_192  # our choice: of pages in memory, for joins while mail comes
READER_KIB = 1_024  # our choice: as each thread that reads has its own, and the system holds the file anyway
TABLES = """
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, position TEXT NOT NULL DEFAULT '', state TEXT NOT NULL DEFAULT ''
);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, source INTEGER NOT NULL REFERENCES sources (id),
    place TEXT, kind TEXT NOT NULL, message INTEGER, fields TEXT NOT NULL
);
CREATE UNIQUE INDEX events_once ON events (source, place) WHERE place IS NOT NULL;
CREATE INDEX events_of ON events (message) WHERE message IS NOT NULL;
CREATE INDEX events_about_none ON events (kind) WHERE message IS NULL;
CREATE INDEX IF NOT EXISTS events_foretold ON events (json_extract(fields, '$.foretold')) WHERE kind = 'trying';
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, root INTEGER NOT NULL, parent INTEGER, relation TEXT NOT NULL DEFAULT '',
    qp TEXT NOT NULL DEFAULT '', number TEXT NOT NULL DEFAULT '', sender TEXT NOT NULL DEFAULT '',
    bytes INTEGER, at REAL NOT NULL, ended INTEGER NOT NULL DEFAULT 0, owed INTEGER NOT NULL DEFAULT 0,
    filed_at REAL, picked INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX messages_root ON messages (root) WHERE root != id;
CREATE INDEX messages_open ON messages (id) WHERE ended = 0;
CREATE INDEX messages_owed ON messages (id) WHERE owed > 0;
CREATE TABLE finds (
    kind INTEGER NOT NULL, key TEXT NOT NULL, message INTEGER NOT NULL, PRIMARY KEY (kind, key, message)
) WITHOUT ROWID;
CREATE TABLE awaited (qp TEXT NOT NULL, parent INTEGER NOT NULL, relation TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE histograms (name TEXT NOT NULL, le REAL NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (name, le));
CREATE TABLE totals (name TEXT PRIMARY KEY, value REAL NOT NULL);
CREATE TABLE spaces (
    name TEXT PRIMARY KEY, domain TEXT NOT NULL, cursor INTEGER NOT NULL, made_at REAL NOT NULL, ended_at REAL
);
"""
# Of stores that an earlier popbox has made; what the others have is no obstacle to it.
SINCE_THEN = next(one for one in TABLES.split(";") if "events_foretold" in one)


class Key(IntEnum):
    """What a message can be found by; the numbers stand in the database."""

    TO = 1
    FROM = 2
    SUBJECT = 3
    MESSAGE_ID = 4
    UIDL = 5
    QUEUE_ID = 6  # the qp of the SMTP reply, and the message number of the log
    DOMAIN = 7  # of a recipient, or of the sender


def connect(path: str, *, write: bool) -> sqlite3.Connection:
    """A connection of this thread. Readers see the state of the last commit, and never wait for the writer (WAL)."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    connection.execute(f"PRAGMA cache_size = -{WRITER_KIB if write else READER_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    if write:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit survives the death of the process; after that of the machine the logs are read again from the
        # last position that was kept, which is in the same transaction as the events.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
    else:
        connection.execute("PRAGMA query_only = 1")
    return connection


def prepare(connection: sqlite3.Connection) -> int:
    """Make the tables where the file is new; returns the version of what is there, VERSION if it is ours."""
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0 and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        for statement in TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        version = VERSION
    elif version == VERSION:
        connection.execute(SINCE_THEN)
    connection.execute("COMMIT")
    return int(version)


def folded(address: str) -> str:
    """An address as it is compared: qmail folds the case of both parts where it looks one up (E-3)."""
    return address.lower()
