"""Where tests put many small files: in memory, since fsync and unlink on a disk take most of their time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")


def in_memory(octets: int) -> Path | None:
    """A directory in memory with that much free, or None. In a container it has 64 MiB, and no program runs from it."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free > octets
    return MEMORY if usable else None
