"""Whole files read into memory, up to a limit: a sparse file of 64 GiB costs nothing to make."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

CHUNK = 1 << 20  # our choice: read at a time
OWN_OCTETS = 1 << 30
"""For files that root alone writes (our choice: users/assign of a million mailboxes has 250 MB)."""


_OTHER = "it is no regular file"
_WHAT = {
    stat.S_IFDIR: "it is a directory, not a file",
    stat.S_IFIFO: "it is a FIFO, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
}


class Refused(OSError):
    """What stands at a path is not what may be used there; ``strerror`` is the rule, ``filename`` the path."""


class TooLarge(Refused):
    """A file is larger than the reader's limit."""


def read_bounded(descriptor: int, most: int, path: str, size: int | None = None) -> bytes:
    """All octets of an open file. ``size`` is its st_size, where that is known.

    Raises:
        TooLarge: it has more than ``most``, holes of a sparse file included.
        OSError: it cannot be read.
    """
    if size is None:
        size = os.fstat(descriptor).st_size
    octets = b"" if size > most else read_at_most(descriptor, most + 1, size)
    if size > most or len(octets) > most:
        raise TooLarge(errno.EFBIG, f"is larger than {most} octets, and not read", path)
    return octets


def read_file(path: Path | str, most: int = OWN_OCTETS) -> bytes:
    """All octets of a file of ours, links followed; a FIFO does not block.

    Raises:
        TooLarge: it has more than ``most`` octets.
        OSError: it cannot be opened or read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return read_bounded(descriptor, most, os.fspath(path))
    finally:
        os.close(descriptor)


def open_given(path: Path | str, most: int = OWN_OCTETS, *, pipes: bool = True) -> int:
    """A descriptor of a file that a person named: a regular file, or a pipe (``/dev/stdin``, a shell's ``<(...)``).

    Nothing else is opened: a FIFO in the file system may wait for a writer without end, a device may have no end.

    Raises:
        TooLarge: it has more than ``most`` octets.
        Refused: it is something else, or a pipe where ``pipes`` is False.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) and not (pipes and _is_pipe(descriptor, found)):
            raise Refused(errno.EINVAL, _WHAT.get(stat.S_IFMT(found.st_mode), _OTHER), os.fspath(path))
        if found.st_size > most:
            raise TooLarge(errno.EFBIG, f"is larger than {most} octets, and not read", os.fspath(path))
        os.set_blocking(descriptor, True)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_given(path: Path | str, most: int = OWN_OCTETS) -> bytes:
    """All octets of a file that a person named.

    Raises:
        TooLarge, Refused, OSError: as `open_given`, or it cannot be read.
    """
    descriptor = open_given(path, most)
    try:
        return read_bounded(descriptor, most, os.fspath(path))
    finally:
        os.close(descriptor)


def _is_pipe(descriptor: int, found: os.stat_result) -> bool:
    """Whether it is a pipe without a name in the file system."""
    return stat.S_ISFIFO(found.st_mode) and os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")


def read_at_most(descriptor: int, most: int, size: int) -> bytes:
    """All octets of an open file, or the first ``most``. ``size`` is its st_size (0 of what has none).

    Where the first read brings exactly so many octets, that is all: most files here are small, and a second read to
    find the end is one system call in six.
    """
    first = os.read(descriptor, min(most, size + 1, CHUNK) if size else min(most, CHUNK))
    if len(first) == size < CHUNK:
        return first
    pieces, left = [first], most - len(first)
    while left and pieces[-1]:
        pieces.append(os.read(descriptor, min(left, CHUNK)))
        left -= len(pieces[-1])
    return b"".join(pieces)
