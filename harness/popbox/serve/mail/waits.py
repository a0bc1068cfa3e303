"""Waiting for a message over HTTP. A wait holds one future of the event loop, and no thread.

A wait longer than MOST_WAIT_S is answered before proxies cut it: 202, with the path to ask again. A client in any
language asks ``again`` while the status is 202. It is not 408, which some clients and proxies repeat by themselves.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from popbox.hosts.base import Ability
from popbox.printable import plain
from popbox.serve.errors import ApiError, Problem
from popbox.serve.journeys import Brief
from popbox.serve.live import Live
from popbox.serve.mail.arrivals import Arrival
from popbox.serve.mail.messages import Mailroom, MessageSeen
from popbox.serve.mail.stuck import why_not
from popbox.serve.mail.wanted import Wanted, WantedMessages, there
from popbox.serve.reads import Answer
from popbox.serve.space import Space, Within
from popbox.serve.writes.broken import Broken, in_words

MOST_WAIT_S = 25.0  # our choice: proxies cut what is silent for 30 s or longer
ROUNDING_S = 0.05  # our choice: for less than that no client need ask again
WAIT = "/v1/messages/wait"


class Waited(Answer):
    """What was waited for."""

    messages: list[MessageSeen] = Field(description="as many as were asked for, oldest first")
    cursor: int = Field(description="of the store; what is accepted from now on is behind it")
    again: str = Field(description="the path that waits for the next ones")


class Pending(Answer):
    """Not yet: ask again at once."""

    pending: Literal[True] = True
    again: str = Field(description="the path that goes on with what is left of the wait")


class TimedOut(Problem):
    """It did not come in time. ``evidence`` names what came close."""

    last_seen: Brief | None = Field(description="the latest journey that came close")
    reason: str = Field(description="where it is stuck and why, in one sentence")
    log: list[str] = Field(description="what the host logged of it")


def waits(live: Live, mailroom: Mailroom, broken: Broken) -> APIRouter:
    """The endpoint, over one host and its store; ``broken`` are the faults that are active."""
    router = APIRouter()
    world: dict[str, Any] = {"host": live.host.name, "mta": live.host.mta}
    answers: dict[int | str, dict[str, Any]] = {
        202: {"model": Pending, "description": "not yet: ask `again` at once"},
        408: {"model": TimedOut, "description": "it did not come, and why"},
    }

    @router.get(WAIT, operation_id="wait", response_model=Waited, responses=answers)
    async def wait(within: Within, wanted: Annotated[WantedMessages, Query()]) -> Waited | Response:
        """Wait until messages that fit have come: 200; 202 while there is time left; 408 with where it is stuck.

        "After" is a cursor, taken before the action (`cursor` of any answer), and never a clock; without `since` it is
        the whole store. A message counts as behind it when it was accepted behind it.
        """
        check(live, wanted, within)
        began = time.monotonic()
        found = await _found(live, wanted, within)
        left_s = wanted.within_s - (time.monotonic() - began)
        if len(found) >= wanted.count:
            seen = [await run_in_threadpool(mailroom.message, one) for one in found[: wanted.count]]
            again = wanted.path(WAIT, after=seen[-1].id)
            return Waited(**world, messages=seen, cursor=live.store.cursor(), again=again)
        if live.ending:
            raise ApiError(503, "popbox serve ends", "ask again once it is back", (wanted.path(WAIT),))
        if left_s > ROUNDING_S:
            return later(Pending(**world, again=wanted.path(WAIT, within=f"{left_s:.3f}s")))
        raise await run_in_threadpool(timed_out, live, wanted, within, len(found), broken)

    return router


def check(live: Live, wanted: Wanted, within: Space | None) -> None:
    """Refuse what cannot be answered on this host, or is no question.

    Raises:
        ApiError: says which.
    """
    wanted.check(within)
    if why := live.host.cannot(Ability.FILES):
        raise ApiError(409, "whether a message has come is not known on this host", "look at its journey", (why,))


async def _found(live: Live, wanted: WantedMessages, within: Space | None) -> list[Arrival]:
    """What has come, once there is enough, or the time of one answer is over."""
    until = time.monotonic() + min(wanted.within_s, MOST_WAIT_S)
    with live.watch(wanted.name, lambda one: wanted.takes(one, within), wanted.count) as watch:
        for one in await run_in_threadpool(there, live.store, wanted, within):
            watch.offer(one)
        await watch.until(until - time.monotonic())
        return [watch.found[id] for id in sorted(watch.found)]


def later(pending: Pending) -> Response:
    """202, with the path in the body and in Location."""
    headers = {"location": pending.again, "retry-after": "0"}
    return Response(pending.model_dump_json(), 202, headers, "application/json")


def timed_out(live: Live, wanted: WantedMessages, within: Space | None, came: int, broken: Broken) -> ApiError:
    """The answer to a wait that is over."""
    stuck = why_not(live, wanted, within, in_words(broken.active, within.name if within else None))
    what = wanted.words() + (f" ({came} of {wanted.count} came)" if wanted.count > 1 else "")
    more = {
        "last_seen": stuck.last_seen.model_dump(mode="json") if stuck.last_seen else None,
        "reason": plain(stuck.reason),
        "log": [plain(line) for line in stuck.log],
    }
    return ApiError(408, f"waited {wanted.within} for {what}", "reason says where it is", stuck.near, more)
