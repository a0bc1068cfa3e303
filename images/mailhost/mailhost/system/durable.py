"""Octets and names that are on the disk when a call returns, and descriptors given back without a word."""

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
    """Write all of it: a regular file takes less than asked only when the disk is full, and then says so."""
    with memoryview(octets) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


def shut(fd: int) -> None:
    """Give back a descriptor of which nothing is to come: only read from, synced before, or given up. Never raises.

    Linux gives it back also where close(2) reports an error, which here would only turn a success into a failure.
    """
    with contextlib.suppress(OSError):
        os.close(fd)


def sync_directory(directory: bytes | str | Path) -> None:
    """Make the names in ``directory`` durable. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with naming(directory):
            os.fsync(fd)
    finally:
        shut(fd)
