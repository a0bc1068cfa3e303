"""Log lines of the MTA -> events. What it must remember between lines is in the store, with the log's position."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from typing import Any, Protocol

from popbox.journey.join.maillog import Bounced, Did, Ended, Info, Line, New, Started, stamp
from popbox.journey.model import Event, Foretold, Kind
from popbox.journey.store import NEW, Batch

BOUNCERS = ("", "#@[]")  # senders of a bounce, and of a double bounce (Q-BOUNCE-6)
WITHIN_S = 60.0  # our choice: between the reply to DATA or a parent's line and the info line of the same qp
ADDED_OCTETS = 4096  # our choice: an MTA puts no more before a message that it takes: two Received fields
STAND_IN_QP = re.compile(r"\d{16}")  # the stand-in's message number is its clock, in microseconds


class Rules(Protocol):
    """What is asked of the rules of a host, see ``foretell.Foreteller``."""

    def told(self, batch: Batch, channel: str, routed: str) -> tuple[str, int | None]:
        """The address of the envelope, and the seq of the event FORETOLD if there is one."""

    def contradicts(self, routed: str, did: Did) -> str:
        """Why what happened is not what the rules say; empty where it is."""

    def places(self, routed: str) -> Foretold | None:
        """What was foretold."""

    def doubt(self, routed: str) -> None:
        """What was foretold may not hold for the next delivery."""


class NoRules:
    """Where no one can say how the rules treat an address: the log's own name for it, and nothing foretold."""

    def told(self, _batch: Batch, _channel: str, routed: str) -> tuple[str, int | None]:
        """See Rules."""
        return routed, None

    def contradicts(self, _routed: str, _did: Did) -> str:
        """See Rules."""
        return ""

    def places(self, _routed: str) -> Foretold | None:
        """See Rules."""
        return None

    def doubt(self, _routed: str) -> None:
        """See Rules."""


class QueueLog:
    """Joins the lines of one log. Nothing of it outlives a batch but through ``state``. ``owed`` gets what was kept."""

    def __init__(self, source: str, rules: Rules, owed: Callable[[int, str], None]) -> None:
        """``source`` names the log in the store; ``owed`` is told of what files were kept: message and recipient."""
        self._source, self._rules, self._owed = source, rules, owed
        self._open: dict[str, int] = {}
        self._running: dict[str, tuple[int, str]] = {}  # delivery -> message, recipient

    def load(self, numbers: dict[str, int], state: str) -> None:
        """Begin where a store is: at a start, and after a batch that was not stored."""
        self._open = numbers
        self._running = {number: (of, address) for number, of, address in json.loads(state or "[]")}

    @property
    def state(self) -> str:
        """What to keep beside the log's position."""
        return json.dumps([(number, *of) for number, of in self._running.items()])

    def cut(self, batch: Batch, why: str, at: float) -> None:
        """The log was cut: of each message on its way it is not known any more how it goes on."""
        batch.add(Event(at, Kind.GAP, None, {"why": why}, self._source))
        for of in self._open.values():
            self._add(batch, at, Kind.UNSURE, of, "", why=why)

    def take(self, batch: Batch, line: Line, at: float, place: str) -> None:
        """Store what one line says."""
        if not isinstance(line, New):
            self._take(batch, line, place, at)

    def _take(self, batch: Batch, line: Line, place: str, at: float) -> None:
        match line:
            case Info():
                self._info(batch, line, place, at)
            case Started():
                self._started(batch, line, place, at)
            case Did():
                self._did(batch, line, place, at)
            case Bounced():
                if of := self._open.get(line.number):
                    self._add(batch, at, Kind.BOUNCED, of, place, qp=line.queued_as)
                    relation = "double bounce" if _sender(batch, of) in BOUNCERS else "bounce"
                    self._expect(batch, line.queued_as, of, relation, at)
            case Ended():
                if of := self._open.pop(line.number, 0):
                    self._add(batch, at, Kind.ENDED, of, place)

    def _add(self, batch: Batch, at: float, kind: Kind, of: int, place: str, **said: Any) -> int:
        return batch.add(Event(at, kind, of, said, self._source, place))

    def _info(self, batch: Batch, line: Info, place: str, at: float) -> None:
        said = {"qp": line.queued_as, "number": line.number, "sender": line.sender}
        of = _own_send(batch.db, line, at)
        if before := self._open.pop(line.number, 0):
            why = "the log names another message of that number, and the end of this one was not seen"
            self._add(batch, at, Kind.UNSURE, before, "", why=why)
            self._add(batch, at, Kind.ENDED, before, "")
        seq = self._add(batch, at, Kind.QUEUED, of or NEW, place, **said, bytes=line.octets, uid=line.uid)
        if not seq:
            return
        self._open[line.number] = of or seq
        rows = batch.db.execute(
            "SELECT rowid, parent, relation, at FROM awaited WHERE qp = ?", (line.queued_as,)
        ).fetchall()
        for row, parent, relation, since in rows:
            if abs(since - at) <= WITHIN_S:
                batch.db.execute("DELETE FROM awaited WHERE rowid = ?", (row,))
                self._add(batch, at, Kind.LINKED, of or seq, "", parent=parent, relation=relation)
                break

    def _started(self, batch: Batch, line: Started, place: str, at: float) -> None:
        if of := self._open.get(line.number):
            address, foretold = self._rules.told(batch, line.channel, line.address)
            said = {"channel": line.channel, "recipient": line.address, "address": address, "foretold": foretold}
            self._add(batch, at, Kind.TRYING, of, place, delivery=line.delivery, **said)
            self._running[line.delivery] = (of, line.address)

    def _did(self, batch: Batch, line: Did, place: str, at: float) -> None:
        of, address = self._running.pop(line.delivery, (0, ""))
        if not of:
            return
        said = {"outcome": line.outcome, "said": line.said, "kept": line.kept, "forwards": line.forwards}
        self._add(batch, at, Kind.TRIED, of, place, delivery=line.delivery, recipient=address, **said)
        if line.kept:
            self._owed(of, address)
        if why := self._rules.contradicts(address, line):
            self._add(batch, at, Kind.ALARM, of, "", recipient=address, why=why)
        if line.outcome == "deferral":
            self._rules.doubt(address)
        for qp in line.forwards:
            self._expect(batch, qp, of, "forward", at)

    def _expect(self, batch: Batch, qp: str, parent: int, relation: str, at: float) -> None:
        """Link the message of that qp, which the log may have named already, or will."""
        query = (
            "SELECT m.id FROM finds f JOIN messages m ON m.id = f.message"
            " WHERE f.kind = 6 AND f.key = :qp AND m.qp = :qp AND m.parent IS NULL AND m.id != :parent"
            " AND abs(m.at - :at) <= :within ORDER BY m.id DESC LIMIT 1"
        )
        row = batch.db.execute(query, {"qp": qp, "parent": parent, "at": at, "within": WITHIN_S}).fetchone()
        if row:
            self._add(batch, at, Kind.LINKED, row[0], "", parent=parent, relation=relation)
        else:
            batch.db.execute("INSERT INTO awaited VALUES (?, ?, ?, ?)", (qp, parent, relation, at))


