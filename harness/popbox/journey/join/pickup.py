"""Lines of `serve pop3 --log-messages` -> events of the messages that they are about.

A line names the file, up to its flags. A file that was not seen yet is waited for: the line is kept with the position
of the log. Where files of two messages have the same name, the login's box decides.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from popbox.journey.model import Event, Kind
from popbox.journey.store import Batch

WAIT_S = 60.0  # our choice: a file that was not seen by then is one of before popbox looked, or of no message
MOST_WAITING = 5000  # our choice: kept with the position, so that memory and store stay small
SESSIONS = 1000  # our choice: so many sessions are remembered to see whether their messages have lines
KEPT_SESSIONS = 100  # our choice: of those, with the position
KINDS = {"retrieved": Kind.RETRIEVED, "removed": Kind.REMOVED}
BLIND = "the POP3 server does not log which messages it hands out: serve pop3 --log-messages"
AMBIGUOUS = "two messages have a file of the name {}, and the login {} does not tell them apart"
Line = dict[str, Any]


class PopLog:
    """Joins the lines of one POP3 log."""

    def __init__(self, source: str, box_of: Callable[[str], str]) -> None:
        """``box_of`` gives a login's Maildir below the qmail home; empty where it is not known."""
        self._source, self._box_of = source, box_of
        self._waiting: list[tuple[Line, str]] = []
        self._sessions: deque[str] = deque(maxlen=SESSIONS)
        self._blind = ""  # why it is not told which messages POP3 hands out, if so
        self._told_blind = False  # whether the store says so
        self._cut_at = float("-inf")  # when a part of the log was missing last

    def load(self, state: str, gap: Event | None, blind: str) -> None:
        """Begin where a store is, by its position; ``gap`` is the last of this log, ``blind`` why POP3 is not seen."""
        self._told_blind = bool(blind)
        self._cut_at = gap.at if gap else float("-inf")
        waiting, sessions = json.loads(state or "[[], []]")
        self._waiting = [(line, place) for line, place in waiting]
        self._sessions.clear()
        self._sessions.extend(sessions)

    @property
    def state(self) -> str:
        """What to keep beside the log's position."""
        return json.dumps((self._waiting, list(self._sessions)[-KEPT_SESSIONS:]))

    @property
    def is_waiting(self) -> bool:
        """Whether a line waits for its file."""
        return bool(self._waiting)

    def removed_unseen(self, box: str) -> int:
        """How many files were removed from a Maildir over POP3 before anything else told of them."""
        return sum(line["event"] == "removed" and self._box_of(line["login"]) == box for line, _ in self._waiting)

    def take(self, text: str, place: str) -> None:
        """Hear a line; ``join`` stores what it says."""
        if not text.startswith("{"):
            return
        try:
            line = json.loads(text)
            kind, session = line["event"], str(line.get("id", ""))
            json.dumps(line, ensure_ascii=False).encode()  # what is no UTF-8 no store can hold: ValueError
            if kind in KINDS:
                if session not in self._sessions:
                    self._sessions.append(session)
                self._waiting.append((line, place))
                self._blind = ""
            elif kind == "session" and line.get("retrieved") and not self._may_be_told(line, session):
                self._blind = BLIND
        except (ValueError, KeyError, TypeError):
            return

    def _may_be_told(self, line: Line, session: str) -> bool:
        """Whether lines of a session's messages were read, or stood in a part of the log that is missing."""
        return session in self._sessions or float(line["time"]) - float(line.get("seconds") or 0) <= self._cut_at

    def cut(self, batch: Batch, why: str, now: float) -> None:
        """A part of the log is missing: what it told of files that are there by now is not known."""
        self._cut_at = now
        batch.add(Event(now, Kind.GAP, None, {"why": why, "log": "pop3"}, self._source))

    def deaf(self, why: str) -> None:
        """There is no such log, for that reason."""
        self._blind = why

    def join(self, batch: Batch, now: float) -> None:
        """Store each line whose file is known; the others wait."""
        left = []
        for line, place in self._waiting:
            if not self._joined(batch, line, place) and now - float(line["time"]) <= WAIT_S:
                left.append((line, place))
        self._waiting = left[-MOST_WAITING:]

    def tell_blind(self, batch: Batch, now: float) -> None:
        """Store once that POP3 does not say what it hands out, or does so again."""
        if bool(self._blind) != self._told_blind and (self._blind or self._sessions):
            self._told_blind = bool(self._blind)
            batch.add(Event(now, Kind.BLIND, None, {"why": self._blind}, self._source))

    def _joined(self, batch: Batch, line: Line, place: str) -> bool:
        name = line.get("file") or line["uidl"]
        rows = batch.db.execute("SELECT message FROM finds WHERE kind = 5 AND key = ?", (name,)).fetchall()
        found = [row for row in rows for row in _files(batch, row[0], name)]
        if len(found) > 1 and (box := self._box_of(line["login"])):
            found = [row for row in found if row[1] == box]
        owners = {of for of, _ in found}
        said = {"session": line.get("id", ""), "login": line["login"], "uidl": name, "octets": line.get("octets")}
        if len(owners) > 1:
            why = AMBIGUOUS.format(name, line["login"])
            for of in owners:
                more = {"what": line["event"], "why": why, "messages": sorted(owners)}
                batch.add(Event(line["time"], Kind.AMBIGUOUS, of, {**said, **more}, self._source, f"{place} {of}"))
        elif owners:
            batch.add(Event(line["time"], KINDS[line["event"]], min(owners), said, self._source, place))
        return bool(owners)


def _files(batch: Batch, of: int, name: str) -> list[tuple[int, str]]:
    """(message, Maildir) of each file of that name that is this message's own, and not only a forwarded copy's."""
    query = "SELECT fields FROM events WHERE message = ? AND kind = 'filed'"
    told = [json.loads(row[0]) for row in batch.db.execute(query, (of,))]
    return [(of, one["maildir"]) for one in told if one["uidl"] == name]
