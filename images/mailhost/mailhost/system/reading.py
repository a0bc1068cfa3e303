"""Whole files read into memory, up to a limit: a sparse file of 64 GiB costs nothing to make."""

from __future__ import annotations

import errno
import os
from pathlib import Path

OWN_OCTETS = 1 << 30
"""For files that root alone writes (our choice: users/assign of a million mailboxes has 250 MB)."""


class Refused(OSError):
    """What stands at a path is not what may be used there; ``strerror`` is the rule, ``filename`` the path."""


class TooLarge(Refused):
    """A file is larger than the reader's limit."""


def read_bounded(descriptor: int, most: int, path: str) -> bytes:
    """All octets of an open file.

    Raises:
        TooLarge: it has more than ``most``, holes of a sparse file included.
        OSError: it cannot be read.
    """
    size = os.fstat(descriptor).st_size
    octets = b"" if size > most else _read_up_to(descriptor, most + 1)
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


def _read_up_to(descriptor: int, most: int) -> bytes:
    pieces, left = [], most
    while left and (piece := os.read(descriptor, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
