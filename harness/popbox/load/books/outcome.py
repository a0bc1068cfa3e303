"""What came of a run: verdicts, figures, budgets kept or broken, and whether it can be judged at all."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from popbox.load.books.figures import LATE_SHARE, Figures, figures
from popbox.load.books.judge import Verdict, judge
from popbox.load.books.samples import Growth, growth, read
from popbox.load.books.tables import WRITERS, incomplete, opened, unread
from popbox.load.plan.budgets import Budget

PASSED, FAILED, NOT_JUDGED = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Kept:
    """A budget and what was measured."""

    budget: Budget
    value: float

    @property
    def ok(self) -> bool:
        """Whether it was kept."""
        return self.budget.kept(self.value)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's end. ``not_judged`` has the reasons why there is no verdict; then nothing else is to be relied on."""

    world: dict[str, Any]
    verdict: Verdict
    figures: Figures
    growth: tuple[Growth, ...]
    budgets: tuple[Kept, ...]
    not_judged: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 all budgets kept, 1 one broken, 3 not judged. What is known to be lost is 1, also of half a run."""
        if not all(one.ok for one in self.budgets) and not self.not_judged:
            return FAILED
        return NOT_JUDGED if self.not_judged else PASSED

    def table(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "world": self.world,
            "exit_code": self.exit_code,
            "not_judged": list(self.not_judged),
            "verdict": self.verdict.table(),
            "figures": self.figures.table(),
            "growth": [asdict(one) for one in self.growth],
            "budgets": [{"budget": one.budget.text, "measured": one.value, "kept": one.ok} for one in self.budgets],
        }


def outcome(folder: Path, limits: tuple[Budget, ...]) -> Outcome:
    """Judge a run by its journals, and what was noted beside them.

    Raises:
        UnusableError: there is no journal.
    """
    world = json.loads((folder / "world.json").read_text()) if (folder / "world.json").exists() else {}
    writers = folder / WRITERS
    reasons = list(incomplete(folder, tuple(writers.read_text().split("\n")[:-1]) if writers.exists() else ()))
    if not writers.exists():
        reasons.append(f"{WRITERS} is not here: which journals there must be is unknown")
    with opened(folder) as books:
        verdict = judge(books, folder)
        measured = figures(books)
        reasons += unread(books)
    reasons += world.get("troubles", [])
    if world.get("interrupted"):
        reasons.append(world["interrupted"])
    if measured.lag > LATE_SHARE:
        reasons.append(f"the generator was late itself for {measured.lag:.0%} of its time: it measured itself")
    if not verdict.accepted:
        reasons.append("no message was accepted")
    grown = tuple(growth(read(folder)))
    values = _measures(verdict, measured, grown)
    reasons += [f"{one.measure} was not measured" for one in limits if values.get(one.measure) is None]
    kept = tuple(Kept(one, value) for one in limits if (value := values.get(one.measure)) is not None)
    return Outcome(world, verdict, measured, grown, kept, tuple(reasons))


def _measures(verdict: Verdict, seen: Figures, grown: tuple[Growth, ...]) -> dict[str, float | None]:
    """The value of each measure; None where it was not measured."""
    counts, recoveries = verdict.counts, [one.took_s for one in seen.recoveries]
    slopes = [one.rss_mb_h for one in grown if one.who in ("smtp", "pop3")]
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
        "rss_slope": max(slopes, default=None),
    }
