"""Writing so that a reader sees the old file or the new one, whole, whatever happens in between.

A new text is first *staged*: written beside its target under a dot name (the HOWTO's ``cat users/domains/*`` does not
pick it up), given the target's owner and mode, and fsynced. *Publishing* is one rename and an fsync of the directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mailhost.accounts.errors import BusyError, HostError
from mailhost.system.durable import sync_directory, write_all

SUFFIX = ".mailhost-new"
Fill = Callable[[int], None]
"""Writes a file's content to the descriptor it is given."""


class Mark(NamedTuple):
    """Which file it was that we read or wrote: a change of any of these means that someone else wrote since."""

    inode: int
    mtime_ns: int
    octets: int

    @classmethod
    def of(cls, status: os.stat_result) -> Mark:
        """The mark in what stat(2) said."""
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)


TICK_NS = 10_000_000
"""The kernel's clock for file times may stand still for so long (1/HZ, HZ at least 100): two writes get one time."""


def mark(path: Path) -> Mark | None:
    """The mark of the file at a path, None where there is none."""
    try:
        return Mark.of(path.stat())
    except FileNotFoundError:
        return None


def mark_to_read(look: Callable[[], os.stat_result]) -> Mark:
    """The mark of a file that is read next, such that every later write changes it.

    A file written a moment ago is waited for: another write in the same tick of the clock would leave no trace.
    ``look`` is stat(2) of that file.
    """
    for _ in range(20):  # a program that writes all the time is noticed too: by size, or at the end
        status = look()
        age_ns = time.time_ns() - status.st_mtime_ns
        if not 0 <= age_ns < TICK_NS:
            break
        time.sleep((TICK_NS - age_ns) / 1e9)
    return Mark.of(status)


def staged_name(path: Path, number: int = 0) -> Path:
    """Where a new text for ``path`` is staged; ``number`` tells two texts of one change apart."""
    return path.with_name(f".{path.name}{SUFFIX}{number or ''}")


def stage(path: Path, fill: Fill | bytes, mode: int, number: int = 0) -> Path:
    """Stage a new text for ``path``, with the mode and owner of the file that stands there, else ``mode`` and ours.

    Raises:
        BusyError: the disk is full, the directory is missing, or something else the system refuses.
        HostError: the owner of the existing file cannot be kept by this process.
    """
    staged = staged_name(path, number)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        staged.unlink(missing_ok=True)
        descriptor = os.open(staged, flags, 0o600)
        try:
            if isinstance(fill, bytes):
                write_all(descriptor, fill)
            else:
                fill(descriptor)
            _dress(descriptor, path, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as why:
        staged.unlink(missing_ok=True)
        raise BusyError(f"{path}: cannot be written: {why.strerror}") from why
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    return staged


def remove_staged(directory: Path) -> None:
    """Remove what a writer left that died before its change was to happen; only under the writers' lock."""
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            ours = entry.name.startswith(".") and entry.name.rstrip("0123456789").endswith(SUFFIX)
            if ours and not entry.is_dir(follow_symlinks=False):  # in alias/ its owner may have made one
                Path(entry.path).unlink(missing_ok=True)


def _dress(descriptor: int, path: Path, mode: int) -> None:
    """Give the staged file the mode and owner of the one it will replace; of a link the owner, never its target's."""
    try:
        old = path.lstat()
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        return
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError as why:
            raise HostError(f"{path}: belongs to {old.st_uid}:{old.st_gid}, which this user cannot keep") from why
    os.fchmod(descriptor, old.st_mode & 0o777 if stat.S_ISREG(old.st_mode) else mode)


def publish(staged: Path, path: Path) -> None:
    """Put a staged file in its place, for good."""
    staged.replace(path)
    sync_directory(path.parent)


def make_directory(path: Path, owner: tuple[int, int] | None = None) -> None:
    """Make a directory that everybody may search, whatever the umask; it appears with its mode and owner or not at all.

    Raises:
        OSError: the system refuses.
    """
    staged = staged_name(path)
    with contextlib.suppress(FileNotFoundError):
        staged.rmdir()  # a crash left it
    staged.mkdir()
    staged.chmod(0o755)
    if owner is not None:
        os.chown(staged, *owner)
    staged.rename(path)
    sync_directory(path.parent)


def put_small(path: Path, text: bytes, mode: int) -> None:
    """Put a file of ours in its place, whole, outside of any change: under a staged name that is its own.

    Raises:
        BusyError: the system refuses.
    """
    staged = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(staged, flags, mode)
        try:
            os.fchmod(descriptor, mode)  # whatever the umask
            write_all(descriptor, text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        staged.replace(path)
    except OSError as why:
        raise BusyError(f"{path}: cannot be written: {why.strerror}") from why


def take_lock(path: Path, wait_s: float) -> int:
    """Hold a lock file, which is made where it is missing, until the descriptor returned is closed.

    Raises:
        BusyError: another process holds it, for longer than that.
        OSError: it cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise BusyError(f"another mailhost holds {path} for {wait_s:.0f} s; try again") from None
            time.sleep(0.05)
        except OSError:
            os.close(descriptor)
            raise
        else:
            return descriptor


def make_private(path: Path) -> None:
    """Make a directory for its owner alone, where it is missing.

    Raises:
        BusyError: the system refuses, or what is there is no directory, or another user's.
    """
    try:
        path.mkdir(mode=0o700)
        sync_directory(path.parent)
    except FileExistsError:
        found = path.lstat()  # popboxes may be popuser's, who could put a link there
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise BusyError(f"{path}: is not a directory of uid {os.geteuid()}; move it elsewhere") from None
    except OSError as why:
        raise BusyError(f"{path}: cannot be made: {why.strerror}") from why


def copy_range(source: int, target: int, start: int, end: int) -> None:
    """Append the octets [start, end) of one open file to another, inside the kernel where it can."""
    while start < end:
        try:
            copied = os.copy_file_range(source, target, end - start, offset_src=start)
        except OSError:  # another file system, or one that cannot: by hand
            copied = 0
        if not copied:
            block = os.pread(source, min(end - start, 1 << 20), start)
            if not block:
                return
            write_all(target, block)
            copied = len(block)
        start += copied
