"""One Locust process: ``python -m popbox.load.users SPEC master ADDR:PORT [WEB]`` or ``… worker ADDR:PORT [JOURNALS]``.

The master writes one line of JSON a second to its standard output, and beside the spec the file ``writers``: the
names of the journals that there must be. It ends itself when the time is over, or in order at SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import gevent
import gevent.event
from locust import User as LocustUser
from locust import events
from locust.env import Environment
from locust.runners import STATE_RUNNING, MasterRunner, WorkerRunner

from popbox.load.books.journal import one_line
from popbox.load.books.tables import WRITERS
from popbox.load.plan.model import User
from popbox.load.plan.spec import Spec
from popbox.load.users.base import Scheduled
from popbox.load.users.process import LAG_EACH_S, Process
from popbox.load.users.reader import ReaderUser
from popbox.load.users.rude import RudeUser
from popbox.load.users.sender import SenderUser

KINDS: dict[str, type[Scheduled]] = {
    "sender": SenderUser,
    "poller": ReaderUser,
    "fetcher": ReaderUser,
    "hoarder": ReaderUser,
    "rude": RudeUser,
}
CONNECT_S = 120.0  # our choice: for all workers to come
STOP_S = 35  # a little more than the timeout of a reply, so that what was begun has its end in the journal


def classes(spec: Spec) -> list[type[LocustUser]]:
    """A Locust class for each class of users in the plan."""
    made: list[type[LocustUser]] = []
    for name, one in spec.plan.classes.items():
        if isinstance(one, User):
            fields = {"named": name, "plan": one, "weight": one.weight, "fixed_count": one.count or 0}
            made.append(type(name.replace("-", "_"), (KINDS[one.kind],), {**fields, "abstract": False}))
    return made


def writer_of(client_id: str) -> str:
    """The name of a worker's journal; its id is the machine's name and a random number."""
    return one_line(client_id).replace("/", "_")


def master(spec: Spec, path: Path, at: tuple[str, int], web: str = "") -> int:
    """Have the workers run the plan; returns 1 where they did not come. ``web``: where Locust's own page is."""
    environment = Environment(user_classes=classes(spec), events=events, stop_timeout=STOP_S)
    writers = path.with_name(WRITERS)  # before any worker can come
    events.worker_connect.add_listener(lambda client_id, **_: _expect(writers, client_id))  # type: ignore[no-untyped-call]
    runner = environment.create_master_runner(*at)
    if web:
        host, _, port = web.rpartition(":")
        environment.create_web_ui(host, int(port))
    deadline = time.monotonic() + CONNECT_S
    while len(runner.clients.ready) < spec.processes:
        if time.monotonic() > deadline:
            print(f"{len(runner.clients.ready)} of {spec.processes} workers came", file=sys.stderr)
            runner.quit()
            return 1
        gevent.sleep(0.05)
    over = gevent.event.Event()
    gevent.signal_handler(signal.SIGTERM, over.set)
    gevent.signal_handler(signal.SIGINT, over.set)
    runner.start(spec.plan.users, spec.plan.spawn_rate)
    ticker = gevent.spawn(_tell, runner)
    over.wait(spec.plan.lasts)
    ticker.kill()
    runner.quit()
    return 0


def _expect(path: Path, client_id: str) -> None:
    with path.open("a") as file:
        file.write(writer_of(client_id) + "\n")


def _tell(runner: MasterRunner) -> None:
    while True:
        gevent.sleep(1.0)
        total = runner.stats.total
        said = {"users": runner.user_count, "requests": total.num_requests, "failed": total.num_failures}
        print(json.dumps(said), flush=True)


def worker(spec: Spec, host: str, port: int) -> int:
    """Run users as the master says; the journal ends with the process."""
    environment = Environment(user_classes=classes(spec), events=events, stop_timeout=STOP_S)
    books = _Books(spec, environment)
    events.test_start.add_listener(books.begin)  # type: ignore[no-untyped-call]
    runner = environment.create_worker_runner(host, port)
    gevent.signal_handler(signal.SIGINT, lambda: None)  # a terminal sends it to all; the master says when to end
    gevent.signal_handler(signal.SIGTERM, runner.quit)
    runner.greenlet.join()
    books.end()
    return 0


class _Books:
    """The journal of a worker: it begins with the test and ends with the process."""

    def __init__(self, spec: Spec, environment: Environment) -> None:
        self._spec, self._environment = spec, environment
        self._process: Process | None = None

    @property
    def _runner(self) -> WorkerRunner:
        """The master may have the test begin before the runner's own constructor has ended."""
        while not isinstance(runner := self._environment.runner, WorkerRunner):
            gevent.sleep(0.01)
        return runner

    def begin(self, **_: object) -> None:
        runner = self._runner
        if self._process is None:
            self._process = Process(self._spec, writer_of(runner.client_id), runner.worker_index)
            Scheduled.process = self._process
            gevent.spawn(self._watch)

    def _watch(self) -> None:
        """Second by second: how late this process is itself, and where the host listens."""
        while self._process:
            late_s, began = 0.0, time.monotonic()
            while time.monotonic() - began < 1.0:
                wanted = time.monotonic() + LAG_EACH_S
                gevent.sleep(LAG_EACH_S)
                late_s += max(0.0, time.monotonic() - wanted)
            if self._process:
                self._process.look_again()
                self._have_a_reader(self._process)
                self._process.note("lag", took_us=int(late_s * 1e6))

    def _have_a_reader(self, process: Process) -> None:
        """Locust may give all readers to other processes, and the boxes of this one must be opened, too."""
        running = self._runner.user_classes_count
        readers = [one.name.replace("-", "_") for one in process.turns]
        if self._runner.state == STATE_RUNNING and readers and not any(running.get(one) for one in readers):
            self._runner.spawn_users({readers[0]: 1})

    def end(self) -> None:
        process, self._process = self._process, None
        if process:
            process.journal.end()


def main(arguments: list[str]) -> int:
    """Run one process."""
    path, part, at, *more = arguments
    host, _, port = at.rpartition(":")
    spec = Spec.read(Path(path))
    if part == "master":
        return master(spec, Path(path), (host, int(port)), *more)
    return worker(replace(spec, journals=more[0]) if more else spec, host, int(port))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
