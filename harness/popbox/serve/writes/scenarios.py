"""Scenarios over HTTP: a client sends one, watches its steps, and gets the result that `popbox run` would give."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path as File
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from popbox.hosts.base import Host
from popbox.ledger.proof import Message
from popbox.result import Result, StepResult
from popbox.run.needs import unmet
from popbox.scenario.load import load_all
from popbox.scenario.model import Scenario
from popbox.serve.duration import seconds
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.mail.waits import MOST_WAIT_S
from popbox.serve.reads import Answer
from popbox.serve.space import Space, Within
from popbox.serve.writes.common import TOKENS, Given, WholeHost
from popbox.serve.writes.scenario.allowed import refusals
from popbox.serve.writes.scenario.reach import Shared
from popbox.serve.writes.scenario.runs import Going, Runs

MOST_TOML = 262_144  # our choice: characters; the longest that comes with popbox has 2,640
PATH = "/v1/scenarios"
Id = Annotated[str, Path(pattern=r"^c[0-9a-f]{10}$", description="of a run, as its making told it")]


def _duration(value: str) -> str:
    seconds(value)
    return value


Within_ = Annotated[
    str, AfterValidator(_duration), Query(alias="within", max_length=20, description="how long to wait for its end")
]


class ProvedMessage(Message):
    """What became of a message that the scenario sent."""


class ScenarioResult(Result):
    """A result as it stands in the report of `popbox run --json`. A name of its own: `Message` is a journey's."""

    messages: tuple[ProvedMessage, ...] = ()


class NewScenario(Given):
    """A scenario that is to be run: its text, or the name of one that comes with popbox."""

    toml: str | None = Field(default=None, max_length=MOST_TOML, description="as in a file, see scenarios/README.md")
    shipped: str | None = Field(default=None, max_length=100, description="a `name` of GET /v1/scenarios")

    @model_validator(mode="after")
    def _one(self) -> NewScenario:
        if (self.toml is None) == (self.shipped is None):
            raise ValueError("give toml or shipped")
        return self


class ShownRun(BaseModel):
    """One run: what it has done so far, or its result."""

    model_config = ConfigDict(extra="forbid")

    id: str
    name: str
    title: str
    by: str = Field(description="who asked for it")
    at: float = Field(description="when it began: wall clock, seconds since 1970")
    pending: bool = Field(description="whether it goes on")
    planned: list[str] = Field(description="the names of its steps; before them comes the declaring of its accounts")
    awaits: str = Field(description="what the step that runs waits for")
    steps: list[StepResult] = Field(description="those that have ended; at the end of the run they are in `result`")
    result: ScenarioResult | None = Field(description="as in the report of `popbox run --json`; null while it goes on")
    left: list[str] = Field(description="what it has added to the host's accounts and could not be taken away")
    again: str = Field(description="the path that waits for its end")


class ScenarioRun(Answer, ShownRun):
    """A run of a scenario."""


