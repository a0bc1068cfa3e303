"""A temporary directory that a killed program does not leave for good: the next one of its kind removes it."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARK, WORK = ".popbox-scratch", "work"
_SAID = b"popbox made this directory for one command, and removes it.\n"


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A directory of our own below the system's temporary one, gone at the end; the upper one's name has ``prefix``.

    Beside it lies a mark, whose lock says that we live. What killed programs of that prefix have left goes first: a
    directory of this user with such a mark that no one holds, and with nothing else beside it.

    Raises:
        OSError: it cannot be made.
    """
    _sweep(prefix)
    place = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        with (place / MARK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(_SAID)  # after the lock: one without it is not removed
            lock.flush()
            (place / WORK).mkdir()
            yield place / WORK
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sweep(prefix: str) -> None:
    """Remove what is left; what cannot be removed now stays for another time."""
    made = re.compile(re.escape(prefix) + "[a-z0-9_]{8}")  # as tempfile has it
    for place in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if made.fullmatch(place.name):
            with suppress(OSError):
                _remove(place)


def _remove(place: Path) -> None:
    """One directory, if it is ours and left behind."""
    found = place.lstat()
    if found.st_uid != os.geteuid() or set(os.listdir(place)) - {MARK, WORK}:
        return
    with os.fdopen(os.open(place / MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if mark.read(len(_SAID) + 1) == _SAID:
            shutil.rmtree(place, ignore_errors=True)
