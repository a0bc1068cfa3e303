"""Events as streams send them. What is new is read, judged and written once for all streams; what is older, in pages.

An event is about addresses: those that it names, else those of its message that are known by then. So what a stream
with a filter gets does not depend on when it reads: `queued`, which names no recipient, is for streams without one.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from popbox.journey.model import Event, Kind, addresses_in
from popbox.journey.store import Store

PAGE = 500  # our choice: events read at once, by a stream that is behind
CHUNK_OCTETS = 65_536  # our choice: written at once, as uvicorn's buffer
MOST_KEPT = 5_000  # our choice: events in memory; a stream that is further behind reads the store
MOST_NAMED = 5_000  # our choice: messages whose addresses are in memory
HOSTS = (Kind.GAP, Kind.BLIND)  # about no address: how recording goes


@dataclass(frozen=True, slots=True)
class Told:
    """One event, ready to be sent. ``about`` are addresses in lower case; None: the host, so that it is for all.

    ``parent`` is the message that ``message`` came from, where the event says so; else 0. ``space`` is the one whose
    note it is, or empty.
    """

    seq: int
    kind: Kind
    about: frozenset[str] | None
    frame: bytes
    message: int | None = None
    parent: int = 0
    space: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Events behind a cursor, the cursor behind them, and how many between both are in the store no more.

    ``pieces`` are all of them as they are sent, for streams without a filter.
    """

    told: tuple[Told, ...]
    next: int
    missing: int
    pieces: tuple[bytes, ...]


@dataclass(slots=True)
class _Names:
    """Addresses of one message: as routed -> as the envelope has it, and the files' names -> recipient as routed."""

    routed: dict[str, str] = field(default_factory=dict)
    uidls: dict[str, str] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        said = event.fields
        match event.kind:
            case Kind.SENT:
                self.routed |= {one: one for one in said["recipients"]}
            case Kind.TRYING:
                self.routed[said["recipient"]] = said["address"]
            case Kind.FILED:
                self.uidls[said["uidl"]] = said["recipient"]

    def of(self, routed: str) -> frozenset[str]:
        return frozenset(one.lower() for one in (routed, self.routed.get(routed, "")) if one)

    def all(self) -> frozenset[str]:
        return frozenset(one.lower() for pair in self.routed.items() for one in pair if one)


class Judge:
    """Says whom events are about, which come in order."""

    def __init__(self, store: Store) -> None:
        """``store`` is asked for what came before, of each message once."""
        self._store = store
        self._known: OrderedDict[int, _Names] = OrderedDict()

    def told(self, event: Event) -> Told:
        """The event, ready to be sent."""
        said = event.fields
        parent = said["parent"] if event.kind is Kind.LINKED else 0
        space = str(said.get("space", "")) if event.kind is Kind.NOTE else ""
        return Told(event.seq, event.kind, self._about(event), frame(event), event.message, parent, space)

    def _about(self, event: Event) -> frozenset[str] | None:
        said = event.fields
        if event.message is None:
            return None if event.kind in HOSTS else frozenset(one.lower() for one in addresses_in(said))
        names = self._names(event.message, event.seq)
        names.take(event)
        if recipient := said.get("recipient"):
            return names.of(recipient)
        if "uidl" in said:
            return names.of(names.uidls.get(said["uidl"], ""))
        return names.all()

    def _names(self, of: int, before: int) -> _Names:
        found = self._known.pop(of, None)
        if found is None:
            found = _Names()
            for event in self._store.events_about(of) if of < before else ():
                if event.seq < before:
                    found.take(event)
        self._known[of] = found
        if len(self._known) > MOST_NAMED:
            self._known.popitem(last=False)
        return found


def frame(event: Event) -> bytes:
    """The event in the form of Server-Sent Events. JSON has no line end that is not escaped."""
    said = {
        "seq": event.seq,
        "at": event.at,
        "kind": event.kind,
        "message": event.message,
        "fields": dict(event.fields),
    }
    return b"id: %d\ndata: %s\n\n" % (event.seq, json.dumps(said, separators=(",", ":")).encode())


class Tail:
    """The end of the store, for all streams of a server. Used in its event loop; reads run in threads."""

    def __init__(self, store: Store) -> None:
        """What comes from now on is kept, up to MOST_KEPT."""
        self._store, self._judge = store, Judge(store)
        self._told: list[Told] = []
        self._floor = self._reached = store.cursor()  # all events behind the one, up to the other, are in memory
        self._reading = asyncio.Lock()
        self._latest: tuple[int, Page] | None = None  # a hundred streams ask for the same

    async def page(self, after: int) -> Page:
        """At most PAGE events behind a cursor; none where there is nothing new."""
        if after >= self._floor:
            async with self._reading:
                if after >= self._reached:
                    self._keep(*await asyncio.to_thread(self._read, self._judge, self._reached))
            if self._latest and self._latest[0] == after and self._latest[1].next == self._reached:
                return self._latest[1]
            if after >= self._floor:
                begin = bisect_right(self._told, after, key=lambda one: one.seq)
                page = _page(self._told[begin : begin + PAGE], after, self._reached)
                self._latest = after, page
                return page
        told, reached = await asyncio.to_thread(self._read, Judge(self._store), after)
        return _page(told, after, reached)

    def _read(self, judge: Judge, after: int) -> tuple[list[Told], int]:
        """The next events, and how far that is: what is not among them up to there was taken out."""
        reached = self._store.cursor()  # first, so that what comes in between is not taken for missing
        told = [judge.told(event) for event in self._store.events_since(after, PAGE)]
        return told, told[-1].seq if told else max(after, reached)

    def _keep(self, told: Iterable[Told], reached: int) -> None:
        self._told += told
        self._reached = reached
        if len(self._told) > 2 * MOST_KEPT:
            del self._told[:-MOST_KEPT]
            self._floor = self._told[0].seq - 1


def _page(told: list[Told], after: int, reached: int) -> Page:
    upto = told[-1].seq if told else max(after, reached)
    return Page(tuple(told), upto, upto - after - len(told), tuple(gathered(one.frame for one in told)))


def gathered(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Frames in pieces of about CHUNK_OCTETS, none of them cut."""
    held: list[bytes] = []
    size = 0
    for frame in frames:
        held.append(frame)
        size += len(frame)
        if size >= CHUNK_OCTETS:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
