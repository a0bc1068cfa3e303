"""Many scenarios: those that do not disturb others share one host and run side by side, the others get a host each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from popbox.hosts.base import Host, closing
from popbox.hosts.process import undisturbed
from popbox.result import Result
from popbox.run.needs import unmet
from popbox.run.runner import Watcher, run
from popbox.scenario.load import ScenarioFile

MOST_JOBS = 64  # our choice
# Our choice: an engine that brings up more projects at a time than that may be too slow to answer.
JOBS = min(MOST_JOBS, max(4, 2 * (os.cpu_count() or 1)))
# Our choice: a scenario waits three times as long as it computes, mostly for copies that come late.
LOCAL_JOBS = min(MOST_JOBS, 2 * JOBS)


def run_all(
    files: list[ScenarioFile], start: Callable[[bool], Host], jobs: int = JOBS, watcher: Watcher | None = None
) -> Iterator[Result]:
    """Run every file, ``jobs`` at a time; results come in the order of the files, each as soon as it can.

    ``start`` brings a host up, with a disk of its own if told (raises HostError). At an interrupt or an error what has
    not begun is dropped, and all hosts are taken away: what still runs then fails at once.
    """
    with _Hosts(start) as hosts, ThreadPoolExecutor(jobs, "scenario") as pool:
        try:
            yield from _in_order(files, hosts, pool, watcher)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            hosts.close()
            raise


def _in_order(
    files: list[ScenarioFile], hosts: _Hosts, pool: ThreadPoolExecutor, watcher: Watcher | None
) -> Iterator[Result]:
    """Those that need a host of their own begin first: they take longest, and the shared host comes up then."""
    running: dict[int, Future[Result]] = {}
    own = {number: file for number, file in enumerate(files) if file.scenario.needs.own_host}
    for number, file in own.items():
        running[number] = pool.submit(_on_its_own, file, hosts, watcher)
    if len(own) < len(files):
        shared = hosts.shared = hosts.start(own_disk=False)
        running |= {n: pool.submit(run, file, shared, watcher) for n, file in enumerate(files) if n not in own}
    for number in range(len(files)):
        yield running[number].result()


def _on_its_own(file: ScenarioFile, hosts: _Hosts, watcher: Watcher | None) -> Result:
    """On a host that is brought up for it. None is where the shared one, alike but for its disks, cannot run it."""
    own_disk = file.scenario.needs.own_disk
    if hosts.shared is not None and not own_disk and unmet(file.scenario, hosts.shared):
        return run(file, hosts.shared, watcher)
    with closing(hosts.start(own_disk)) as host:
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

    def close(self) -> None:
        """Remove all of them; harmless for those that are gone."""
        with self._lock:
            self._closed = True
            hosts, self._up = self._up, []
        with undisturbed():  # a second signal does not stop us half-way
            for host in hosts:
                host.close()
