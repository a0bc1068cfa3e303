"""Files that a person names, opened in one place: what has no end, or never begins, is refused at once."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import Any

MOST_OCTETS = 256 << 20  # our choice: of a file that is held in memory whole
_OTHER = "it is no regular file"
_WHAT = {
    stat.S_IFDIR: "it is a directory, not a file",
    stat.S_IFIFO: "it is a FIFO, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
}


class Refused(OSError):
    """What stands at a path is not read; ``strerror`` is the rule, ``filename`` the path."""


def opened(path: Path | str, most: int = MOST_OCTETS) -> io.BufferedReader:
    """A file to read from: a regular file, or a pipe (``/dev/stdin``, a shell's ``<(...)``).

    Nothing else is opened: a FIFO in the file system may wait for a writer without end, a device may have no end. What
    is read from it ends with `Refused` after ``most`` octets.

    Raises:
        Refused: it is something else, or has more than ``most`` octets.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    file = _Bounded(descriptor, most, os.fspath(path))
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) and not _is_pipe(descriptor, found):
            raise Refused(errno.EINVAL, _WHAT.get(stat.S_IFMT(found.st_mode), _OTHER), os.fspath(path))
        if found.st_size > most:
            raise file.too_large()
        os.set_blocking(descriptor, True)
    except OSError:
        file.close()
        raise
    return io.BufferedReader(file, 1 << 16)


def octets_of(path: Path | str, most: int = MOST_OCTETS) -> bytes:
    """All octets of a file, as `opened` opens it.

    Raises:
        OSError: as `opened`, or it cannot be read.
    """
    with opened(path, most) as file:
        return file.read()


def _is_pipe(descriptor: int, found: os.stat_result) -> bool:
    """Whether it is a pipe without a name in the file system."""
    return stat.S_ISFIFO(found.st_mode) and str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("pipe:")


class _Bounded(io.RawIOBase):
    """Counts what is read: a pipe may have no end, and a file may grow."""

    def __init__(self, descriptor: int, most: int, path: str) -> None:
        self._descriptor, self._left, self._most, self._path = descriptor, most, most, path

    def too_large(self) -> Refused:
        size = f"{self._most >> 20} MiB" if self._most >= 1 << 20 else f"{self._most} octets"
        return Refused(errno.EFBIG, f"it is larger than {size}, and not read", self._path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.readv(self._descriptor, [buffer])
        self._left -= count
        if self._left < 0:
            raise self.too_large()
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
