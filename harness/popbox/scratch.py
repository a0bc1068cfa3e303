"""A temporary directory that a killed program does not leave for good: the next one of its kind removes it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A directory of our own below the system's temporary one, gone at the end; its name begins with ``prefix``.

    Its lock says that we live. Those of that prefix that are ours and that no one holds are of killed programs and go.

    Raises:
        OSError: it cannot be made.
    """
    _sweep(prefix)
    place, lock = _made(prefix)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


def _made(prefix: str) -> tuple[Path, int]:
    """A new directory and its lock. One that another took for left behind, before it was locked, is made again."""
    while True:
        place = Path(tempfile.mkdtemp(prefix=prefix))
        with suppress(FileNotFoundError):
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return place, lock
            os.close(lock)


def _sweep(prefix: str) -> None:
    """Remove what is left; what cannot be removed now stays for another time."""
    for place in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(lock)
