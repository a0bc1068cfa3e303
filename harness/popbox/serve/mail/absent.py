"""Proving over HTTP that no message has come: everything accepted behind a cursor has ended, and none of it fits."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from popbox.errors import HostError
from popbox.hosts.readiness import greets
from popbox.serve.errors import ApiError, Problem
from popbox.serve.live import Live
from popbox.serve.mail.absence import Verdict, judge, not_begun
from popbox.serve.mail.waits import MOST_WAIT_S, ROUNDING_S, Pending, check, later
from popbox.serve.mail.wanted import Wanted
from popbox.serve.reads import Answer
from popbox.serve.space import Space, Within

NONE = "/v1/messages/none"
SETTLE_S = 0.5  # our choice: loggers and engines have handed on by then what the MTA wrote
LEAST_S = 0.5  # our choice: for the pass that reads the log, also where the time of an answer is over
LOOK_S = 0.1  # our choice: between looks into the queue
MOST_LINES = 50  # our choice: of evidence


class WantedNone(Wanted):
    """What none must fit."""

    within: str = Field("20s", max_length=20, description="how long messages may take to end: 500ms, 30s, 2m")


class NoneOf(Answer):
    """The proof: all that was accepted behind the cursor has ended, and none of it fits."""

    none: Literal[True] = True
    cursor: int = Field(description="the proof holds up to here")
    looked_at: int = Field(description="messages behind the cursor that were looked at: those for the address, if any")


class NotNone(Problem):
    """One fits, or it cannot be told. ``evidence`` says which."""

    messages: list[int] = Field(description="ids of what came in Maildirs and fits: /v1/messages/{id}")


def absent(live: Live) -> APIRouter:
    """The endpoint, over one host and its store."""
    router = APIRouter()
    world: dict[str, Any] = {"host": live.host.name, "mta": live.host.mta}
    answers: dict[int | str, dict[str, Any]] = {
        202: {"model": Pending, "description": "not yet: ask `again` at once"},
        408: {"model": Problem, "description": "not all has ended in time; `evidence` says what has not"},
        409: {"model": NotNone, "description": "one fits, or this cannot be told"},
    }

    @router.get(NONE, operation_id="none", response_model=NoneOf, responses=answers)
    async def none(within: Within, wanted: Annotated[WantedNone, Query()]) -> NoneOf | Response:
        """Prove that no message fits: 200 once everything accepted since the cursor has ended, and none of it fits.

        It is no time-out: 200 comes as soon as it is proved. 409 where one fits, or where this host does not show
        enough; 408 where something has not ended. A message that was accepted and bounced fits, too.
        """
        check(live, wanted, within)
        began = time.monotonic()
        verdict, cursor = await _verdict(live, wanted, within, began + min(wanted.within_s, MOST_WAIT_S))
        if verdict.matching or verdict.messages:
            raise _not_none("it is not so: " + wanted.words() + " was accepted", verdict.matching, verdict.messages)
        if verdict.unknown:
            raise _not_none("whether there is none cannot be told", verdict.unknown, [])
        if not verdict.waiting:
            return NoneOf(**world, cursor=cursor, looked_at=verdict.looked_at)
        left_s = wanted.within_s - (time.monotonic() - began)
        if live.ending:
            raise ApiError(503, "popbox serve ends", "ask again once it is back", (wanted.path(NONE),))
        if left_s > ROUNDING_S:
            return later(Pending(**world, again=wanted.path(NONE, within=f"{left_s:.3f}s")))
        hint = "what is accepted and not ended may still come"
        raise ApiError(408, f"within {wanted.within} not all has ended", hint, tuple(verdict.waiting[:MOST_LINES]))

    return router


def _not_none(error: str, lines: list[str], messages: list[int]) -> ApiError:
    lines = list(dict.fromkeys(lines))[:MOST_LINES]
    return ApiError(409, error, "evidence names the journeys", tuple(lines), {"messages": sorted(set(messages))})


async def _verdict(live: Live, wanted: Wanted, within: Space | None, until: float) -> tuple[Verdict, int]:
    """The last verdict before a monotonic time, and the cursor up to which it holds.

    Raises:
        ApiError: the queue or the log is not shown.
    """
    waiting = Verdict(waiting=list(await _begun(live, until)))
    if waiting.waiting:
        return waiting, 0
    await _written(live)
    if not await live.recorded(time.time(), max(LEAST_S, until - time.monotonic())):
        if error := live.state.error:
            raise ApiError(503, "what the host does is not recorded", "see /readyz", (error,))
        return Verdict(waiting=["what the host did until now is not read yet"]), 0
    upto = live.store.cursor()
    while True:
        cursor = live.store.cursor()
        verdict = await run_in_threadpool(judge, live.store, wanted, within, upto)
        left_s = until - time.monotonic()
        if not verdict.waiting or verdict.matching or left_s <= 0 or live.ending:
            return verdict, cursor
        await live.changed(cursor, left_s)


async def _written(live: Live) -> None:
    """Return when all that the MTA has done until now is in the log that popbox reads.

    On host local the stand-in writes that file itself, with what one turn of its event loop did before the next turn,
    in which it greets. Elsewhere a logger, an engine or ssh stands between: then it is a matter of time.
    """
    silent = await run_in_threadpool(greets, live.host, "smtp") if live.host.name == "local" else "another host"
    if silent:
        await asyncio.sleep(SETTLE_S)


async def _begun(live: Live, until: float) -> list[str]:
    """Wait until the MTA has begun all that its queue holds now; what it has not begun in time, a line each.

    Raises:
        ApiError: the host does not show its queue.
    """
    try:
        left = await run_in_threadpool(not_begun, live.host, live.store)
        while left and time.monotonic() < until and not live.ending:
            live.kick()
            await asyncio.sleep(LOOK_S)
            left &= await run_in_threadpool(not_begun, live.host, live.store)
    except HostError as error:
        raise _not_none("whether there is none cannot be told", [error.what], []) from error
    return [f"{one} is in the queue, and the MTA has not begun it" for one in sorted(left)]
