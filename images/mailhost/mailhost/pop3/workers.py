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

_PR_SET_PDEATHSIG = 1

RESTART_S = 1.0
"""A worker that died is replaced not sooner than this after the last start, so that a fault does not spin."""


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

    ``helper`` is the process that stays root. Nobody here can be root again: when it dies all drain as at TERM, and
    111 is returned so that a supervisor starts the server anew. Other children are not ours: process 1 inherits some.

    ``stop`` is called at TERM or INT: listening sockets must be closed here too, or the kernel goes on queueing.
    """
    pids: dict[int, int] = {}
    stopping = orphaned = False

    def pass_on(signum: int, _: object) -> None:
        nonlocal stopping
        if signum != signal.SIGHUP and not stopping:
            stopping = True
            stop()
        for pid in list(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def replaced(worker: int) -> bool:
        time.sleep(RESTART_S)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            if not stopping:
                pids[_fork(worker, start)] = worker
        except OSError:
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return True

    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for worker in range(count):
        pids[_fork(worker, start)] = worker
    for signum in SIGNALS:
        signal.signal(signum, pass_on)
    ready()  # before a TERM can close the sockets it names
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    while pids:
        pid, status = os.wait()
        worker_died = pids.pop(pid, None)
        if helper and pid == helper and not stopping:
            sys.stderr.write('{"event": "the root helper has gone", "consequence": "the server ends with 111"}\n')
            sys.stderr.flush()
            orphaned = True
            pass_on(signal.SIGTERM, None)
        elif worker_died is not None and not stopping:
            sys.stderr.write(f'{{"event": "worker died", "pid": {pid}, "status": {status}}}\n')
            sys.stderr.flush()
            died(worker_died)
            while not replaced(worker_died):  # no process to be had now
                pass
    return 111 if orphaned else 0


def _fork(worker: int, start: Callable[[int], None]) -> int:
    """A child that serves and exits; signals stay blocked until ``start`` has set handlers and unblocks them.

    It drains when its parent is killed: else it would hold the port for ever, without a helper to look logins up.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() == parent:
            start(worker)
        status = 0
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)
