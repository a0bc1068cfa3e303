"""A file is made beside its name and renamed to it: what may stand at that name, as a rename removes it."""

from __future__ import annotations

import errno
import os
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


def put(path: Path, octets: bytes, beside: Path, mode: int = 0o600) -> None:
    """Write the new file ``beside`` and give it the name ``path``: whole and on disk, or what was there is as before.

    Raises:
        OSError: it cannot be written, or there is something at ``beside``.
    """
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(octets)
        out.flush()
        os.fchmod(out.fileno(), mode)
        os.fsync(out.fileno())
    beside.replace(path)
