"""One load run from its begin to its verdict: accounts, Locust's processes, faults, the last fetch, the books."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from popbox.environment import of_programs
from popbox.errors import HostError, UnusableError
from popbox.hosts.base import Ability, Host
from popbox.load.books.journal import Journal
from popbox.load.books.outcome import Outcome, outcome
from popbox.load.books.tables import opened
from popbox.load.books.world import World
from popbox.load.plan.read import from_table
from popbox.load.plan.spec import SPEC, Spec
from popbox.load.stage.accounts import declare
from popbox.load.stage.drain import Drain
from popbox.load.stage.faults import Breaking, cannot
from popbox.load.stage.leftovers import leftovers
from popbox.load.stage.sampler import Sampler
from popbox.load.stage.search import search

STAGE = "stage"  # the writer of the journal of faults and the last fetch
END_S = 90.0  # our choice: for Locust's processes to end after their users, whose replies may take 30 s
WORKER = "popbox.load.users"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says. ``listen`` is where workers of other machines come; empty: only those of this one."""

    processes: int = 1
    budgets: tuple[str, ...] = ()
    listen: str = ""
    given: tuple[tuple[str, str, str], ...] = ()  # mailboxes that are there already


def run(
    host: Host, table: dict[str, Any], folder: Path, wish: Wish, environ: Mapping[str, str], say: Callable[[str], None]
) -> Outcome:
    """Run the load of a file's ``table`` on a host; all that it leaves is in ``folder``, which must be new or empty.

    Raises:
        UnusableError: the plan, a budget or the folder cannot be used; nothing was done.
        HostError: the host does not answer, or cannot be broken as the plan wants it.
    """
    plan = from_table(table, "the load file")
    try:
        limits = plan.budgets.limits(wish.budgets)
    except ValueError as error:
        raise UnusableError(f"--budget: {error}") from error
    for ability in (Ability.SEND, Ability.DELETE, *(() if wish.given else (Ability.DECLARE,))):
        if why := host.cannot(ability):
            raise HostError(f"no load on {host.describe()}: {why}")
    if faults := cannot(host, plan):
        raise HostError(f"{host.describe()} cannot have the faults of this plan: {'; '.join(faults)}")
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
    spec.write(folder / SPEC)
    say(f"{spec.boxes} mailboxes")
    if not spec.given:
        declare(host, spec)
    interrupted = ""
    with Journal(folder, STAGE, run=spec.run, host=host.name, mta=host.mta) as journal:
        started: list[subprocess.Popen[bytes]] = []
        sampler = Sampler(host, folder, plan.lasts, lambda: [one.pid for one in started[1:]])
        breaking = Breaking(host, plan, journal, lambda: spec.moved(host.address("smtp"), host.address("pop3")))
        try:
            with _processes(spec, folder, wish, environ, started) as master:
                _watch(master, (sampler, breaking), say)
        except KeyboardInterrupt:
            interrupted = "interrupted: judged so far"
    troubles = [*breaking.failed]
    with Journal(folder, f"{STAGE}-drain", run=spec.run) as journal:
        try:
            say("reading all boxes")
            troubles += Drain(spec, journal).run(folder, plan.drain if not interrupted else 5.0)
        except KeyboardInterrupt:
            interrupted = "interrupted: judged so far"
    if why := search(host, missing(folder), folder):
        troubles.append(why)
    World(
        host=host.name,
        mta=host.mta,
        title=plan.title,
        seed=plan.seed,
        users=plan.users,
        processes=wish.processes,
        mailboxes=spec.boxes,
        lasts_s=plan.lasts,
        faults=breaking.told,
        leftovers=leftovers(host),
        troubles=troubles,
        interrupted=interrupted,
    ).write(folder)
    return outcome(folder, limits)


def missing(folder: Path) -> list[str]:
    """Tokens of messages that were accepted and that no POP3 session handed out."""
    with opened(folder) as books:
        query = "SELECT DISTINCT token FROM (SELECT token, box FROM accepted EXCEPT SELECT token, box FROM copies)"
        return [str(one) for (one,) in books.execute(query).fetchall()]


def _empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise UnusableError(f"{folder}: not empty; a run has a folder of its own")
    except OSError as error:
        raise UnusableError(f"{folder}: {error.strerror or error}") from error


@contextmanager
def _processes(
    spec: Spec, folder: Path, wish: Wish, environ: Mapping[str, str], started: list[subprocess.Popen[bytes]]
) -> Iterator[subprocess.Popen[bytes]]:
    """Locust's master and the workers of this machine, in ``started``; all have ended afterwards."""
    at = wish.listen or f"127.0.0.1:{_free_port()}"
    port = at.rpartition(":")[2]
    base = [sys.executable, "-m", WORKER, str((folder / SPEC).resolve())]
    with (folder / "locust.log").open("ab") as log:

        def begin(*words: str, out: Any = log) -> subprocess.Popen[bytes]:
            # sessions of their own: a terminal's Ctrl-C comes to us alone, and we end them in order
            one = subprocess.Popen(
                [*base, *words], stdout=out, stderr=log, env=of_programs(environ), start_new_session=True
            )
            started.append(one)
            return one

        try:
            master = begin("master", at, out=subprocess.PIPE)
            if not wish.listen:
                for _ in range(spec.processes):
                    begin("worker", f"127.0.0.1:{port}")
            yield master
        finally:
            _end(started)


def _end(started: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + END_S
    for one in started[:1]:
        if one.poll() is None:
            one.send_signal(signal.SIGTERM)
    for one in started:
        try:
            one.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()
        if one.stdout:
            one.stdout.close()


def _watch(master: subprocess.Popen[bytes], beside: Sequence[Sampler | Breaking], say: Callable[[str], None]) -> None:
    """Until the master ends; what works beside it begins and ends with the load."""
    begun = False
    try:
        for line in master.stdout or ():
            if not begun:
                begun = True
                for one in beside:
                    one.start()
            say(line.decode("utf-8", "replace").rstrip())
    finally:
        for one in beside if begun else ():
            one.end()
    if master.wait() or not begun:
        raise HostError("Locust's processes did not begin; see locust.log in the report's folder")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
