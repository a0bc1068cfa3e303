"""A directory removed with all in it, while another user may still be working there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
TRIES = 100
"""Removal begins again this often where a program makes files there. Once root owns the directory, none can."""


def remove_directory(above: int, name: str) -> None:
    """Remove the directory ``name`` of the directory ``above``.

    As root, directories are taken over first, so that no other user makes new files there. What lies deep is moved
    up, so that neither the stack nor descriptors run out.

    Raises:
        OSError: something there cannot be removed, or a program makes new files faster than they are removed.
    """
    tries = iter(range(TRIES))
    while True:
        top = _taken(above, name)
        try:
            _empty(top, tries)
        finally:
            os.close(top)
        if _is_gone(above, name, tries):
            return


def _empty(top: int, tries: Iterator[int]) -> None:
    """Remove what is in a directory; the directories within are emptied into it, one level at a time."""
    base, number = secrets.token_hex(8), 0
    while below := _unlink_files(top):
        for name in below:
            inner = _taken(top, name)
            try:
                for deeper in _unlink_files(inner):
                    number += 1
                    os.close(_taken(inner, deeper))  # who moves a directory must be able to write in it
                    os.rename(deeper, f".{base}-{number}", src_dir_fd=inner, dst_dir_fd=top)
            finally:
                os.close(inner)
            _is_gone(top, name, tries)


def _is_gone(above: int, name: str, tries: Iterator[int]) -> bool:
    """Remove an emptied directory; False where a program has put something into it since, and a try is left."""
    try:
        os.rmdir(name, dir_fd=above)
    except FileNotFoundError:
        return True
    except OSError as why:
        if why.errno != errno.ENOTEMPTY or next(tries, None) is None:
            raise
        return False
    return True


def _taken(directory: int, name: str) -> int:
    """Open a directory and make it ours alone."""
    if os.geteuid() != 0 and stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        os.chmod(name, 0o700, dir_fd=directory)  # its own owner may have shut it for himself
    descriptor = os.open(name, _FLAGS, dir_fd=directory)
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, 0o700)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _unlink_files(directory: int) -> list[str]:
    """Remove all that is no directory; returns the names of the directories."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
    return [name for name, is_directory in found if is_directory]
