"""One load run from its begin to its verdict: accounts, Locust's processes, faults, the last fetch, the books."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from popbox.clients.wire import Address
from popbox.errors import HostError, UnusableError
from popbox.hosts.base import Ability, Host
from popbox.hosts.process import undisturbed
from popbox.load.books.journal import Journal
from popbox.load.books.outcome import Outcome, outcome
from popbox.load.books.tables import incomplete_run, opened
from popbox.load.books.world import World
from popbox.load.plan.budgets import Budget
from popbox.load.plan.model import Mover, Plan
from popbox.load.plan.read import from_table
from popbox.load.plan.spec import SPEC, Spec
from popbox.load.stage.accounts import declare
from popbox.load.stage.drain import Drain
from popbox.load.stage.faults import Breaking, cannot
from popbox.load.stage.leftovers import leftovers
from popbox.load.stage.logs import evidence
from popbox.load.stage.mover import Moving
from popbox.load.stage.processes import Processes, Tick, watch
from popbox.load.stage.sampler import Sampler
from popbox.load.stage.search import search

STAGE = "stage"  # the writer of the journal of faults; others of its name are of the mover and the last fetch
INTERRUPTED = "interrupted: judged so far"
INTERRUPTED_S = 5.0  # our choice: the last fetch of a run that is not judged
COLLECT_EACH_S = 1.0


class Screen(Protocol):
    """Who looks at a run while it lasts."""

    def say(self, line: str) -> None:
        """Something has happened."""

    def tick(self, tick: Tick) -> None:
        """A second has passed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says. ``listen`` is where workers of other machines come; empty: only those of this one."""

    processes: int = 1
    budgets: tuple[str, ...] = ()
    listen: str = ""
    given: tuple[tuple[str, str, str], ...] = ()  # mailboxes that are there already
    web: str = ""  # where Locust's own page is
    collect_s: float = 600.0  # how long the journals of other machines are waited for


@dataclass
class _Run:
    """What is known of a run while it goes on."""

    host: Host
    spec: Spec
    wish: Wish
    folder: Path
    screen: Screen
    broke: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    interrupted: str = ""

    @property
    def plan(self) -> Plan:
        return self.spec.plan


def run(
    host: Host,
    table: dict[str, Any],
    folder: Path,
    wish: Wish,
    environ: Mapping[str, str],
    screen: Screen,
    report: Callable[[Outcome, Path], None],
) -> Outcome:
    """Run the load of a file's ``table`` on a host; all that it leaves is in ``folder``, which must be new or empty.

    ``report`` writes the report there: once the judging begins no interrupt comes before its end.

    Raises:
        UnusableError: the plan, a budget or the folder cannot be used; nothing was done.
        HostError: the host does not answer, or cannot be broken as the plan wants it; or the folder's disk is full.
    """
    plan = from_table(table, "the load file")
    limits = limits_of(plan, wish.budgets)
    _check(host, plan, wish)
    _empty(folder)
    spec = Spec(
        run=f"l{secrets.token_hex(3)}",
        table=table,
        smtp=host.address("smtp"),
        pop3=host.address("pop3"),
        password=secrets.token_urlsafe(12),
        journals=str(folder.resolve()),
        processes=wish.processes,
        given=wish.given,
    )
    one = _Run(host, spec, wish, folder, screen)
    try:
        spec.write(folder / SPEC)
        _all_of_it(one, environ)
        with undisturbed():
            _note(one)
            judged = outcome(folder, limits)
            logs = {} if one.interrupted else evidence(host, judged.verdict.cases, folder)
            judged = replace(judged, verdict=judged.verdict.with_logs(logs))
            report(judged, folder)
    except OSError as error:
        raise HostError(f"{folder}: {error.strerror or error}: what it lacks cannot be judged") from error
    return judged


def _all_of_it(one: _Run, environ: Mapping[str, str]) -> None:
    """All that a run does before it is judged."""
    host, spec, folder, screen = one.host, one.spec, one.folder, one.screen
    with _interruptible(one), Journal(folder, STAGE, run=spec.run, host=host.name, mta=host.mta) as journal:
        screen.say(f"{spec.boxes} mailboxes")
        if not spec.given:
            declare(host, spec)
        _load(one, environ, journal)
    with _interruptible(one):
        _collect(one)
    _drain(one)
    with _interruptible(one):
        one.troubles += [why for why in (search(host, missing(folder), folder), *_full(host)) if why]


@contextmanager
def _interruptible(one: _Run) -> Iterator[None]:
    """An interrupt ends this part; what follows is done shortly, and the run is judged so far."""
    try:
        yield
    except KeyboardInterrupt:
        one.interrupted = INTERRUPTED


def limits_of(plan: Plan, more: tuple[str, ...]) -> tuple[Budget, ...]:
    """The budgets of a plan and of ``--budget``.

    Raises:
        UnusableError: one is none.
    """
    try:
        return plan.budgets.limits(more)
    except ValueError as error:
        raise UnusableError(f"--budget: {error}") from error


def _check(host: Host, plan: Plan, wish: Wish) -> None:
    wanted = [Ability.SEND, Ability.DELETE]
    if not wish.given or any(isinstance(one, Mover) for one in plan.classes.values()):
        wanted.append(Ability.DECLARE)
    for ability in wanted:
        if why := host.cannot(ability):
            raise HostError(f"no load on {host.describe()}: {why}")
    if faults := cannot(host, plan):
        raise HostError(f"{host.describe()} cannot have the faults of this plan: {'; '.join(faults)}")


def _empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise UnusableError(f"{folder}: not empty; a run has a folder of its own")
    except OSError as error:
        raise UnusableError(f"{folder}: {error.strerror or error}") from error


def _load(one: _Run, environ: Mapping[str, str], journal: Journal) -> None:
    """The load itself, and what works beside it; ``journal`` is that of the faults."""
    host, spec, folder = one.host, one.spec, one.folder
    with ExitStack() as stack:
        breaking = Breaking(host, one.plan, journal, one.screen.say, lambda: spec.moved(*_listens(host)))
        processes = Processes(folder, environ)
        movers = []
        for name, mover in one.plan.classes.items():
            if isinstance(mover, Mover):
                own = stack.enter_context(Journal(folder, f"{STAGE}-mover-{name}", run=spec.run))
                movers.append(Moving(host, spec, mover.every, own))
        sampler = Sampler(host, folder, one.plan.lasts, processes.workers)
        work = (sampler, breaking, *movers)
        with _interruptible(one), processes.running(one.wish.processes, one.wish.listen, one.wish.web) as master:
            why = watch(master, processes.gone, work, lambda tick: one.screen.tick(replace(tick, broken=breaking.now)))
            one.interrupted = f"interrupted: {why}: judged so far" if why else ""
        for moving in movers:
            moving.last()
        one.broke, one.troubles = breaking.told, breaking.failed + [each.trouble for each in work if each.trouble]


def _listens(host: Host) -> tuple[Address, Address]:
    return host.address("smtp"), host.address("pop3")


def _collect(one: _Run) -> None:
    """Wait for the journals of other machines: without them it is not known what there must be."""
    deadline = time.monotonic() + one.wish.collect_s
    while one.wish.listen and not one.interrupted and (lacking := _lacking(one)):
        if time.monotonic() > deadline:
            return  # they are named as what is missing
        one.screen.say(f"waiting for journals in {one.folder}: {'; '.join(lacking)}")
        time.sleep(COLLECT_EACH_S)


def _lacking(one: _Run) -> tuple[str, ...]:
    """What lacks of the journals of Locust's workers, those of ours aside."""
    return tuple(why for why in incomplete_run(one.folder) if not why.startswith(STAGE))


