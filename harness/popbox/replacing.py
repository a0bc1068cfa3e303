"""A file is made beside its name and renamed to it: what may stand at that name, as a rename removes it."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def is_special(path: Path) -> bool:
    """Whether a device, a FIFO, a socket or a directory is there, links followed.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def replaceable(path: Path) -> Path:
    """The file that a rename may replace: the end of links, so that they stay.

    Raises:
        OSError: a device, FIFO, socket or directory is there; as root, a rename to /dev/null would remove that device.
    """
    if is_special(path):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return path.resolve()
