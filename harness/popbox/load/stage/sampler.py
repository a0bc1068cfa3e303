"""Looks at each service's and each worker's processes while a run lasts, on a thread of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from popbox.errors import PopboxError
from popbox.hosts.base import SERVICES, Host
from popbox.load.books.samples import FILE, Sample
from popbox.load.stage.beside import Beside

EACH_S = 10.0  # our choice: an hour is 360 samples
PYTHON = re.compile(r"(^|/)python[0-9.]*$")
FEWEST = 40  # our choice: in a short run so many, for a slope


class Sampler(Beside):
    """Appends samples to the run's file."""

    def __init__(self, host: Host, folder: Path, lasts_s: float, workers: Callable[[], list[int]]) -> None:
        """``workers`` gives the pids of Locust's processes on this machine."""
        super().__init__("sampler")
        self._host, self._path, self._workers = host, folder / FILE, workers
        self._each_s = min(EACH_S, lasts_s / FEWEST)

    def _run(self) -> None:
        with self._path.open("w", encoding="utf-8") as file:
            while True:
                for who, pid in self._roots().items():
                    for one in samples(who, pid, self._at()) if pid else ():
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


def samples(who: str, pid: int, at_s: float) -> Iterator[Sample]:
    """A process with its children, then a service's programs by their names; nothing where it has ended.

    popbox itself is looked at alone.
    """
    try:
        first = psutil.Process(pid)
        family = [first] if who == "popbox" else [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    programs: dict[str, list[psutil.Process]] = {}
    for one in family if who in SERVICES else ():
        programs.setdefault(_name(one), []).append(one)
    yield _sum(who, family, at_s)
    for name, some in programs.items():
        if name:
            yield _sum(f"{who} {name}", some, at_s)


def _name(one: psutil.Process) -> str:
    """The program's name, of a Python program that of its script; empty where it has ended."""
    try:
        words = one.cmdline()
    except psutil.Error:
        return ""
    named = [word for word in words if not word.startswith("-") and not PYTHON.search(word)]
    return Path(named[0].split()[0]).name if named and named[0].strip() else ""


def _sum(who: str, family: list[psutil.Process], at_s: float) -> Sample:
    """The first of the family stands for it: by another pid it is another one, and pids begin again at low numbers."""
    rss = own = descriptors = threads = 0
    cpu_s = 0.0
    for one in family:
        try:
            with one.oneshot():
                memory = one.memory_info()
                rss += memory.rss
                own += memory.rss - memory.shared
                threads += one.num_threads()
                cpu_s += sum(one.cpu_times()[:4])  # its own, and that of children that it has seen end
                descriptors += one.num_fds()
        except psutil.NoSuchProcess:
            continue  # a child that has ended since
        except psutil.AccessDenied:
            descriptors = -1_000_000  # below zero for all of them
    kib = rss // 1_024, own // 1_024
    return Sample(at_s, who, family[0].pid, len(family), *kib, max(descriptors, -1), threads, cpu_s)
