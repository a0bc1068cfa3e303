"""The faults of a run, on a thread of their own: planned ones at their moments, and those that the seed draws."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from popbox.errors import PopboxError
from popbox.hosts.base import Ability, Host
from popbox.hosts.breaking import harm, mend
from popbox.load.books.journal import Journal
from popbox.load.plan.model import Break, Plan
from popbox.load.stage.beside import Beside

MEND_S = 60.0  # our choice: a service starts within two seconds on an idle machine
AGAIN_S = 1.0
TRIES = 3  # our choice


@dataclass(frozen=True, slots=True, order=True)
class Planned:
    """One fault. Times count from the begin of the load, in seconds."""

    at: float
    lasts: float
    kind: str
    target: str


def timeline(plan: Plan) -> Iterator[Planned]:
    """All faults of a run in their order; alike for one seed."""
    fixed = (Planned(one.at, one.lasts, one.kind, one.target) for one in plan.faults)
    return heapq.merge(sorted(fixed), _drawn(plan))


def _drawn(plan: Plan) -> Iterator[Planned]:
    chosen = plan.random_faults
    if chosen is None:
        return
    draw, at = random.Random(f"{plan.seed} faults"), 0.0  # noqa: S311 - a schedule
    deck: list[Break] = []
    while (at := at + draw.uniform(*chosen.every)) < plan.lasts:
        deck = deck or draw.sample(chosen.faults, len(chosen.faults))
        one, lasts = deck.pop(), draw.uniform(*chosen.lasts)
        yield Planned(at, lasts, one.kind, one.target)
        at += lasts


class Breaking(Beside):
    """Breaks and heals a host while the load runs. At its end nothing more is broken, and what is broken is healed."""

    def __init__(
        self, host: Host, plan: Plan, journal: Journal, say: Callable[[str], None], healed: Callable[[], None]
    ) -> None:
        """The journal is this thread's alone until ``end``.

        ``healed`` is called when a fault is; the host may listen elsewhere then.
        """
        super().__init__("faults")
        self._host, self._plan, self._journal, self._say, self._healed = host, plan, journal, say, healed
        self.now = ""  # the fault that there is now, in words
        self.told: list[str] = []  # what was done and what could not be, in words
        self.failed: list[str] = []  # faults that could not be made or healed: the run did not have what it should

    def _run(self) -> None:
        ids = count(1)
        for one in timeline(self._plan):
            if self._over.wait(max(0.0, one.at - self._at())):
                return
            self._one(one, f"fault-{next(ids)}")

    def _one(self, one: Planned, id_: str) -> None:
        words = f"{one.kind} {one.target} at {self._at():.1f} s"
        self.told.append(words)
        self.now = f"{one.kind} {one.target}"
        self._say(words)
        self._journal.write("fault", token=id_, box=one.target, note=one.kind)
        if failed := self._harm(one):
            self.failed.append(f"{words}: {failed}")
        if one.kind != "restart":
            self._over.wait(one.lasts)
        self._heal(one, words)
        self.now = ""
        self._journal.write("healed", token=id_, box=one.target, note=one.kind)

    def _harm(self, one: Planned) -> str:
        """Break it; on a busy machine an engine may fail to freeze a container at first. Returns why it cannot."""
        why = ""
        for _ in range(TRIES):
            try:
                harm(self._host, "stop" if one.kind == "restart" else one.kind, one.target)
            except (PopboxError, OSError) as error:
                why = str(error).splitlines()[0]
                if self._over.wait(AGAIN_S):
                    break
            else:
                return ""
        return why

    def _heal(self, one: Planned, words: str) -> None:
        deadline = time.monotonic() + MEND_S
        while True:
            try:
                left = mend(self._host, "stop" if one.kind == "restart" else one.kind, one.target, deadline)
            except (PopboxError, OSError) as error:
                left = str(error).splitlines()[0]
            if not left:
                self._healed()
                self._say(f"healed: {words}")
                return
            if time.monotonic() > deadline:
                self.failed.append(f"{words} could not be healed: {left}")
                return
            time.sleep(AGAIN_S)


def cannot(host: Host, plan: Plan) -> list[str]:
    """Why the host cannot have the plan's faults, in words; empty where it can."""
    kinds = sorted({(one.kind, one.target) for one in plan.breaks})
    return [f"{kind} {target}: {why}" for kind, target in kinds if (why := host.cannot(_ability(kind)))]


def _ability(kind: str) -> Ability:
    return Ability("stop" if kind == "restart" else kind)
