"""Internal faults that must not go unnoticed: a thread that dies, a callback that fails."""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from mailhost.standin.log import Log

DIED = 111  # the exit code of the process when one of its threads dies


def watch(loop: asyncio.AbstractEventLoop, log: Log) -> None:
    """From now on a thread that dies ends the process, and an error inside ``loop`` makes an alert in the log."""

    def thread_died(died: threading.ExceptHookArgs) -> NoReturn:
        # Otherwise the thread's work would wait for ever. Ending here is like kill -9, which loses nothing (README.md).
        name = died.thread.name if died.thread is not None else "unknown"
        log.line(f"alert: thread {name} died, and the process with it: {_told(died.exc_value)}")
        log.flush()
        os._exit(DIED)

    def trouble(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        what = f"{context.get('message', 'trouble')}: {_told(context.get('exception'))}"
        log.line("alert: internal trouble: ", what.replace("\n", " "))

    threading.excepthook = thread_died
    loop.set_exception_handler(trouble)


def _told(error: BaseException | None) -> str:
    """The exception and its last frames, on one line."""
    if error is None:
        return "no exception"
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(frames))
    return f"{error!r} at {places}".replace("\n", " ")
