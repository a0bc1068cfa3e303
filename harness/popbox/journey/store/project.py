"""What one event changes in the tables that are made from events: messages, keys to find them by, histograms."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from popbox.journey.model import Event, Kind
from popbox.journey.store.schema import Key, folded

DELIVERY, PICKUP = "popbox_delivery_seconds", "popbox_pickup_seconds"
BOUNDS: dict[str, tuple[float, ...]] = {
    DELIVERY: (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
    PICKUP: (0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 259200, 604800),
}
ADD_KEY = "INSERT OR IGNORE INTO finds (kind, key, message) VALUES (?, ?, ?)"
HANDED_UP = (Key.SUBJECT, Key.MESSAGE_ID, Key.UIDL)  # from a forwarded copy to the message it comes from


def keys(of: Kind, said: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """What an event of that kind, with these fields, lets its message be found by."""
    match of:
        case Kind.SENT:
            for address in said["recipients"]:
                yield from _address(Key.TO, address)
            yield from _address(Key.FROM, said["sender"])
        case Kind.QUEUED:
            yield from _address(Key.FROM, said["sender"])
            yield Key.QUEUE_ID, said["number"]
        case Kind.TRYING:
            for address in {said["recipient"], said["address"]}:
                yield from _address(Key.TO, address)
        case Kind.FILED | Kind.RETRIEVED | Kind.REMOVED:
            yield Key.UIDL, said["uidl"]
    if qp := said.get("qp") if of in (Kind.SENT, Kind.QUEUED) else None:
        yield Key.QUEUE_ID, qp
    if of in (Kind.SENT, Kind.FILED):
        for key, name in ((Key.SUBJECT, "subject"), (Key.MESSAGE_ID, "message_id")):
            if value := said.get(name):
                yield key, value


def _address(kind: Key, address: str) -> Iterator[tuple[Key, str]]:
    key = folded(address)
    yield kind, key
    if domain := key.rpartition("@")[2]:
        yield Key.DOMAIN, domain


def project(db: sqlite3.Connection, event: Event, of: int | None, said: Mapping[str, Any], seq: int) -> None:
    """Change the tables for an event of the message ``of``, stored as ``seq`` with the fields ``said``."""
    if of is None:
        return
    match event.kind:
        case Kind.SENT | Kind.QUEUED:
            _open(db, event, of, said, seq)
        case Kind.TRIED if said["outcome"] == "success" and said["kept"]:
            db.execute("UPDATE messages SET owed = owed + ? WHERE id = ?", (said["kept"], of))
        case Kind.FILED:
            _filed(db, event, of, said)
        case Kind.MISSING | Kind.UNSEEN | Kind.AMBIGUOUS if said.get("recipient"):
            db.execute("UPDATE messages SET owed = max(0, owed - ?) WHERE id = ?", (said.get("count", 1), of))
        case Kind.ENDED:
            db.execute("UPDATE messages SET ended = 1 WHERE id = ?", (of,))
        case Kind.LINKED:
            _link(db, of, said["parent"], said["relation"])
        case Kind.RETRIEVED:
            _picked(db, event, of)
    if found := [(kind, key, of) for kind, key in keys(event.kind, said)]:
        db.executemany(ADD_KEY, found)


def _open(db: sqlite3.Connection, event: Event, of: int, said: Mapping[str, Any], seq: int) -> None:
    if of == seq:
        insert = "INSERT INTO messages (id, root, qp, number, sender, bytes, at) VALUES (?, ?, ?, ?, ?, ?, ?)"
        values = (said.get("qp", ""), said.get("number", ""), said["sender"], said.get("bytes"), event.at)
        db.execute(insert, (of, of, *values))
    elif event.kind is Kind.QUEUED:  # popbox's own send came first
        update = "UPDATE messages SET qp = ?, number = ?, bytes = ? WHERE id = ?"
        db.execute(update, (said["qp"], said["number"], said["bytes"], of))


def _filed(db: sqlite3.Connection, event: Event, of: int, said: Mapping[str, Any]) -> None:
    (at, root) = db.execute("SELECT at, root FROM messages WHERE id = ?", (of,)).fetchone()
    db.execute("UPDATE messages SET owed = max(0, owed - 1), filed_at = ? WHERE id = ?", (event.at, of))
    observe(db, DELIVERY, event.at - at)
    if root != of:
        hand_up(db, of, [said])


def hand_up(db: sqlite3.Connection, of: int, filed: Iterable[Mapping[str, Any]]) -> None:
    """Let what a forwarded copy comes from be found by what only its file tells: subject, Message-ID, UIDL.

    ``filed`` are the fields of events FILED.
    """
    found = [(kind, key) for said in filed for kind, key in keys(Kind.FILED, said) if kind in HANDED_UP]
    while found and (row := db.execute("SELECT parent, relation FROM messages WHERE id = ?", (of,)).fetchone()):
        of, relation = row
        if relation != "forward":
            return
        db.executemany(ADD_KEY, [(kind, key, of) for kind, key in found])


def _link(db: sqlite3.Connection, of: int, parent: int, relation: str) -> None:
    (root,) = db.execute("SELECT root FROM messages WHERE id = ?", (parent,)).fetchone()
    db.execute("UPDATE messages SET parent = ?, relation = ?, root = ? WHERE id = ?", (parent, relation, root, of))
    db.execute("UPDATE messages SET root = ? WHERE root = ?", (root, of))
    rows = db.execute("SELECT fields FROM events WHERE message = ? AND kind = 'filed'", (of,)).fetchall()
    hand_up(db, of, [json.loads(fields) for (fields,) in rows])


def _picked(db: sqlite3.Connection, event: Event, of: int) -> None:
    (filed_at, picked) = db.execute("SELECT filed_at, picked FROM messages WHERE id = ?", (of,)).fetchone()
    if filed_at is not None and not picked:
        observe(db, PICKUP, event.at - filed_at)
        db.execute("UPDATE messages SET picked = 1 WHERE id = ?", (of,))


def observe(db: sqlite3.Connection, name: str, seconds: float) -> None:
    """Count one duration in the least bucket that holds it; a clock that runs ahead of another counts as none."""
    seconds = max(0.0, seconds)
    bound = next((one for one in BOUNDS[name] if seconds <= one), float("inf"))
    count = (
        "INSERT INTO histograms (name, le, count) VALUES (?, ?, 1)"
        " ON CONFLICT (name, le) DO UPDATE SET count = count + 1"
    )
    total = (
        "INSERT INTO totals (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
    )
    db.execute(count, (name, bound))
    db.execute(total, (name, seconds))
