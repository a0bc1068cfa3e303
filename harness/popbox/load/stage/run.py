"""One load run from its begin to its verdict: accounts, Locust's processes, faults, the last fetch, the books."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from popbox.clients.wire import Address
from popbox.errors import HostError, UnusableError
from popbox.hosts.base import Ability, Host
from popbox.load.books.journal import Journal
from popbox.load.books.judge import Case
from popbox.load.books.outcome import Outcome, outcome
from popbox.load.books.tables import DRAIN, STAGE, WRITERS, incomplete_run, opened
from popbox.load.books.world import World
from popbox.load.plan.budgets import Budget
from popbox.load.plan.model import Mover, Plan
from popbox.load.plan.read import from_table
from popbox.load.plan.spec import SPEC, Spec
from popbox.load.stage.accounts import declare
from popbox.load.stage.drain import Drain
from popbox.load.stage.faults import Breaking, cannot
from popbox.load.stage.interrupts import Interrupts
from popbox.load.stage.leftovers import leftovers
from popbox.load.stage.logs import evidence
from popbox.load.stage.machines import can_listen
from popbox.load.stage.mover import Moving
from popbox.load.stage.mta_queue import Depth
from popbox.load.stage.processes import Processes, Tick, watch
from popbox.load.stage.sampler import Sampler
from popbox.load.stage.search import explain, search

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
    """What the command line says. ``listen`` is where workers of other machines come; None: only those of this one."""

    processes: int = 1
    budgets: tuple[str, ...] = ()
    listen: Address | None = None
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
    heard: Interrupts
    broke: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    interrupted: str = ""
    declared: bool = False  # the mailboxes are there, so that mail can have come

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

    ``report`` writes the report there. The first interrupt ends what the run does at the moment, and it is judged so
    far; one while it is judged is noted in the report, and a second one then ends all at once.

    Raises:
        UnusableError: the plan, a budget or the folder cannot be used; nothing was done.
        HostError: the host does not answer, or cannot be broken as the plan wants it; or the folder's disk is full.
        KeyboardInterrupt: the second interrupt while the run was judged.
    """
    import duckdb  # noqa: F401 - before an interrupt could leave half of it

    plan = from_table(table, "the load file")
    limits = ready(plan, folder, wish)
    _check(host, plan, wish)
    _make(folder)
    spec = _spec(table, folder, wish, host.address("smtp"), host.address("pop3"))
    try:
        with Interrupts() as heard:
            one = _Run(host, spec, wish, folder, screen, heard)
            spec.write(folder / SPEC)
            _all_of_it(one, environ)
            return _judged(one, limits, report)
    except OSError as error:
        raise HostError(f"{folder}: {error.strerror or error}: what it lacks cannot be judged") from error


def never_began(
    table: dict[str, Any], folder: Path, wish: Wish, where: tuple[str, str], report: Callable[[Outcome, Path], None]
) -> Outcome:
    """The report of a run that an interrupt ended before its host was there; ``where``: the host and MTA wanted.

    Raises:
        UnusableError: the plan, a budget or the folder cannot be used.
    """
    plan = from_table(table, "the load file")
    limits = ready(plan, folder, wish)
    _make(folder)
    with Interrupts(), Journal(folder, STAGE) as journal:
        _spec(table, folder, wish, Address("", 0), Address("", 0)).write(folder / SPEC)
        journal.end()
        (folder / WRITERS).touch()
        host, mta = where
        World(host, mta, plan.title, plan.seed, plan.users, wish.processes, interrupted=INTERRUPTED).write(folder)
        judged = outcome(folder, limits)
        report(judged, folder)
    return judged


def _spec(table: dict[str, Any], folder: Path, wish: Wish, smtp: Address, pop3: Address) -> Spec:
    return Spec(
        run=f"l{secrets.token_hex(3)}",
        table=table,
        smtp=smtp,
        pop3=pop3,
        password=secrets.token_urlsafe(12),
        journals=str(folder.resolve()),
        processes=wish.processes,
        given=wish.given,
    )


