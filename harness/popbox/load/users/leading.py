"""Locust's master: it waits for the workers, has them run the plan, and tells of it line by line."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import gevent.event
from locust import events
from locust.env import Environment
from locust.runners import STATE_MISSING

from popbox.load.books.tables import WRITERS
from popbox.load.plan.spec import STOPPED, Spec
from popbox.load.users.classes import STOP_S, classes, writer_of
from popbox.load.users.told import TOLD, Told

CONNECT_S = 120.0  # our choice: for all workers to come
TELL_S = 1.0


class _Leading:
    """A master whose workers come."""

    def __init__(self, spec: Spec, path: Path, at: tuple[str, int], web: str) -> None:
        self._spec, self._writers = spec, path.with_name(WRITERS)
        self._told: dict[str, Told] = {}
        self._over, self._halted = gevent.event.Event(), False
        environment = Environment(user_classes=classes(spec), events=events, stop_timeout=STOP_S)
        events.worker_connect.add_listener(self._expect)  # type: ignore[no-untyped-call]  # before any worker can come
        events.worker_report.add_listener(self._hear)  # type: ignore[no-untyped-call]
        events.test_stopping.add_listener(self._stopped)  # type: ignore[no-untyped-call]
        self._runner = environment.create_master_runner(*at)
        if web:
            host, _, port = web.rpartition(":")
            environment.create_web_ui(host, int(port))

    def run(self) -> int:
        if not self._all_came():
            print(f"{len(self._runner.clients.ready)} of {self._spec.processes} workers came", file=sys.stderr)
            self._runner.quit()
            return 1
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._stopped)
        gevent.signal_handler(signal.SIGUSR1, self._over.set)  # who watches has seen enough: as if its time were over
        self._runner.start(self._spec.plan.users, self._spec.plan.spawn_rate)
        ticker = gevent.spawn(self._tell)
        self._over.wait(self._spec.plan.lasts)
        ticker.kill()
        code = STOPPED if self._halted else 0
        self._runner.quit()
        return code

    def _all_came(self) -> bool:
        deadline = time.monotonic() + CONNECT_S
        while len(self._runner.clients.ready) < self._spec.processes:
            if time.monotonic() > deadline:
                return False
            gevent.sleep(0.05)
        return True

    def _expect(self, client_id: str, **_: object) -> None:
        with self._writers.open("a", encoding="utf-8") as file:
            file.write(writer_of(client_id) + "\n")

    def _hear(self, client_id: str, data: dict[str, Any], **_: object) -> None:
        self._told[client_id] = Told(*data.get(TOLD, Told()))

    def _stopped(self, **_: object) -> None:
        """The load ends before its time: on Locust's page or by a signal it was wanted, or a worker has left.

        Locust says so at the end of each load, too.
        """
        self._halted = True
        self._over.set()

    def _tell(self) -> None:
        while True:
            gevent.sleep(TELL_S)
            total = self._runner.stats.total
            there = [one for one in self._runner.clients.all if one.state != STATE_MISSING]
            said = {"users": self._runner.user_count, "workers": len(there)}
            said |= {"requests": total.num_requests, "failed": total.num_failures}
            print(json.dumps(said | Told.sum(self._told.values())._asdict()), flush=True)
            if len(self._runner.clients.all) < self._spec.processes:  # who left in order; the others have less to do
                self._stopped()


def master(spec: Spec, path: Path, at: tuple[str, int], web: str = "") -> int:
    """Have the workers run the plan; ``web`` is where Locust's own page is.

    Returns 1 where not all workers came, ``STOPPED`` where the load was stopped before its time.
    """
    return _Leading(spec, path, at, web).run()