class Clock:
    """When lines were logged: by the logger, else by the stand-in's message numbers, else when they were read.

    ``seen_at`` is that moment; ``late``: the lines may have been there for long, so that the last number counts more.
    """

    def __init__(self) -> None:
        self._last = 0.0

    def time(self, line: Line, text: str, seen_at: float, *, late: bool) -> float:
        """Of one line, in the order of the log."""
        if (stamped := stamp(text)) is not None:
            return stamped
        if isinstance(line, Info) and STAND_IN_QP.fullmatch(line.queued_as):
            self._last = min(seen_at, int(line.queued_as) / 1e6)
            return self._last
        return self._last if late and self._last else seen_at


def _sender(batch: Batch, of: int) -> str:
    return str(batch.db.execute("SELECT sender FROM messages WHERE id = ?", (of,)).fetchone()[0])


def _own_send(db: sqlite3.Connection, line: Info, at: float) -> int:
    """The message that popbox itself sent, and whose place in the log this is; 0 where there is none, or two fit.

    The qp must be that of the reply, and two of sender, time and size must fit: an MTA may write a sender in another
    way, and clocks of two machines may disagree.
    """
    query = (
        "SELECT m.id, m.sender = :sender, abs(m.at - :at) <= :within, :octets - m.bytes BETWEEN 0 AND :added"
        " FROM finds f JOIN messages m ON m.id = f.message"
        " WHERE f.kind = 6 AND f.key = :qp AND m.qp = :qp AND m.number = ''"
    )
    told = {"qp": line.queued_as, "sender": line.sender, "octets": line.octets}
    rows = db.execute(query, {**told, "at": at, "within": WITHIN_S, "added": ADDED_OCTETS}).fetchall()
    fits = {int(of): sum(bool(fact) for fact in facts) for of, *facts in rows}
    best = [of for of, facts in fits.items() if facts >= 2 and facts == max(fits.values())]
    return best[0] if len(best) == 1 else 0


def logged_send(db: sqlite3.Connection, qp: str, sender: str, at: float) -> int:
    """The message that the log has named already, and whose reply to DATA this is; 0 for none, or where two fit."""
    query = (
        "SELECT m.id FROM finds f JOIN messages m ON m.id = f.message WHERE f.kind = 6 AND f.key = :qp AND m.qp = :qp"
        " AND m.number != '' AND m.parent IS NULL AND m.sender = :sender AND abs(m.at - :at) <= :within"
        " AND NOT EXISTS (SELECT 1 FROM events e WHERE e.message = m.id AND e.kind = 'sent')"
    )
    rows = db.execute(query, {"qp": qp, "sender": sender, "at": at, "within": WITHIN_S}).fetchall()
    return int(rows[0][0]) if len(rows) == 1 else 0
