"""Looks at each service's and each worker's processes while a run lasts, on a thread of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil

from popbox.errors import PopboxError
from popbox.hosts.base import SERVICES, Host
from popbox.load.books.samples import FILE, Sample
from popbox.load.stage.beside import Beside

EACH_S = 10.0  # our choice: an hour is 360 samples
FEWEST = 40  # our choice: in a short run so many, for a slope


class Sampler(Beside):
    """Appends samples to the run's file."""

    def __init__(self, host: Host, folder: Path, lasts_s: float, workers: Callable[[], list[int]]) -> None:
        """``workers`` gives the pids of Locust's processes on this machine."""
        super().__init__("sampler")
        self._host, self._path, self._workers = host, folder / FILE, workers
        self._each_s = min(EACH_S, lasts_s / FEWEST)

    def _run(self) -> None:
        with self._path.open("w") as file:
            while True:
                for who, pid in self._roots().items():
                    if pid and (one := sample(who, pid, self._at())):
                        file.write(one.line())
                file.flush()
                if self._over.wait(self._each_s):
                    return

    def _roots(self) -> dict[str, int]:
        found = {f"worker {number}": pid for number, pid in enumerate(self._workers(), 1)}
        for service in SERVICES:
            try:
                found[service] = self._host.pid(service)
            except PopboxError:
                continue  # it is being broken
        return found | {"popbox": os.getpid()}


def sample(who: str, pid: int, at_s: float) -> Sample | None:
    """One look at a process and its children; None where it has ended. popbox itself is looked at alone."""
    try:
        first = psutil.Process(pid)
        family = [first] if who == "popbox" else [first, *first.children(recursive=True)]
        rss = descriptors = threads = 0
        cpu_s = 0.0
        for one in family:
            try:
                with one.oneshot():
                    rss += one.memory_info().rss
                    threads += one.num_threads()
                    cpu_s += sum(one.cpu_times()[:4])  # its own, and that of children that it has seen end
                    descriptors += one.num_fds()
            except psutil.NoSuchProcess:
                continue  # a child that has ended since
            except psutil.AccessDenied:
                descriptors = -1_000_000  # below zero for all of them
    except psutil.NoSuchProcess:
        return None
    return Sample(at_s, who, pid, len(family), rss // 1_024, max(descriptors, -1), threads, cpu_s)