def _drain(one: _Run) -> None:
    complete = False
    with _interruptible(one):
        one.screen.say("reading all boxes")
        complete = not one.wish.listen or not _lacking(one)
    hurried = one.interrupted == INTERRUPTED
    within_s = INTERRUPTED_S if one.interrupted else one.plan.drain
    with _interruptible(one), Journal(one.folder, f"{STAGE}-drain", run=one.spec.run) as journal:
        drain = Drain(one.spec, journal, lambda: _flush(one.host))
        one.troubles += drain.run(one.folder, within_s, complete=complete, hurried=hurried)


def _full(host: Host) -> list[str]:
    """Disks that are full though every fault is healed: the load was too much for them, and not a fault of the host."""
    with suppress(HostError):
        return [one for one in host.ailments() if "disk is full" in one or "no inode left" in one]
    return []


def _flush(host: Host) -> None:
    """Have the MTA try what it has put off, as an operator does after a disk was full: else it waits for minutes."""
    if not host.cannot(Ability.DECLARE):
        with suppress(HostError):  # what does not arrive is told of anyway
            host.run("queue", "flush")


def missing(folder: Path) -> list[str]:
    """Tokens of messages that were accepted and that no POP3 session handed out."""
    with opened(folder) as books:
        query = "SELECT DISTINCT token FROM (SELECT token, box FROM accepted EXCEPT SELECT token, box FROM copies)"
        return [str(one) for (one,) in books.execute(query).fetchall()]


def _note(one: _Run) -> None:
    World(
        host=one.host.name,
        mta=one.host.mta,
        title=one.plan.title,
        seed=one.plan.seed,
        users=one.plan.users,
        processes=one.wish.processes,
        mailboxes=one.spec.boxes,
        lasts_s=one.plan.lasts,
        faults=one.broke,
        leftovers=leftovers(one.host),
        troubles=one.troubles,
        interrupted=one.interrupted,
    ).write(one.folder)
