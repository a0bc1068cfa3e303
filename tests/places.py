"""Where tests put many small files: in memory, since fsync and unlink on a disk take most of their time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")


def in_memory(octets: int, *, programs: bool = False) -> Path | None:
    """A directory in memory with that much free, or None. In a container it has 64 MiB, and no program runs from it.

    ``programs``: they must run from there, and devices work.
    """
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free > octets
    if usable and programs:
        usable = not os.statvfs(MEMORY).f_flag & (os.ST_NOEXEC | os.ST_NODEV)
    return MEMORY if usable else None


@contextmanager
def open_to_others() -> Iterator[None]:
    """Umask 022: the trees of these tests stand for hosts as they are, whatever the umask of who runs the tests.

    The product under other umasks has tests of its own, and the scenarios and demos of ``.ci/machines``.
    """
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
