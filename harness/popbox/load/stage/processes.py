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

from popbox.clients.wire import Address
from popbox.environment import of_programs
from popbox.errors import HostError
from popbox.hosts.process import undisturbed
from popbox.load.plan.spec import SPEC, STOPPED
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
    def running(self, workers: int, listen: Address | None = None, web: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """The master; all have ended afterwards. ``listen``: where workers of other machines come, none are here.

        ``web``: where Locust's own page is.
        """
        at = f"{listen.host}:{listen.port}" if listen else f"127.0.0.1:{_free_port()}"
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

    def last_words(self) -> str:
        """The last line that any of them has written to the log."""
        return (self._folder / LOG).read_text("utf-8", "replace").rstrip("\n").rpartition("\n")[2]

    def gone(self) -> str:
        """Which worker of this machine was killed, or failed; empty where none."""
        for number, one in enumerate(self._started[1:], 1):
            if code := one.poll():
                return f"worker {number} {how(code)}"
        return ""

    def _end(self) -> None:
        """End all in order, also after an interrupt; a second one ends them at once."""
        try:
            try:
                self._end_in_order()
            except KeyboardInterrupt:
                self._end_in_order()
                raise
        except KeyboardInterrupt:
            for one in self._started:
                one.kill()
            raise
        finally:
            for one in self._started:
                one.wait()
                if one.stdout:
                    one.stdout.close()

    def _end_in_order(self) -> None:
        deadline = time.monotonic() + END_S
        for master in self._started[:1]:
            alive = master.poll() is None
            for one in [master] if alive or master.returncode in (0, STOPPED) else self._started[1:]:
                one.send_signal(signal.SIGTERM)  # the master tells the workers; without it they hear it from us
        for one in self._started:
            try:
                one.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.kill()


def how(code: int) -> str:
    """How a process ended, by its exit code, in words."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with {code}"


@dataclass(frozen=True, slots=True)
class Tick:
    """Once a second from the master, at ``at_s`` from the begin of the load; up to three seconds old.

    ``accepted`` counts a message for each recipient, ``seen`` what POP3 listed for the first time; ``late`` is the
    share of their time for which the workers were late themselves. ``broken`` is the fault that there is now.
    """

    at_s: float
    users: int
    workers: int
    requests: int
    failed: int
    accepted: int
    seen: int
    late: float
    broken: str = ""

    @classmethod
    def of(cls, line: bytes, at_s: float) -> Tick:
        """From the master's line."""
        said = json.loads(line)
        late = said.pop("late_s") / max(said.pop("lived_s"), 1.0)
        return cls(at_s=at_s, late=late, **said)


def watch(
    processes: Processes, master: subprocess.Popen[bytes], beside: tuple[Beside, ...], tick: Callable[[Tick], None]
) -> str:
    """Until the master ends, or a worker is gone; what works beside it begins and ends with the load.

    Returns why the load ended before its time; empty where it did not.

    Raises:
        HostError: the load did not begin.
    """
    begun, began, at_s = 0, time.monotonic(), 0.0
    try:
        for line in master.stdout or ():
            began = began if begun else time.monotonic()
            for one in beside[begun:]:
                one.start()
                begun += 1
            at_s = time.monotonic() - began
            tick(Tick.of(line, at_s))
            if why := processes.gone():
                return f"{why} at {at_s:.0f} s"
    finally:
        with undisturbed():  # what is broken is healed first
            for one in beside[:begun]:
                one.end()
    code = master.wait()
    if not begun:
        raise HostError(f"the load did not begin: {processes.last_words()}")
    if code == STOPPED:
        return f"the load was stopped at {at_s:.0f} s, on Locust's page, by a signal, or because a worker left"
    return f"Locust's master {how(code)} at {at_s:.0f} s" if code else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
