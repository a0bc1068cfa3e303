"""A Locust worker: it runs users as the master says, and its journal ends with it."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.runners import STATE_RUNNING, WorkerRunner

from popbox.load.plan.spec import Spec
from popbox.load.users.base import Scheduled
from popbox.load.users.classes import STOP_S, classes, writer_of
from popbox.load.users.process import LAG_EACH_S, Process
from popbox.load.users.told import TOLD


def worker(spec: Spec, host: str, port: int) -> int:
    """Run users as the master says; the journal ends with the process."""
    environment = Environment(user_classes=classes(spec), events=events, stop_timeout=STOP_S)
    books = _Books(spec, environment)
    events.test_start.add_listener(books.begin)  # type: ignore[no-untyped-call]
    events.report_to_master.add_listener(books.report)  # type: ignore[no-untyped-call]
    try:
        runner = environment.create_worker_runner(host, port)
    except ConnectionError:  # Locust has tried for five minutes
        print(f"no master answers at {host}:{port}", file=sys.stderr)
        return 1
    gevent.signal_handler(signal.SIGINT, lambda: None)  # a terminal sends it to all; the master says when to end
    gevent.signal_handler(signal.SIGTERM, runner.quit)
    # told to stop, Locust would sleep for STOP_S before it hears that it may end; no load begins again here
    events.test_stop.add_listener(lambda **_: gevent.spawn(runner.quit))  # type: ignore[no-untyped-call]
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

    def report(self, data: dict[str, Any], **_: object) -> None:
        """What Locust sends to the master each three seconds."""
        if self._process:
            data[TOLD] = list(self._process.told)

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
