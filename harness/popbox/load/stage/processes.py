"""Locust's master and workers as child processes of ours: started together, ended together, each by its pid."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from popbox.environment import of_programs
from popbox.errors import HostError
from popbox.load.plan.spec import SPEC
from popbox.load.stage.beside import Beside

PROGRAM = "popbox.load.users"
LOG = "locust.log"
END_S = 90.0  # our choice: for processes to end after their users, whose replies may take 30 s


class Processes:
    """The master, then the workers of this machine."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        """``folder`` is that of the run."""
        self._folder, self._environ = folder, environ
        self._started: list[subprocess.Popen[bytes]] = []

    def workers(self) -> list[int]:
        """The pids of the workers of this machine."""
        return [one.pid for one in self._started[1:]]

    @contextmanager
    def running(self, workers: int, listen: str = "", web: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """The master; all have ended afterwards. ``listen``: where workers of other machines come, none are here.

        ``web``: where Locust's own page is.
        """
        at = listen or f"127.0.0.1:{_free_port()}"
        with (self._folder / LOG).open("ab") as log:
            try:
                master = self._begin(log, "master", at, *([web] if web else []))
                for _ in range(0 if listen else workers):
                    self._begin(log, "worker", at)
                yield master
            finally:
                self._end()

    def _begin(self, log: IO[bytes], *words: str) -> subprocess.Popen[bytes]:
        """In a session of its own: a terminal's Ctrl-C comes to us alone, and we end all in order."""
        argv = [sys.executable, "-m", PROGRAM, str((self._folder / SPEC).resolve()), *words]
        out = subprocess.PIPE if words[0] == "master" else log
        environ = of_programs(self._environ)
        one = subprocess.Popen(argv, stdout=out, stderr=log, env=environ, start_new_session=True)
        self._started.append(one)
        return one

    def _end(self) -> None:
        deadline = time.monotonic() + END_S
        for one in self._started[:1]:
            if one.poll() is None:
                one.send_signal(signal.SIGTERM)  # it tells the workers
        for one in self._started:
            try:
                one.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
            if one.stdout:
                one.stdout.close()


@dataclass(frozen=True, slots=True)
class Tick:
    """Once a second from the master: what Locust counts, at ``at_s`` from the begin of the load."""

    at_s: float
    users: int
    requests: int
    failed: int

    @classmethod
    def of(cls, line: bytes, at_s: float) -> Tick:
        """From the master's line."""
        said = json.loads(line)
        return cls(at_s, said["users"], said["requests"], said["failed"])


def watch(master: subprocess.Popen[bytes], beside: tuple[Beside, ...], tick: Callable[[Tick], None]) -> None:
    """Until the master ends; what works beside it begins and ends with the load.

    Raises:
        HostError: the load did not begin.
    """
    begun, began = 0, time.monotonic()
    try:
        for line in master.stdout or ():
            began = began if begun else time.monotonic()
            for one in beside[begun:]:
                one.start()
                begun += 1
            tick(Tick.of(line, time.monotonic() - began))
    finally:
        for one in beside[:begun]:
            one.end()
    if master.wait() or not begun:
        raise HostError(f"Locust's processes did not begin; {LOG} in the run's folder says why")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
