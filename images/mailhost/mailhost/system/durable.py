"""Octets and names that are on the disk when a call returns, and descriptors closed without an error."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def naming(path: bytes | str | Path) -> Iterator[None]:
    """An error on an open descriptor does not say of which file; inside here it does."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def write_all(fd: int, octets: bytes | bytearray | memoryview) -> None:
    """Write all of it (write(2)).

    Raises:
        OSError: the disk is full, or another error of the system.
    """
    with memoryview(octets) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


def shut(fd: int) -> None:
    """Close a descriptor whose data is safe or not needed: only read from, synced before, or abandoned. Never raises.

    Linux closes it even if close(2) reports an error, which here would only turn a success into a failure.
    """
    with contextlib.suppress(OSError):
        os.close(fd)


def sync_directory(directory: bytes | str | Path) -> None:
    """Make the names in ``directory`` durable (fsync(2)).

    Raises:
        OSError: it cannot be opened or synced; ``filename`` names it.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with naming(directory):
            os.fsync(fd)
    finally:
        shut(fd)


def sync_readable(directory: bytes | str | Path) -> None:
    """As `sync_directory`, but one that may be written and not read (mode 0300) is left: only open files can be synced.

    Raises:
        OSError: it cannot be opened for another reason, or synced.
    """
    with contextlib.suppress(PermissionError):
        sync_directory(directory)
