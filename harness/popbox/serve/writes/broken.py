"""The faults that this server has put on the host. Each is in the store before it is done, so that all are healed.

A thread heals what is due; what could not be healed is tried again. The regular end of the server heals all; after a
kill -9, the next start of one with the same store does.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from popbox.errors import NotPossibleError, PopboxError
from popbox.hosts.base import SERVICES
from popbox.hosts.breaking import harm, ill, mend, place
from popbox.journey.model import Event, Kind
from popbox.serve.duration import moment
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.writes.common import SOURCE

SOURCE_OF_LIST = "faults"  # the source in the store beside which the list is kept
MEND_S = 30.0  # our choice: a service starts within two seconds on an idle machine
AGAIN_S = 5.0  # our choice: between tries to heal


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. Times are wall clock, in seconds since 1970, but ``due``."""

    id: str
    kind: str  # as Break.kind of a scenario
    target: str
    where: str  # see ``place``
    who: str
    space: str  # empty: of no space
    at: float
    heals_at: float | None = None
    due: float | None = None  # monotonic; the next try to heal
    by: str = "for"  # what heals it when it is due
    why: str = ""  # the last try to heal failed


class Broken:
    """The list of faults that are active, and what begins and ends them. For any thread; one change at a time."""

    def __init__(self, live: Live) -> None:
        """Nothing is read or run before ``resume``."""
        self._live = live
        self._lock, self._news = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._ended = False
        self.active: tuple[Fault, ...] = ()  # replaced whole

    def resume(self) -> None:
        """Have what a killed server left behind healed, by a thread; and all that comes, when the server ends.

        Raises:
            StoreError: the list cannot be read.
        """
        self._live.at_end(self._end)
        _, kept = self._live.store.position(SOURCE_OF_LIST)
        found = (Fault(**one) for one in json.loads(kept or "[]"))
        self.active = tuple(replace(one, heals_at=None, due=time.monotonic(), by="start of serve") for one in found)
        if self.active:
            self._wake()

    def begin(self, fault: Fault, lasts_s: float | None) -> Fault:
        """Break the host; returns the fault as it is listed.

        Raises:
            ApiError: it is refused, with the reason.
            HostError: it could not be done; what was done of it is undone.
            StoreError: it could not be noted; nothing was done.
        """
        with self._lock:
            self._refuse(fault)
            self._keep((*self.active, fault), {"what": "break", **_said(fault), "who": fault.who, "outcome": "begun"})
            try:
                harm(self._live.host, fault.kind, fault.target)
            except BaseException as error:
                with suppress(ApiError):
                    self._heal(fault, "break that failed")
                if isinstance(error, NotPossibleError):
                    raise ApiError(409, "this host cannot do that", "", (error.what,)) from error
                raise
            if lasts_s is not None:
                fault = replace(fault, heals_at=time.time() + lasts_s, due=time.monotonic() + lasts_s)
                self._put(fault)
        self._live.kick()
        self._wake()
        return fault

    def _refuse(self, fault: Fault) -> None:
        if self._ended:
            raise ApiError(503, "popbox serve ends")
        if fault.space and fault.space not in self._live.store.live_spaces():
            raise ApiError(403, "the space of this popbox-space has ended", "POST /v1/spaces makes a new one")
        if first := next((one for one in self.active if one.target == fault.target), None):
            hint = f"DELETE /v1/faults/{first.id} heals it"
            raise ApiError(409, f"{fault.target} is broken already, by {first.id}", hint, (_words(first),))
        if already := ill(self._live.host, fault.target):
            hint = "it was not broken from here, and would not be healed"
            raise ApiError(409, f"{fault.target} does not work as it is", hint, tuple(already))

    def heal(self, id_: str, by: str) -> str:
        """Undo a fault; returns why the service does not answer yet, or empty.

        Raises:
            ApiError: there is no such fault, or it could not be undone: then that is tried again and again.
        """
        with self._lock:
            fault = next((one for one in self.active if one.id == id_), None)
            if fault is None:
                raise ApiError(404, f"there is no fault {id_}", "GET /v1/faults shows those that are not healed")
            return self._heal(fault, by)

    def heal_all(self, by: str, wanted: Callable[[Fault], bool] = lambda _fault: True) -> None:
        """Undo those that are ``wanted``.

        Raises:
            ApiError: one could not be undone; the others are.
        """
        failed: ApiError | None = None
        for one in _services_first(filter(wanted, self.active)):
            try:
                self.heal(one.id, by)
            except ApiError as error:
                failed = error if error.status != 404 else failed
        if failed:
            raise failed

    def _heal(self, fault: Fault, by: str) -> str:
        """With the lock."""
        note = {"what": "heal", **_said(fault), "who": by}
        host = self._live.host
        try:
            ours = fault.where == place(host)
            left = mend(host, fault.kind, fault.target, time.monotonic() + MEND_S) if ours else ""
            done = "done" if ours else "it was on another host"
            self._keep(tuple(one for one in self.active if one.id != fault.id), {**note, "outcome": done})
        except (PopboxError, OSError) as error:
            why = str(error).splitlines()[0]
            self._put(replace(fault, due=time.monotonic() + AGAIN_S, by=by, why=why))
            if not fault.why:
                with suppress(PopboxError):
                    self._live.store.append([_note({**note, "outcome": why})])
            self._wake()
            hint = f"it is tried again each {AGAIN_S:.0f} s"
            raise ApiError(503, f"{fault.id} could not be healed", hint, (_words(fault), why)) from error
        self._live.kick()
        return left

    def _put(self, fault: Fault) -> None:
        self.active = tuple(fault if one.id == fault.id else one for one in self.active)

    def _keep(self, active: tuple[Fault, ...], note: dict[str, Any]) -> None:
        """The list and what tells of it, in one transaction."""
        shown = json.dumps([asdict(replace(one, due=None, why="")) for one in active])
        with self._live.store.batch() as batch:
            batch.keep_position(SOURCE_OF_LIST, "", shown)
            batch.add(_note(note))
        self.active = active

    def _wake(self) -> None:
        """Have the thread look at the list; there is none before the first fault."""
        self._news.set()
        if self._thread is None and not self._ended:
            self._thread = threading.Thread(target=self._run, name="healer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            self._news.clear()
            self._heal_due()
            next_at = min((one.due for one in self.active if one.due is not None), default=None)
            self._news.wait(None if next_at is None else max(0.0, next_at - time.monotonic()))

    def _heal_due(self) -> None:
        for one in _services_first(self.active):
            if one.due is not None and one.due <= time.monotonic():
                with suppress(ApiError):  # it is listed as it is, and due again
                    self.heal(one.id, one.by)

    def _end(self) -> None:
        """Heal all and let nothing more begin. What cannot be healed now is in the store, for the next start."""
        with self._lock:
            self._ended = True
        self._news.set()
        with suppress(ApiError):
            self.heal_all("end of serve")
        if self._thread:
            self._thread.join()


def in_words(active: Iterable[Fault], space: str | None) -> list[str]:
    """Faults as they are told to a request: what is broken, by whom, until when. ``space``: the one that it is in."""
    return [
        f"{_words(one if space in (None, one.space) or not one.space else replace(one, who='another space'))},"
        f" since {moment(one.at)}, until {moment(one.heals_at) if one.heals_at else 'it is healed'}"
        for one in active
    ]


def _services_first(found: Iterable[Fault]) -> list[Fault]:
    """A disk is reached through a service."""
    return sorted(found, key=lambda one: one.target not in SERVICES)


def _said(fault: Fault) -> dict[str, Any]:
    return {"id": fault.id, "fault": fault.kind, "on": fault.target, "space": fault.space}


def _words(fault: Fault) -> str:
    return f"{fault.kind} {fault.target} by {fault.who}"


def _note(fields: dict[str, Any]) -> Event:
    return Event(time.time(), Kind.NOTE, None, fields, SOURCE)
