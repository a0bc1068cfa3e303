"""``GET /v1/events``: what is recorded, as it is recorded, in Server-Sent Events (WHATWG HTML §9.2).

A stream is a task of the event loop and a cursor: no thread, no queue. It reads on only when the client has read.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from popbox.journey.model import Kind
from popbox.serve.errors import ApiError
from popbox.serve.journeys import GREATEST, exactly
from popbox.serve.live import Live
from popbox.serve.space import Space, Within
from popbox.serve.watch.tail import Page, Tail, Told, gathered

MOST_STREAMS = 100  # our choice
GATHER_S = 0.025  # our choice: a pass makes two commits, and a hundred streams cost less if they send both at once
HEARTBEAT_S = 15.0  # our choice: proxies close what is silent for a minute
RETRY_MS = 2_000  # our choice: a client waits so long before it comes again
PRUNED = "these events are in the store no more: it keeps what --keep and --most-size allow"
AHEAD = "the store has no event of that number: it is another one, or was begun again; all of it follows"


class Asked(BaseModel):
    """What a stream shows. Without a filter: everything."""

    model_config = ConfigDict(extra="forbid")

    since: int | None = Field(None, ge=0, le=GREATEST, description="events behind this cursor; without it: from now on")
    to: str | None = exactly("an address of the envelope, or as the MTA's log has it")
    domain: str | None = exactly("of a recipient")
    journey: int | None = Field(
        None, ge=1, le=GREATEST, description="only of the journey with that id, or with a message of that id"
    )
    kind: list[Kind] = Field([], max_length=len(Kind), description="of events; several may be given")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a stream sends. ``to`` and ``domain`` are in lower case.

    ``family`` are the messages of one journey; those that come of them are added as events tell of them.
    """

    to: str | None = None
    domain: str | None = None
    kinds: frozenset[Kind] = frozenset()
    within: Space | None = None
    family: set[int] | None = None

    @property
    def all(self) -> bool:
        """Whether no event is left out."""
        return not (self.to or self.domain or self.kinds or self.within or self.family is not None)

    def fits(self, told: Told) -> bool:
        """Whether the event is sent."""
        if self.family is not None and told.about is not None and not self._is_of_family(told):
            return False
        if self.kinds and told.kind not in self.kinds:
            return False
        if told.about is None:
            return True
        if self.within and not self._is_within(self.within, told):
            return False
        if self.to and self.to not in told.about:
            return False
        return not self.domain or any(one.rpartition("@")[2] == self.domain for one in told.about)

    @staticmethod
    def _is_within(space: Space, told: Told) -> bool:
        """Whether a space may see it: its own notes, and what is about its addresses alone and is no other's note."""
        if told.space:
            return told.space == space.name
        return bool(told.about) and all(map(space.holds, told.about or ()))

    def _is_of_family(self, told: Told) -> bool:
        assert self.family is not None
        if told.message is not None and told.parent in self.family:
            self.family.add(told.message)
        return told.message in self.family


class Streams:
    """The streams of one server."""

    def __init__(self, live: Live) -> None:
        """None is open."""
        self._live, self.open = live, 0
        self._tail: Tail | None = None

    def stream(self, wanted: Wanted, since: int | None) -> StreamingResponse:
        """The answer that goes on.

        Raises:
            ApiError: there are as many as may be.
        """
        if self.open >= MOST_STREAMS:
            raise ApiError(503, f"{MOST_STREAMS} streams are open", "close some, or ask again later")
        return _Stream(self, wanted, since)

    async def frames(self, wanted: Wanted, since: int | None) -> AsyncIterator[bytes]:
        """What is sent, piece by piece, until the server ends."""
        tail = self._tail = self._tail or Tail(self._live.store)
        cursor = self._live.store.cursor()
        at = cursor if since is None else since if since <= cursor else 0
        yield _opening(self._live, at)
        if since is not None and since > cursor:
            yield _gap(cursor + 1, since, since - cursor, AHEAD)
        said_at, told = time.monotonic(), at
        while not self._live.ending:
            if told <= at:
                told = await self._live.changed(at, max(0.0, said_at + HEARTBEAT_S - time.monotonic()))
                await asyncio.sleep(GATHER_S if told > at else 0)
            if told > at:
                page = await tail.page(at)
                for piece in _pieces(page, at, wanted):
                    yield piece
                    said_at = time.monotonic()
                at = page.next
            if time.monotonic() >= said_at + HEARTBEAT_S:
                yield b": still here\nid: %d\n\n" % at
                said_at = time.monotonic()
        yield b": the server ends\nid: %d\n\n" % at


class _Stream(StreamingResponse):
    """A stream that is counted while it is open."""

    def __init__(self, streams: Streams, wanted: Wanted, since: int | None) -> None:
        headers = {"x-accel-buffering": "no"}  # nginx would hold it back
        super().__init__(streams.frames(wanted, since), media_type="text/event-stream", headers=headers)
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams.open += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1


def _opening(live: Live, at: int) -> bytes:
    """First of all the cursor, so that a stream that breaks before any event goes on without a gap."""
    said = {"cursor": at, "host": live.host.name, "mta": live.host.mta}
    return b"retry: %d\nid: %d\nevent: open\ndata: %s\n\n" % (RETRY_MS, at, json.dumps(said).encode())


def _gap(first: int, last: int, missing: int, why: str) -> bytes:
    """What cannot be sent. It has no id: what follows has."""
    said = {"first": first, "last": last, "missing": missing, "why": why}
    return b"event: gap\ndata: %s\n\n" % json.dumps(said).encode()


def _pieces(page: Page, after: int, wanted: Wanted) -> Iterable[bytes]:
    if page.missing:
        yield _gap(after + 1, page.next, page.missing, PRUNED)
    yield from page.pieces if wanted.all else gathered(told.frame for told in page.told if wanted.fits(told))


def _family(live: Live, of: int) -> set[int]:
    """The messages of a journey.

    Raises:
        ApiError: there is none.
    """
    if not (root := live.store.root_of(of)):
        raise ApiError(404, "there is no journey of that id", "/v1/journeys has those there are")
    return {event.message for event in live.store.events_of(root) if event.message is not None}


def events(live: Live, streams: Streams) -> APIRouter:
    """The endpoint."""
    router = APIRouter()
    content: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}

    @router.get(
        "/v1/events",
        operation_id="events",
        response_class=StreamingResponse,
        responses={200: {"description": "events, one JSON object each, with `id` its seq", "content": content}},
    )
    async def listen(
        within: Within,
        asked: Annotated[Asked, Query()],
        last_event_id: Annotated[str | None, Header(max_length=20, pattern=r"^[0-9]*$")] = None,
    ) -> StreamingResponse:
        """What is recorded, as it is recorded. `Last-Event-ID`, else `since`, goes on without gap and double.

        First comes `event: open` with the cursor. Every event is a message whose `id` is its seq. `event: gap` tells
        which events are there no more. Comments come at least each 15 s.
        """
        since = int(last_event_id) if last_event_id else asked.since
        to, domain = (one.lower() if one else None for one in (asked.to, asked.domain))
        family = await asyncio.to_thread(_family, live, asked.journey) if asked.journey else None
        wanted = Wanted(to, domain, frozenset(asked.kind), within, family)
        return streams.stream(wanted, since)

    return router
