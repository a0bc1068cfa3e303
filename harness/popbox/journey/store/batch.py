"""What is written in one transaction of the store: events, and where reading their sources goes on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from popbox.journey.model import Event
from popbox.journey.store.project import project

FIELDS = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
INSERT = "INSERT INTO events (seq, at, source, place, kind, message, fields) VALUES (?, ?, ?, ?, ?, ?, ?)"
NEW = 0  # as the message of an event: it is the first of a new message


class Batch:
    """One transaction. Its ``db`` sees what was added so far."""

    def __init__(self, db: sqlite3.Connection, last: int, sources: dict[str, int]) -> None:
        """``last`` is the seq of the last event so far, ``sources`` the name -> id of those known; both are kept up."""
        self.db, self.last, self._sources = db, last, sources
        self.added: list[tuple[int, int | None, Event]] = []  # seq, message, and the event as it came

    def add(self, event: Event) -> int:
        """Store an event; returns its seq, or 0 where its source and place are there already.

        Its ``message`` may be NEW: then its seq is that message's id.
        """
        fields, text = _storable(event.fields)
        source, seq = self._source(event.source), self.last + 1
        message = seq if event.message == NEW else event.message
        row = (seq, event.at, source, event.place or None, event.kind.value, message, text)
        try:
            self.db.execute(INSERT, row)
        except sqlite3.IntegrityError:
            if event.place and self.has(event.source, event.place):
                return 0
            raise
        self.last = seq
        self.added.append((seq, message, event))
        project(self.db, event, message, fields, seq)
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
        if name not in self._sources:
            self.db.execute("INSERT OR IGNORE INTO sources (name) VALUES (?)", (name,))
            (self._sources[name],) = self.db.execute("SELECT id FROM sources WHERE name = ?", (name,)).fetchone()
        return self._sources[name]


def _storable(fields: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The fields and their JSON, with `?` for halves of UTF-16 pairs: SQLite refuses them, and would store no more."""
    text = FIELDS.encode(fields if isinstance(fields, dict) else dict(fields))
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
        found: dict[str, Any] = json.loads(text)
        return found, text
    return fields, text