def _all_of_it(one: _Run, environ: Mapping[str, str]) -> None:
    """All that a run does before it is judged."""
    _cut(one, lambda: _begin(one, environ))
    _cut(one, lambda: _collect(one))
    _drain(one)
    _cut(one, lambda: _search(one))


def _cut(one: _Run, part: Callable[[], None]) -> None:
    """An interrupt ends this part; what follows is done shortly, and the run is judged so far."""
    try:
        with one.heard.cuttable():
            part()
    except KeyboardInterrupt:
        one.interrupted = INTERRUPTED


def _begin(one: _Run, environ: Mapping[str, str]) -> None:
    """Mailboxes, then the load with its faults."""
    host, spec = one.host, one.spec
    with Journal(one.folder, STAGE, run=spec.run, host=host.name, mta=host.mta) as journal:
        one.screen.say(f"{spec.boxes} mailboxes")
        if not spec.given:
            declare(host, spec)
        one.declared = True
        _load(one, environ, journal)


def _search(one: _Run) -> None:
    lost = missing(one.folder)
    if why := search(one.host, lost, one.folder):
        one.troubles.append(why)
    if lost:
        explain(one.host, (box for _, box in lost), one.folder)
    one.troubles += _full(one.host)


def _judged(one: _Run, limits: tuple[Budget, ...], report: Callable[[Outcome, Path], None]) -> Outcome:
    """The verdict, in a report; an interrupt before it is written is one of the run."""

    def look(cases: Sequence[Case]) -> None:
        if not one.interrupted:
            evidence(one.host, cases, one.folder)

    _world(one).write(one.folder)
    judged = outcome(one.folder, limits, look)
    report(judged, one.folder)
    if one.heard.taken() and not one.interrupted:
        judged = judged.interrupted(INTERRUPTED)
        judged.world.write(one.folder)
        report(judged, one.folder)
    return judged


def ready(plan: Plan, folder: Path, wish: Wish) -> tuple[Budget, ...]:
    """The budgets of a run that can begin, as far as that is known without its host; nothing is changed.

    Raises:
        UnusableError: a budget, the folder, or where workers of other machines come cannot be used.
    """
    limits = limits_of(plan, wish.budgets)
    if wish.listen:
        can_listen(wish.listen)
    try:
        if any(folder.iterdir()):
            raise UnusableError(f"{folder}: not empty; a run has a folder of its own")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UnusableError(f"{folder}: {error.strerror or error}") from error
    return limits


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UnusableError(f"{folder}: {error.strerror or error}") from error


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
        depth = Depth(host, stack.enter_context(Journal(folder, f"{STAGE}-queue", run=spec.run)), one.plan.lasts)
        work = (sampler, depth, breaking, *movers)

        def load() -> None:
            with processes.running(one.wish.processes, one.wish.listen, one.wish.web) as master:
                why = watch(processes, master, work, lambda tick: one.screen.tick(replace(tick, broken=breaking.now)))
                one.interrupted = f"interrupted: {why}: judged so far" if why else ""

        _cut(one, load)
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
    """The last fetch. Mailboxes that were not declared hold no mail, and half a minute of wrong logins would say so."""
    if not one.declared:
        return
    _cut(one, lambda: one.screen.say("reading all boxes"))
    complete = not one.wish.listen or not _lacking(one)
    hurried = one.interrupted == INTERRUPTED
    within_s = INTERRUPTED_S if one.interrupted else one.plan.drain

    def read() -> None:
        with Journal(one.folder, DRAIN, run=one.spec.run) as journal:
            drain = Drain(one.spec, journal, lambda: _flush(one.host))
            one.troubles += drain.run(one.folder, within_s, complete=complete, hurried=hurried)

    _cut(one, read)


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


def missing(folder: Path) -> list[tuple[str, str]]:
    """Token and box of the messages that were accepted and that no POP3 session handed out."""
    with opened(folder) as books:
        query = "SELECT token, box FROM accepted EXCEPT SELECT token, box FROM copies"
        return [(str(token), str(box)) for token, box in books.execute(query).fetchall()]


def _world(one: _Run) -> World:
    return World(
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
    )
