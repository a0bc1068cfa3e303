"""The ``popbox`` program: sets up signals before any slow import."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OURS = (signal.SIG_DFL, signal.default_int_handler)  # what is not ignored, as nohup(1) ignores HUP


def main() -> NoReturn:
    """Run popbox; SIGINT, SIGTERM and SIGHUP end it after its hosts are removed."""
    _open_closed()
    _make_usable()
    heard: list[int] = []
    watched = [number for number in ENDS if signal.getsignal(number) in OURS]
    for number in watched:  # an import that is interrupted may end in any error, and leave half a module
        signal.signal(number, lambda got, _frame: heard.append(got))
    from popbox.cli.main import main as run

    try:
        for number in watched:
            signal.signal(number, _interrupt)
        if heard:
            _interrupt()
        code = run()
        _ignore_signals()
    except KeyboardInterrupt:
        _ignore_signals()
        hosts = sys.modules.get("popbox.hosts.process")
        left = hosts.left_behind() if hosts else ""
        said = f"popbox: interrupted{'; ' if left else ''}{left}\n"
        for stream, last in ((sys.stdout, ""), (sys.stderr, said)):  # what was printed comes before it in a log of both
            with suppress(OSError):  # the terminal may be what has gone
                stream.write(last)
                stream.flush()
        os._exit(INTERRUPTED)  # Python itself would end by SIGINT, where an exec() of a library was interrupted
    _drop_unwritten()
    sys.exit(code)


def _open_closed() -> None:
    """Open descriptors that were closed at the start, as by ``>&-``: no file of ours, nor a child's, may take one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


class _Output(FileIO):
    """Standard output, named by its errors, as a file is."""

    def write(self, data: Any, /) -> int:
        """See FileIO."""
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


def _make_usable() -> None:
    """Folders that we make are open to us whatever the umask, and what a terminal's encoding lacks is escaped."""
    os.umask(os.umask(0o077) & 0o077)
    out = sys.stdout
    if isinstance(out, TextIOWrapper) and out is sys.__stdout__:
        errors = out.errors if out.encoding.lower() == "utf-8" else "backslashreplace"  # which is stderr's
        by_line = out.line_buffering or out.write_through
        raw = BufferedWriter(_Output(out.fileno(), "w", closefd=False))
        sys.stdout = TextIOWrapper(raw, out.encoding, errors, line_buffering=by_line)


def _drop_unwritten() -> None:
    """Let go of what cannot be written: Python would say so again at its end, and end with a code of its own (120)."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, number)
                os.close(nothing)


def _ignore_signals() -> None:
    """From here on no host is left to remove, and a signal must not change the exit code."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int = 0, _frame: FrameType | None = None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
