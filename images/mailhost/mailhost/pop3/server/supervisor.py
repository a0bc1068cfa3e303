"""Several workers on the same sockets: a parent that only starts them, passes signals on and replaces one that died."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
_AWAITED = (*SIGNALS, signal.SIGCHLD)

_PR_SET_PDEATHSIG = 1

RESTART_S = 1.0
"""A worker that died is replaced after this time, so that a fault does not spin."""


def supervise(
    count: int,
    start: Callable[[int], None],
    ready: Callable[[], None],
    died: Callable[[int], None],
    stop: Callable[[], None],
    helper: int = 0,
) -> int:
    """Fork ``count`` workers, call ``ready``, and wait; returns 0 when all have drained after TERM or INT.

    ``died`` is called with the number of a worker that did, at once, before there is another in its place.

    ``helper`` is the process that stays root. No process here can become root again: when it dies all drain as at TERM,
    and 111 is returned so that a supervisor starts the server again. Other children are not ours: process 1 inherits
    some.

    ``stop`` is called at TERM or INT: listening sockets must be closed here too, or the kernel goes on queueing.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # our parent may have had it ignored
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)  # for good: they are waited for, so none comes between two looks
    crew = _Crew(start, died, stop, helper)
    for worker in range(count):
        crew.pids[_fork(worker, start)] = worker
    ready()
    while crew.pids or crew.missing:
        crew.wait()
    return 111 if crew.orphaned else 0


class _Crew:
    """The workers that run, and when those that are ``missing`` are due (worker -> monotonic seconds)."""

    def __init__(
        self, start: Callable[[int], None], died: Callable[[int], None], stop: Callable[[], None], helper: int
    ) -> None:
        self._start, self._died, self._stop, self._helper = start, died, stop, helper
        self.pids: dict[int, int] = {}
        self.missing: dict[int, float] = {}
        self.stopping = self.orphaned = False

    def wait(self) -> None:
        """Until a signal comes, a child ends, or a worker is due; and do what follows from it."""
        if self.missing:
            found = signal.sigtimedwait(_AWAITED, max(0.0, min(self.missing.values()) - time.monotonic()))
        else:
            found = signal.sigwaitinfo(_AWAITED)
        if found is not None and found.si_signo != signal.SIGCHLD:
            self._pass_on(found.si_signo)
        self._reap()
        for worker in [worker for worker, due in self.missing.items() if due <= time.monotonic()]:
            self._replace(worker)

    def _pass_on(self, signum: int) -> None:
        if signum != signal.SIGHUP and not self.stopping:
            self.stopping = True
            self.missing.clear()
            self._stop()
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def _reap(self) -> None:
        """One SIGCHLD may stand for several children."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._ended(*ended)

    def _ended(self, pid: int, status: int) -> None:
        worker = self.pids.pop(pid, None)
        if self.stopping:
            return
        if pid == self._helper:
            sys.stderr.write('{"event": "the root helper has gone", "consequence": "the server ends with 111"}\n')
            sys.stderr.flush()
            self.orphaned = True
            self._pass_on(signal.SIGTERM)
        elif worker is not None:
            sys.stderr.write(f'{{"event": "worker died", "pid": {pid}, "status": {status}}}\n')
            sys.stderr.flush()
            self._died(worker)
            self.missing[worker] = time.monotonic() + RESTART_S

    def _replace(self, worker: int) -> None:
        """Start it; if no process can be made now, try again later."""
        try:
            self.pids[_fork(worker, self._start)] = worker
            del self.missing[worker]
        except OSError:
            self.missing[worker] = time.monotonic() + RESTART_S


def _fork(worker: int, start: Callable[[int], None]) -> int:
    """A child that serves and exits; signals stay blocked until ``start`` has set handlers and unblocks them.

    It drains when its parent is killed: otherwise it would hold the port for ever, without a helper to look logins up.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() == parent:
            start(worker)
        status = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)
