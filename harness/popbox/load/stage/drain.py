"""The last fetch: after all users have ended, each box is read over POP3 until all that was accepted is there."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from popbox.clients.bulk_pop3 import BulkPop3
from popbox.errors import PopboxError
from popbox.load.books.journal import Journal
from popbox.load.books.message import is_of
from popbox.load.books.tables import opened
from popbox.load.plan.spec import Spec
from popbox.load.users.boxes import Mailbox, fetch

TIMEOUT_S = 30.0
PAUSE_S = 0.5  # our choice: between two looks at boxes that lack something
PARALLEL = 8  # our choice
GIVES_UP = 3 * PARALLEL  # our choice: so many boxes that fail in a row, after the time for it is over, end the fetch
HURRY_S = 10.0  # our choice: so often the host is told to try at once what it has put off
Arrived = Callable[[str, str], None]  # a token, and the box that it came to, or the address that its report names


class Drain:
    """The fetch at the end. Nothing is deleted: the boxes stay as evidence until the host goes."""

    def __init__(self, spec: Spec, journal: Journal, hurry: Callable[[], None]) -> None:
        """``journal`` is the drain's alone while it works; ``hurry`` tells the host to try deferred mail at once."""
        self._spec, self._journal, self._hurry = spec, journal, hurry
        self._until = math.inf
        self._lock = threading.Lock()
        self._sessions = self._in_a_row = 0

    def run(self, folder: Path, within_s: float, *, complete: bool = True, hurried: bool = False) -> list[str]:
        """Read all boxes, then again those that lack something, for at most ``within_s``; failures in words.

        ``complete``: the journals say all that was accepted; else all boxes are read again until the time is over.
        ``hurried``: what was not read by then is not read at all; else each box is read once, however long it takes,
        unless ``GIVES_UP`` in a row cannot be read then: where guesses make all logins of their address wait, each
        of the others would take half a minute, and a run with a box that was not read is not judged anyway.
        """
        deadline, hurry_at = time.monotonic() + within_s, 0.0
        self._until = deadline if hurried else math.inf
        had, owed = _books(folder)
        every = [self._spec.box(number) for number in range(self._spec.boxes)] + [self._spec.reports_to]
        boxes = {one.address: Mailbox(one, had.get(one.address, set())) for one in every}
        wanted: Iterable[Mailbox] = boxes.values()

        def arrived(token: str, address: str) -> None:
            waiting = owed.get(token, set())
            waiting -= {box for box in list(waiting) if is_of(address, box)}  # in place: several threads do it at once

        while True:
            if time.monotonic() > hurry_at:
                self._hurry()
                hurry_at = time.monotonic() + HURRY_S
            failed = self._read(wanted, arrived, deadline)
            owing = set().union(*owed.values(), failed) if complete else set(boxes)
            if not owing or time.monotonic() > deadline:
                return list(_told(failed))
            wanted = [boxes[one] for one in sorted(owing) if one in boxes] + [boxes[self._spec.reports_to.address]]
            time.sleep(PAUSE_S)

    def _read(self, wanted: Iterable[Mailbox], arrived: Arrived, deadline: float) -> dict[str, str]:
        """Box -> why it could not be read; empty where it was not tried."""
        failed: dict[str, str] = {}

        def one(box: Mailbox) -> None:
            if time.monotonic() > deadline and self._in_a_row >= GIVES_UP:
                failed[box.box.address] = ""
                return
            try:
                if time.monotonic() < self._until:
                    self._visit(box, arrived)
                    self._in_a_row = 0
            except PopboxError as error:
                failed[box.box.address] = str(error).splitlines()[0]
                with self._lock:
                    self._in_a_row += 1

        with ThreadPoolExecutor(PARALLEL) as pool:
            try:
                list(pool.map(one, wanted))
            except KeyboardInterrupt:
                self._until = 0.0  # for those that wait
                raise
        return failed

    def _visit(self, box: Mailbox, arrived: Arrived) -> None:
        with self._lock:
            self._sessions += 1
            number = self._sessions
        with BulkPop3(self._spec.where()[1], TIMEOUT_S) as session:
            session.login(box.box.login, box.box.password)
            notes = _Notes(self, box.box.address, arrived)
            for at, uidl in session.listing("UIDL"):
                if uidl not in box.known:
                    fetch(notes, session, box, at, uidl, number, reports=box.box == self._spec.reports_to)
                    box.known.add(uidl)
            session.command("QUIT")

    def write(self, event: str, **fields: Any) -> None:
        """A line of the journal, from any thread."""
        with self._lock:
            self._journal.write(event, **fields)


@dataclass(frozen=True, slots=True)
class _Notes:
    """The journal of one visit; ``arrived`` hears of each message of the run."""

    drain: Drain
    box: str
    arrived: Arrived

    def note(self, event: str, **fields: Any) -> None:
        self.drain.write(event, **fields)
        if fields.get("token"):
            self.arrived(str(fields["token"]), str(fields["note"]) if event == "bounce" else self.box)


def _told(failed: dict[str, str]) -> Iterator[str]:
    """What ``Drain._read`` could not read, in words."""
    yield from (f"{box}: {why}" for box, why in sorted(failed.items()) if why)
    if unread := sum(not why for why in failed.values()):
        yield f"{unread} boxes were not read any more, as {GIVES_UP} in a row could not be"


def _books(folder: Path) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """By box the UIDLs that were fetched and lie there still, and by token the boxes that it has not come to."""
    had: dict[str, set[str]] = {}
    owed: dict[str, set[str]] = {}
    with opened(folder) as books:
        for box, uidl in books.execute("SELECT box, uidl FROM copies EXCEPT SELECT box, uidl FROM taken").fetchall():
            had.setdefault(box, set()).add(uidl)
        query = "SELECT token, box FROM accepted EXCEPT SELECT token, box FROM copies"
        for token, box in books.execute(query).fetchall():
            owed.setdefault(token, set()).add(box)
    return had, owed
