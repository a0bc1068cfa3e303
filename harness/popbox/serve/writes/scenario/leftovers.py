"""What runs have added to the host's accounts, kept in the store until it is taken away: after a kill -9, too."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from popbox.errors import PopboxError
from popbox.hosts.breaking import place
from popbox.journey.model import Event, Kind
from popbox.serve.live import Live
from popbox.serve.writes.common import SOURCE
from popbox.serve.writes.scenario.own import Things, remove

SOURCE_OF_LIST = "scenarios"  # the source in the store beside which the list is kept
AGAIN_S = 5.0  # our choice: between tries
NOTHING = Things()


@dataclass(frozen=True, slots=True)
class Added:
    """What one run has added. ``over``: the run has ended, and this is left of it."""

    id: str
    who: str
    where: str  # see ``hosts.breaking.place``
    things: Things = NOTHING
    over: bool = False


def note(what: str, id_: str, **said: Any) -> Event:
    """An event that tells of a run."""
    return Event(time.time(), Kind.NOTE, None, {"what": what, "id": id_, **said}, SOURCE)


class Leftovers:
    """The list. For any thread."""

    def __init__(self, live: Live) -> None:
        """Nothing is read before ``resume``."""
        self._live = live
        self._lock, self._ending = threading.RLock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._added: tuple[Added, ...] = ()  # replaced whole

    def resume(self) -> None:
        """Read the list, and have what runs of a killed server left behind taken away, by a thread.

        Raises:
            StoreError: the list cannot be read.
        """
        _, kept = self._live.store.position(SOURCE_OF_LIST)
        for one in json.loads(kept or "[]"):
            things = Things(*(tuple(one["things"][key]) for key in ("domains", "addresses")))
            self._added = (*self._added, Added(one["id"], one["who"], one["where"], things, over=True))
            if not one["over"]:
                why = "popbox serve was killed while it ran"
                self._live.store.append([note("scenario cut off", one["id"], who=one["who"], outcome=why)])
        self.try_again()

    def add(self, added: Added) -> None:
        """Begin to keep what a run adds.

        Raises:
            StoreError: it could not be kept.
        """
        with self._lock:
            self._keep((*self._added, added))

    def change(self, id_: str, things: Things) -> None:
        """Keep what a run has added, and is about to add.

        Raises:
            StoreError: it could not be kept.
        """
        with self._lock:
            self._keep(tuple(replace(one, things=things) if one.id == id_ else one for one in self._added))

    def _keep(self, added: tuple[Added, ...]) -> None:
        with self._live.store.batch() as batch:
            batch.keep_position(SOURCE_OF_LIST, "", json.dumps([asdict(one) for one in added]))
        self._added = added

    def take_away(self, id_: str) -> tuple[str, ...]:
        """Remove what a run that has ended has added; what is left of it, a line each. What fails stays in the list."""
        one = next(one for one in self._added if one.id == id_)
        try:
            ours = one.where == place(self._live.host)
            left = tuple(remove(self._live.host, one.things)) if ours and one.things else ()
            with self._lock:
                self._keep(tuple(other for other in self._added if other.id != id_))
        except (PopboxError, OSError) as error:
            with self._lock:
                self._added = tuple(replace(one, over=True) if one.id == id_ else one for one in self._added)
            left = (f"{', '.join((*one.things.domains, *one.things.addresses))}: {str(error).splitlines()[0]}",)
        return left

    def _failed(self) -> list[Added]:
        return [one for one in self._added if one.over]

    def try_again(self) -> None:
        """Have a thread take away what could not be, until it is gone."""
        with self._lock:
            if self._failed() and not self._ending.is_set() and not (self._thread and self._thread.is_alive()):
                self._thread = threading.Thread(target=self._tidy, name="leftovers", daemon=True)
                self._thread.start()

    def _tidy(self) -> None:
        while not self._ending.is_set() and (failed := self._failed()):
            for one in failed:
                left = self.take_away(one.id)
                if one.id not in (other.id for other in self._added):
                    with suppress(PopboxError):
                        said = {"who": one.who, "left": left, "outcome": "done"}
                        self._live.store.append([note("scenario cleaned up", one.id, **said)])
            if self._failed():
                self._ending.wait(AGAIN_S)

    def end(self) -> None:
        """Try no more. What is left is in the store, for the next start."""
        with self._lock:
            self._ending.set()
            thread = self._thread
        if thread:
            thread.join()
