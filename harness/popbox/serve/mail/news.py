"""From commits of the store to the waits that they concern: a new copy in a Maildir is offered to those that want it.

A thousand waits must not each look into the store whenever anything happens. So a commit's arrivals are made once, in
the thread that wrote, and offered in the event loop to the waits for one of their addresses, and to those for any.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from popbox.journey.model import Kind
from popbox.journey.store import MOST_EVENTS, Store
from popbox.serve.mail.arrivals import Arrival, family_of

ANY = ""  # the name of waits that name no address


@dataclass(eq=False, slots=True)
class Watch:
    """One wait. It belongs to the event loop: only what runs there touches it."""

    takes: Callable[[Arrival], bool]
    enough: int
    found: dict[int, Arrival] = field(default_factory=dict)
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, one: Arrival) -> None:
        """Keep what is wanted. What is offered twice, as by the store and by a commit, counts once."""
        if self.takes(one):
            self.found[one.id] = one
            if len(self.found) >= self.enough:
                self._done.set()

    def stop(self) -> None:
        """Let ``until`` return."""
        self._done.set()

    async def until(self, within_s: float) -> None:
        """Return when there is enough, when ``stop`` is called, or after so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._done.wait(), max(0.0, within_s))


class News:
    """The watches of one server, and what is told to them."""

    def __init__(self, store: Store) -> None:
        """What is in ``store`` already is no news."""
        self._store, self._lock, self._told = store, threading.Lock(), store.cursor()
        self._watches: dict[str, set[Watch]] = {}

    def __bool__(self) -> bool:
        """Whether anything is watched for."""
        return bool(self._watches)

    @property
    def open(self) -> int:
        """How many watches there are. From any thread."""
        return sum(len(some) for some in list(self._watches.values()))

    @contextmanager
    def watch(self, name: str, takes: Callable[[Arrival], bool], enough: int) -> Iterator[Watch]:
        """A watch for arrivals at the address ``name``, in lower case, or at ANY. In the event loop.

        All that is stored after it was made is offered to it; look into the store behind that for what was there.
        """
        watch = Watch(takes, enough)
        self._watches.setdefault(name, set()).add(watch)
        try:
            yield watch
        finally:
            self._watches[name].discard(watch)
            if not self._watches[name]:
                del self._watches[name]

    def collect(self) -> list[Arrival]:
        """What came since the last call. By the thread that has written; nothing is read while no wait is there."""
        with self._lock:
            if not self._watches:
                self._told = self._store.cursor()
                return []
            with suppress(sqlite3.Error):  # then it is collected with the next commit
                return self._collected()
            return []

    def _collected(self) -> list[Arrival]:
        at, touched = self._told, set[int]()
        while events := self._store.events_since(at):
            at = events[-1].seq
            # a link that comes after the file adds the names of what was forwarded
            touched |= {one.message or 0 for one in events if one.kind in (Kind.FILED, Kind.LINKED)}
            if len(events) < MOST_EVENTS:
                break
        roots = {self._store.root_of(one) for one in touched}
        found = [one for root in sorted(roots) for one in family_of(self._store, root)]
        self._told = at
        return found

    def offer(self, arrivals: Iterable[Arrival]) -> None:
        """Offer to each watch that an arrival may be for. In the event loop."""
        for one in arrivals:
            for name in (*one.names, ANY):
                for watch in tuple(self._watches.get(name, ())):
                    watch.offer(one)

    def stop(self) -> None:
        """End every watch. In the event loop."""
        for watches in self._watches.values():
            for watch in watches:
                watch.stop()
