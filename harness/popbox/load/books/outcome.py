"""What came of a run: verdicts, figures, budgets kept or broken, and whether it can be judged at all."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from popbox.load.books.figures import LATE_SHARE, Figures, figures, out_of_time
from popbox.load.books.judge import Look, Verdict, judge
from popbox.load.books.samples import Growth, growth, read
from popbox.load.books.series import Series, series
from popbox.load.books.tables import DRAIN, STAGE, incomplete_run, opened, unread
from popbox.load.books.world import FILE as WORLD
from popbox.load.books.world import World
from popbox.load.plan.budgets import Budget

PASSED, FAILED, NOT_JUDGED = 0, 1, 3
TRIED_S = 30.0  # our choice: where the load ended sooner after a fault without a success, its recovery is unknown
SCHEMA = Path(__file__).with_name("load.schema.json")


@dataclass(frozen=True, slots=True)
class Kept:
    """A budget as it was written, what was measured, and whether it was kept."""

    budget: str
    measured: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's end. ``not_judged`` has the reasons why there is no verdict; then nothing else is to be relied on."""

    exit_code: int  # 0 all budgets kept, 1 one broken, 3 not judged
    world: World
    not_judged: tuple[str, ...]
    budgets: tuple[Kept, ...]
    verdict: Verdict
    figures: Figures
    series: Series
    growth: tuple[Growth, ...]

    def interrupted(self, why: str) -> Outcome:
        """The same of a run that was ended while it was judged."""
        world = replace(self.world, interrupted=why)
        return replace(self, exit_code=NOT_JUDGED, world=world, not_judged=(*self.not_judged, why))

    def as_json(self) -> str:
        """For ``load.json``; ``load.schema.json`` describes it."""
        return TypeAdapter(Outcome).dump_json(self, indent=1).decode() + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``as_json``. ``python -m popbox.load.books.outcome`` writes it to its file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TypeAdapter(Outcome).json_schema(mode="serialization"),
    }


def outcome(folder: Path, limits: tuple[Budget, ...], look: Look = lambda _: None) -> Outcome:
    """Judge a run by its journals, and what was noted beside them; ``look`` as for ``judge``.

    Raises:
        UnusableError: there is no journal.
    """
    world = World.read(folder)
    reasons = list(incomplete_run(folder, (STAGE,) if world.interrupted else (STAGE, DRAIN)))
    if not (folder / WORLD).exists():
        reasons.append(f"{WORLD} is not here: the run was killed before it was judged")
    with opened(folder) as books:
        verdict = judge(books, folder, look)
        measured = figures(books)
        over_time = series(books)
        reasons += unread(books) + out_of_time(books)
    reasons += world.troubles
    if world.interrupted:
        reasons.append(world.interrupted)
    if measured.lag > LATE_SHARE:
        reasons.append(f"the generator was late itself for {measured.lag:.0%} of its time: it measured itself")
    if not verdict.accepted:
        reasons.append("no message was accepted")
    grown = tuple(growth(read(folder)))
    values = _measures(verdict, measured, grown)
    reasons += [f"{one.measure} was not measured" for one in limits if values.get(one.measure) is None]
    kept = tuple(
        Kept(one.text, value, one.kept(value)) for one in limits if (value := values.get(one.measure)) is not None
    )
    code = NOT_JUDGED if reasons else PASSED if all(one.kept for one in kept) else FAILED
    return Outcome(code, world, tuple(reasons), kept, verdict, measured, over_time, grown)


def _measures(verdict: Verdict, seen: Figures, grown: tuple[Growth, ...]) -> dict[str, float | None]:
    """The value of each measure; None where it was not measured."""
    counts = verdict.counts
    recoveries = [one.took_s for one in seen.recoveries if one.took_s is not None or one.tried_s >= TRIED_S]
    grown = tuple(one for one in grown if one.who in ("smtp", "pop3"))
    return {
        **{name: counts[name] for name in ("lost", "doubled", "altered", "misdelivered", "renumbered", "returned")},
        "strangers": counts["stranger"],
        "explained": counts["explained"],
        "backlog_end": counts["not yet"],
        "errors": sum(many for _, many in seen.errors),
        "accept_p50": seen.accept.p50,
        "accept_p99": seen.accept.p99,
        "visible_p50": seen.visible.p50,
        "visible_p99": seen.visible.p99,
        "pop3_login_p99": seen.login.p99,
        "pop3_session_p99": seen.session.p99,
        "fairness": seen.fairness,
        "accepted_rate": seen.accepted_rate,
        "recovery": max((math.inf if one is None else one for one in recoveries), default=0.0),
        "rss_slope": max((one.rss_mb_h for one in grown), default=None),
        "descriptors_slope": max((one.descriptors_h for one in grown), default=None),
        "threads_slope": max((one.threads_h for one in grown), default=None),
    }


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=1) + "\n", "utf-8")