class ShippedScenario(BaseModel):
    """A scenario that comes with popbox."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    proves: list[str] = Field(description="statements of the HOWTO")
    not_here: str = Field(description="why it cannot run on this host; empty where it can")


class Scenarios(Answer):
    """The runs of this server, oldest first, and the scenarios that come with popbox."""

    running: ShownRun | None
    ended: list[ShownRun] = Field(description="the last ones")
    shipped: list[ShippedScenario]


def scenarios(live: Live, runs: Runs, folder: File | None) -> APIRouter:
    """The endpoints, over one host; ``folder`` holds the scenarios that come with popbox."""
    router, host = APIRouter(), live.host
    world: dict[str, Any] = {"host": host.name, "mta": host.mta}
    answers: dict[int | str, dict[str, Any]] = {202: {"model": ScenarioRun, "description": "it goes on: ask `again`"}}

    def answer(going: Going, response: Response) -> ScenarioRun:
        if going.result is None:
            response.status_code = 202
            response.headers["location"] = f"{PATH}/{going.id}"
        return ScenarioRun(**world, **_shown(going))

    @router.post(PATH, operation_id="runScenario", dependencies=TOKENS, responses=answers)
    async def run_scenario(
        new: NewScenario, caller: WholeHost, space: Within, response: Response, within: Within_ = f"{MOST_WAIT_S:g}s"
    ) -> ScenarioRun:
        """Run a scenario, one at a time: 200 with its result, whatever the verdict; 202 where it takes longer.

        It runs in a process of its own and reaches mailboxes and the wire, no files and no programs. What it adds to
        the accounts of the host is taken away at its end. One that needs a host of its own is skipped with the reason.
        """
        _whole(space)
        file = file_of(folder, new.shipped) if new.shipped is not None else None
        name = new.shipped or "scenario"
        going = await run_in_threadpool(runs.begin, new.toml or "", caller.who, name=name, shipped=file)
        return answer(await _ended(live, runs, going.id, within), response)

    @router.get(PATH, operation_id="scenarios")
    def listed(space: Within) -> Scenarios:
        """What runs, what has run, and what comes with popbox."""
        _whole(space)
        now = ShownRun(**_shown(runs.now)) if runs.now else None
        ended = [ShownRun(**_shown(one)) for one in runs.recent]
        return Scenarios(**world, running=now, ended=ended, shipped=list(shipped(live, folder)))

    @router.get(PATH + "/{id}", operation_id="scenario", responses=answers)
    async def one(id: Id, space: Within, response: Response, within: Within_ = f"{MOST_WAIT_S:g}s") -> ScenarioRun:
        """A run: 200 with its result, 202 while it goes on, after `within` at the latest."""
        _whole(space)
        return answer(await _ended(live, runs, id, within), response)

    @router.delete(PATH + "/{id}", operation_id="stopScenario", dependencies=TOKENS, responses=answers)
    async def stop(id: Id, caller: WholeHost, space: Within, response: Response) -> ScenarioRun:
        """End a run at once; what it has added is taken away. Its verdict is then `failed`, with the reason."""
        _whole(space)
        _known(runs, id)
        await run_in_threadpool(runs.stop, id, f"stopped by {caller.who}")
        return answer(await _ended(live, runs, id, f"{MOST_WAIT_S:g}s"), response)

    return router


def _whole(space: Space | None) -> None:
    if space is not None:
        raise ApiError(403, "a scenario has domains of its own", "ask without popbox-space")


def _known(runs: Runs, id_: str) -> Going:
    if (going := runs.get(id_)) is None:
        raise ApiError(404, f"there is no run {id_}", "GET /v1/scenarios shows those that are remembered")
    return going


async def _ended(live: Live, runs: Runs, id_: str, within: str) -> Going:
    """The run at its end, or as it is when the time of one answer is over. Each step of it is an event."""
    until = time.monotonic() + min(seconds(within), MOST_WAIT_S)
    while True:
        cursor, going = live.store.cursor(), _known(runs, id_)
        left_s = until - time.monotonic()
        if going.result is not None:
            await run_in_threadpool(runs.settled)
        if going.result is not None or left_s <= 0:
            return going
        if live.ending:
            raise ApiError(503, "popbox serve ends, and the run with it")
        await live.changed(cursor, min(left_s, 1.0))


def _shown(one: Going) -> dict[str, Any]:
    told = {"id": one.id, "name": one.name, "title": one.title, "by": one.who, "at": one.at, "awaits": one.awaits}
    told |= {"pending": one.result is None, "planned": list(one.planned)}
    told["steps"] = list(one.steps) if one.result is None else []
    result = one.result and ScenarioResult.model_validate(one.result.model_dump())
    return {**told, "result": result, "left": list(one.left), "again": f"{PATH}/{one.id}"}


def shipped(live: Live, folder: File | None) -> Iterable[ShippedScenario]:
    """The scenarios that come with popbox, by name, and why each cannot run here, if so."""
    here = cast(Host, Shared(live.host))
    for name, (scenario, refused) in (_all(folder) if folder else {}).items():
        why = next(filter(None, (unmet(scenario, here), *refused)), "")
        yield ShippedScenario(name=name, title=scenario.title, proves=list(scenario.proves), not_here=why)


def file_of(folder: File | None, name: str) -> File:
    """The file of a scenario that comes with popbox.

    Raises:
        ApiError: there is none of that name.
    """
    if folder is None or name not in _all(folder):
        raise ApiError(404, f"no scenario {name} comes with popbox", "GET /v1/scenarios lists them")
    return folder / f"{name}.toml"


@cache
def _all(folder: File) -> dict[str, tuple[Scenario, tuple[str, ...]]]:
    """Name -> scenario, and why it is refused, if so. They do not change while popbox is installed."""
    files = load_all([folder])
    return {one.path.stem: (one.scenario, tuple(refusals(one.scenario, files=True))) for one in files}
