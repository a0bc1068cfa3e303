"""Running a program to its end, with a deadline. No program is left running."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from popbox.clients.wire import Wire
from popbox.errors import HostError

INPUT_OCTETS_S = 32_768  # our choice: a twentieth of what `mailhost apply` takes of a machine at rest
GRACE_S = 10.0  # our choice: how long a program may take to end by itself after TERM
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what a person, a supervisor and a closed terminal send

_ours: set[object] = set()  # what this process must remove before it ends: hosts that it started, or a test run
_ever: set[object] = set()  # all that was among these
_kept: set[object] = set()  # of those, what stays up on purpose
for _each in (_ours, _ever, _kept):
    os.register_at_fork(after_in_child=_each.clear)  # a fork only has a copy of the objects


def end_as_interrupted() -> None:
    """Have HUP and TERM end this process as Ctrl-C does while something is ``owned``, and by default otherwise.

    Signals that are ignored or handled already stay so. Only the main thread may set handlers in Python.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGHUP, signal.SIGTERM):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _interrupt)


def owned(one: object, yes: bool) -> None:
    """Note that this process must remove ``one`` before it ends, or that it need not any more."""
    (_ours.add if yes else _ours.discard)(one)
    _ever.update({one} if yes else ())


def kept(one: object) -> None:
    """Note that what this process has started stays up when it ends."""
    owned(one, False)
    _kept.add(one)


def left_behind() -> str:
    """What an interrupted process leaves of the hosts that it started; empty where it has started none."""
    if _ours:
        return "a host may be left; `popbox down` removes it"
    if _kept:
        return "the host stays up; `popbox down` removes it"
    return "nothing was left behind" if _ever else ""


def _interrupt(number: int, _frame: FrameType | None) -> None:
    if _ours:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Defer the signals that end us: a child is recorded, and a clean-up completed, before they take effect.

    It sets a handler, not SIG_IGN, because every program started here would inherit SIG_IGN.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    put_off: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: put_off.append(got)) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if put_off:
            signal.raise_signal(put_off[0])


def allowed_s(within_s: float, stdin: bytes) -> float:
    """Seconds for a command: ``within_s``, and more for what it is given to read, such as 100,000 mailboxes."""
    return within_s + len(stdin) / INPUT_OCTETS_S


def run_bounded(
    argv: list[str], *, within_s: float, env: Mapping[str, str] | None, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run ``argv`` in a session of its own, so that Ctrl-C reaches us and not it; returns its output and exit code.

    ``env`` is its whole environment, see ``popbox.environment``; None, for a command of the operator's own, is ours.
    On the deadline and on an interrupt the program is ended and waited for.

    Raises:
        HostError: it did not end within ``within_s`` seconds, and what ``stdin`` needs.
    """
    pipe, within_s = subprocess.PIPE, allowed_s(within_s, stdin)
    child: subprocess.Popen[bytes] | None = None
    try:
        with undisturbed():
            child = subprocess.Popen(
                argv, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        out, err = child.communicate(stdin, timeout=within_s)
    except subprocess.TimeoutExpired:
        _end(child)
        raise HostError(f"`{' '.join(argv[-6:])}` did not end within {within_s:.0f} s") from None
    except BaseException:
        _end(child)
        raise
    return subprocess.CompletedProcess(argv, child.returncode, out, err)


def converse(argv: list[str], peer: str, timeout_s: float, *, env: Mapping[str, str], cwd: Path | None = None) -> Wire:
    """Run a program that speaks a protocol on its descriptors 0 and 1, and talk to it. Closing the wire ends it."""
    ours, theirs = socket.socketpair()
    with theirs, undisturbed():
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return Wire.over(ours, peer, timeout_s, lambda: _let_go(child))


def _let_go(child: subprocess.Popen[bytes]) -> None:
    """The program sees the end of its input; give it a moment, then end it."""
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _end(child: subprocess.Popen[bytes] | None) -> None:
    if child is None:
        return
    child.terminate()
    try:
        child.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
