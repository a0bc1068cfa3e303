"""Many scenarios: those that do not disturb others share one host and run side by side, the others get a host each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import zip_longest
from threading import Lock

from popbox.hosts.base import Host, closing
from popbox.hosts.process import undisturbed
from popbox.ledger.reconcile import LATE_S
from popbox.result import Result
from popbox.run.needs import unmet
from popbox.run.runner import Watcher, run
from popbox.scenario.faults import WaitUntil
from popbox.scenario.load import ScenarioFile
from popbox.scenario.model import Scenario
from popbox.scenario.steps import Send, Telnet
from popbox.scenario.transcript import refused_in

MOST_JOBS = 64  # our choice
# Our choice: an engine that brings up more projects at a time than that may be too slow to answer.
JOBS = min(MOST_JOBS, max(4, 2 * (os.cpu_count() or 1)))
# Our choice: a scenario waits three times as long as it computes, mostly for copies that come late.
LOCAL_JOBS = min(MOST_JOBS, 3 * JOBS)
REFUSED_S, FROZEN_S = 2.0, 2.0  # what a refused login (H-28) and a greeting that does not come take


def run_all(
    files: list[ScenarioFile], start: Callable[[bool], Host], jobs: int = JOBS, watcher: Watcher | None = None
) -> Iterator[Result]:
    """Run every file, ``jobs`` at a time; results come in the order of the files, each as soon as it can.

    ``start`` brings a host up, with a disk of its own if told (raises HostError). At an interrupt or an error what has
    not begun is dropped, and all hosts are taken away: what still runs then fails at once.
    """
    with _Hosts(start) as hosts, ThreadPoolExecutor(jobs, "scenario") as pool:
        try:
            yield from _in_order(files, hosts, pool, jobs, watcher)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            hosts.close()
            raise


def _in_order(
    files: list[ScenarioFile], hosts: _Hosts, pool: ThreadPoolExecutor, jobs: int, watcher: Watcher | None
) -> Iterator[Result]:
    """Those with a host of their own, which compute, and the others, which wait for mail, begin in turns.

    On each side those begin first that wait longest: what begins last only computes, and keeps the processors busy to
    the end. Of those with a host of their own, half as many as run at a time begin before the shared host comes up.
    """
    running: dict[int, Future[Result]] = {}
    in_turn = sorted(range(len(files)), key=lambda number: -_waits_s(files[number].scenario))
    own = [number for number in in_turn if files[number].scenario.needs.own_host]
    others = [number for number in in_turn if not files[number].scenario.needs.own_host]
    early, later = own[: max(1, jobs // 2)], own[max(1, jobs // 2) :]
    for number in early:
        running[number] = pool.submit(_on_its_own, files[number], hosts, watcher)
    if others:
        hosts.shared = hosts.start(own_disk=False)
    for pair in zip_longest(others, later):
        for number, work in zip(pair, (_on_the_shared, _on_its_own), strict=True):
            if number is not None:
                running[number] = pool.submit(work, files[number], hosts, watcher)
    for number in range(len(files)):
        yield running[number].result()


def _waits_s(scenario: Scenario) -> float:
    """How long a scenario waits at least, as its steps tell: for what is slow on purpose, and for late copies."""
    accepts = any(isinstance(step.spec, Send) and step.spec.refused is None for step in scenario.step)
    waits_s = LATE_S if accepts else 0.0
    for step in scenario.step:
        if isinstance(step.spec, Telnet):
            waits_s += max(step.spec.at_least_s, REFUSED_S * refused_in(step.spec.transcript))
        elif isinstance(step.spec, WaitUntil) and step.spec.silent:
            waits_s += FROZEN_S
    return waits_s


def _on_the_shared(file: ScenarioFile, hosts: _Hosts, watcher: Watcher | None) -> Result:
    assert hosts.shared is not None
    return run(file, hosts.shared, watcher)


def _on_its_own(file: ScenarioFile, hosts: _Hosts, watcher: Watcher | None) -> Result:
    """On a host that is brought up for it. None is where the shared one, alike but for its disks, cannot run it."""
    own_disk = file.scenario.needs.own_disk
    if hosts.shared is not None and not own_disk and unmet(file.scenario, hosts.shared):
        return run(file, hosts.shared, watcher)
    with hosts.one(own_disk) as host:
        return run(file, host, watcher)


class _Hosts:
    """The hosts that are up, so that an interrupt, which only the main thread gets, removes all of them."""

    def __init__(self, start: Callable[[bool], Host]) -> None:
        self._start, self._lock, self._closed = start, Lock(), False
        self._up: list[Host] = []
        self.shared: Host | None = None

    def __enter__(self) -> _Hosts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, own_disk: bool) -> Host:
        """Bring one up; one that comes up after ``close`` is removed at once."""
        host = self._start(own_disk)
        with self._lock:
            self._up.append(host)
            closed = self._closed
        if closed:
            host.close()
        return host

    @contextmanager
    def one(self, own_disk: bool) -> Iterator[Host]:
        """A host for one scenario, which goes with it."""
        with closing(self.start(own_disk)) as host:
            yield host
        with self._lock, suppress(ValueError):  # `close` has taken it
            self._up.remove(host)

    def close(self) -> None:
        """Remove all of them; harmless for those that are gone."""
        with self._lock:
            self._closed = True
            hosts, self._up = self._up, []
        with undisturbed():  # a second signal does not stop us half-way
            for host in hosts:
                host.close()
