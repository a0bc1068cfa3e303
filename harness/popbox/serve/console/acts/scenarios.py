"""The HOWTO as a checklist: which scenarios prove which statement; run one, watch its steps, and see its mail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Response
from fastapi import Path as InPath

from popbox.clients.smtp import queued_as
from popbox.ledger.proof import Message
from popbox.report.howto import Line, checklist
from popbox.result import Result, Verdict
from popbox.serve.console.acts.acting import acting, done
from popbox.serve.console.render import Pages, missing
from popbox.serve.errors import ApiError
from popbox.serve.forms import Entered, Filled
from popbox.serve.live import Live
from popbox.serve.sessions import Session
from popbox.serve.writes.all import Lasting
from popbox.serve.writes.common import Asking
from popbox.serve.writes.scenario.runs import Going
from popbox.serve.writes.scenarios import ShippedScenario, file_of, shipped

SCENARIOS = "/scenarios"
EVERY_MS = 500  # our choice: how often the page of a run asks for what is new
SHOWN_STEPS = 100  # our choice: of a run
SHOWN_LINES = 40  # our choice: of the transcript of a step
RunId = Annotated[str, InPath(pattern=r"^c[0-9a-f]{10}$")]


@dataclass(frozen=True, slots=True)
class Row:
    """A statement: the scenarios that would prove it, and what the runs of this server say of it."""

    line: Line
    scenarios: tuple[str, ...]
    run: str  # the id of the run that has the verdict; empty where none has

    @property
    def verdict(self) -> str:
        """In a word."""
        skipped = "skipped" if self.line.skipped else "not run here yet"
        return self.line.verdict.value if self.line.verdict and self.line.verdict is not Verdict.SKIPPED else skipped


def playing(live: Live, pages: Pages, lasting: Lasting) -> APIRouter:
    """The checklist, and the page of a run."""
    router = APIRouter(include_in_schema=False)
    runs, folder = lasting.runs, lasting.shipped

    def page(session: Session | None, status: int = 200, problem: ApiError | None = None) -> Response:
        found = list(shipped(live, folder))
        ended = {one.name: one for one in runs.recent}
        return acting(
            pages, "scenarios.html.j2", session, status, page="scenarios", title="The HOWTO as a checklist",
            rows=_rows(found, runs.recent), scenarios=found, ended=ended, now=runs.now, problem=problem,
        )  # fmt: skip

    @router.get(SCENARIOS)
    def show(session: Entered) -> Response:
        """Statements, and the scenarios that come with popbox."""
        return page(session)

    @router.post(SCENARIOS)
    def run(form: Filled, session: Entered, caller: Asking) -> Response:
        """Run one; its page shows it."""
        try:
            name = form.one("name")
            going = runs.begin("", caller.who, name=name, shipped=file_of(folder, name))
        except ApiError as problem:
            return page(session, problem.status, problem)
        return done(pages, f"{SCENARIOS}/{going.id}")

    @router.get(f"{SCENARIOS}/{{id}}")
    def one(id: RunId, session: Entered) -> Response:
        """A run: what it has done so far, or its result."""
        if (going := runs.get(id)) is None:
            return missing(pages, "there is no such run; the last ones are remembered until the server ends")
        steps = going.result.steps if going.result else going.steps
        return acting(
            pages, "run.html.j2", session, page="scenarios", title=going.title or going.name, run=going,
            result=going.result, steps=steps[:SHOWN_STEPS], left_out=max(0, len(steps) - SHOWN_STEPS),
            waiting=_waiting(going), every=0 if going.result else EVERY_MS, most=SHOWN_LINES,
            messages=[(message, queue_id(message)) for message in (going.result.messages[:20] if going.result else ())],
        )  # fmt: skip

    @router.post(f"{SCENARIOS}/{{id}}/stop")
    def stop(id: RunId, _: Filled, caller: Asking) -> Response:
        """End it at once."""
        runs.stop(id, f"stopped by {caller.who}")
        return done(pages, f"{SCENARIOS}/{id}")

    return router


def _rows(found: list[ShippedScenario], recent: tuple[Going, ...]) -> list[Row]:
    """One a statement. A scenario that ran more than once counts as it went last."""
    last: dict[str, tuple[str, Result]] = {one.name: (one.id, one.result) for one in recent if one.result}
    ids = {id(result): run for run, result in last.values()}
    lines = checklist(result for _, result in last.values())
    return [
        Row(
            line,
            tuple(one.name for one in found if line.statement in one.proves),
            next((ids[id(one)] for one in (*line.by, *line.skipped)), ""),
        )
        for line in lines
    ]


def _waiting(going: Going) -> list[str]:
    """The names of the steps that were not begun yet, but for the one that runs."""
    if going.result:
        return []
    begun = len([one for one in going.steps if one.number > 0]) + bool(going.awaits)
    return list(going.planned[begun:])


def queue_id(message: Message) -> str:
    """What finds the journey of a message that a scenario sent: its qp; empty where it was not accepted."""
    return queued_as(message.legs[0].reply)
