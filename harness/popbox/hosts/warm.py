"""``mailhost commands`` kept running on the mail host: it imports what a verb needs once, and forks for each command.

A scenario asks ``mailhost`` some ten times. Each call as a program of its own costs 110 ms, nearly all of it imports,
and more through ``docker exec``; this way 10 ms, with the same code in a process of its own.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from popbox.clients.ready import comes
from popbox.errors import HostError
from popbox.hosts.process import allowed_s, run_bounded, undisturbed

READY_S = 30.0  # our choice: a hundred times what the imports take on an idle machine
MOST_IDLE = 8  # our choice: as many as scenarios run at a time


class Cold(Exception):
    """No warm Python answers; the text says why. The command may be run in the ordinary way instead, or not at all."""


class _Helper:
    """One ``mailhost commands``: a command at a time. It is in a session of its own: Ctrl-C does not reach it."""

    def __init__(self, argv: list[str], cwd: Path | None, env: Mapping[str, str] | None) -> None:
        pipe = subprocess.PIPE
        with undisturbed():
            self._child = subprocess.Popen(
                [*argv, "commands"],
                cwd=cwd,
                env=env,
                stdin=pipe,
                stdout=pipe,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._buffer = b""
        try:
            self.line(READY_S)  # it says that it is ready
        except BaseException:
            self.end()
            raise

    def ask(self, request: bytes, within_s: float) -> bytes:
        """Send a line, get a line.

        Raises:
            Cold, OSError: the helper has ended.
            TimeoutError: the deadline has passed.
        """
        assert self._child.stdin is not None
        self._child.stdin.write(request + b"\n")
        self._child.stdin.flush()
        return self.line(within_s)

    def line(self, within_s: float) -> bytes:
        """The next line.

        Raises:
            Cold: the stream has ended.
            TimeoutError: the deadline has passed.
        """
        assert self._child.stdout is not None
        deadline, out = time.monotonic() + within_s, self._child.stdout.fileno()
        while b"\n" not in self._buffer:
            if not comes(out, deadline - time.monotonic()):
                raise TimeoutError
            got = self._child.stdout.read1(1 << 20)  # type: ignore[attr-defined]
            if not got:
                raise Cold("it has ended")
            self._buffer += got
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def end(self) -> None:
        """End it, with what it is doing; harmless when done twice."""
        for stream in (self._child.stdin, self._child.stdout):
            with suppress(OSError):
                if stream:
                    stream.close()
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)  # a command that it runs is of its group
        self._child.wait()

    def gone(self) -> bool:
        """Whether it has ended by itself, say with its container."""
        return self._child.poll() is not None


class Warm:
    """Warm Pythons of one place: as many as there are commands at the same time, started when first needed."""

    def __init__(
        self,
        mailhost: list[str] | Callable[[], list[str]],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        *,
        more: bool = False,
    ) -> None:
        """``mailhost`` is the command line that runs the command of that name on the mail host, or finds it out.

        ``more``: it is known that several commands come, so that the first one, too, is worth a warm Python.
        """
        self._mailhost = mailhost if callable(mailhost) else lambda: mailhost
        self._cwd, self._env = cwd, env
        self._lock, self._idle, self._closed = threading.Lock(), list[_Helper](), False
        self._asked = 1 if more else 0

    def run(self, argv: list[str], stdin: bytes, within_s: float) -> tuple[int, bytes, bytes]:
        """Exit code, stdout and stderr of ``mailhost ARGV``.

        Raises:
            Cold: the command was not started.
            HostError: it did not end within ``within_s`` seconds, and what ``stdin`` needs, or its result is unknown.
        """
        within_s = allowed_s(within_s, stdin)
        helper = self._take()
        try:
            request = {"argv": argv, "stdin": base64.b64encode(stdin).decode()}
            status, out, err = json.loads(helper.ask(json.dumps(request).encode(), within_s))
        except TimeoutError:
            helper.end()
            raise HostError(f"`{' '.join(argv[-6:])}` did not end within {within_s:.0f} s") from None
        except (Cold, OSError) as error:
            helper.end()
            raise HostError(f"`{' '.join(argv[-6:])}` was cut off: {error}") from error
        except BaseException:
            helper.end()
            raise
        self._give_back(helper)
        return status, base64.b64decode(out), base64.b64decode(err)

    def run_anyway(self, argv: list[str], stdin: bytes, within_s: float) -> tuple[int, bytes, bytes]:
        """The same; where no warm Python answers, as a program of its own.

        Raises:
            HostError: see ``run``.
        """
        try:
            return self.run(argv, stdin, within_s)
        except Cold:
            done = run_bounded([*self._mailhost(), *argv], within_s=within_s, env=self._env, stdin=stdin, cwd=self._cwd)
            return done.returncode, done.stdout, done.stderr

    def _take(self) -> _Helper:
        with self._lock:
            self._asked += 1
            if self._asked == 1 or self._closed:
                raise Cold("a single command is faster by itself" if not self._closed else "the host is gone")
            while self._idle:
                helper = self._idle.pop()
                if not helper.gone():
                    return helper
                helper.end()
        try:
            return _Helper(self._mailhost(), self._cwd, self._env)
        except (OSError, TimeoutError) as error:
            raise Cold(str(error)) from error

    def _give_back(self, helper: _Helper) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < MOST_IDLE:
                self._idle.append(helper)
                return
        helper.end()

    def close(self) -> None:
        """End them all. A command that still runs ends its helper itself."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for helper in idle:
            helper.end()


_of_this_machine: dict[tuple[str, ...], tuple[Warm, set[str]]] = {}  # each with the hosts that use it, by their ids
_changing = threading.Lock()
os.register_at_fork(after_in_child=_of_this_machine.clear)  # a fork cannot ask its parent's


def join(host: str, mailhost: list[str], env: Mapping[str, str]) -> Warm:
    """The warm Pythons of all hosts of this process that lie on this machine, for one more host that has come up.

    A scenario's own host would pay 0.2 s of processor time for one of its own, most of what its commands cost.
    """
    with _changing:
        made = _of_this_machine.setdefault(_key(mailhost, env), (Warm(mailhost, env=env, more=True), set()))
        made[1].add(host)
        return made[0]


def leave(host: str, warm: Warm) -> None:
    """End what a host has used that has gone, unless other hosts of this process use it. Harmless when done twice."""
    with _changing:
        for key, (one, hosts) in _of_this_machine.items():
            if one is warm:
                hosts.discard(host)
                if hosts:
                    return
                del _of_this_machine[key]
                break
    warm.close()


def _key(mailhost: list[str], env: Mapping[str, str]) -> tuple[str, ...]:
    return (*mailhost, *(f"{name}={value}" for name, value in sorted(env.items())))
