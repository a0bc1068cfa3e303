"""The ``popbox`` program: takes care of signals before anything that takes time is imported."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> NoReturn:
    """Run popbox; SIGINT, SIGTERM and SIGHUP end it after its hosts have been taken away."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup(1) has HUP ignored
            signal.signal(number, _interrupt)
    try:
        from click import Abort

        from popbox.cli import main as run

        try:
            code = run()
            _deaf()
        except Abort:  # click's name for an interrupt
            raise KeyboardInterrupt from None
    except KeyboardInterrupt:
        _deaf()
        with suppress(OSError):  # the terminal may be what has gone
            sys.stderr.write("popbox: interrupted; nothing was left behind\n")
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(INTERRUPTED)  # Python itself would end by SIGINT, where an exec() of a library was interrupted
    sys.exit(code)


def _deaf() -> None:
    """From here to the process's end there is nothing left to take away, and a signal must not change the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
