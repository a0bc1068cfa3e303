"""Files below a directory of ours whose contents belong to another user: named by descriptors, and no link is followed.

Root opens, makes, gives away and removes things in boxes that belong to popuser, who can put a link, a FIFO or a hard
link to a file of root's in the place of any name there, also between a look and what follows it. So every path is
walked component by component (openat, O_NOFOLLOW), and what was reached is looked at by its descriptor before it is
used: its kind always, and that it has no second name before it is given away.

One exception, for operators who keep boxes on another disk: in a directory that is root's and that no other user
may write, a link that is root's is followed, because no other user can have put it there.

Sources: open(2), openat(2), path_resolution(7), proc_sys_fs(5) on protected_hardlinks (0 is the kernel's own default).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from mailhost.system.durable import write_all
from mailhost.system.reading import Refused, read_bounded
from mailhost.system.removal import remove_directory

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a symbolic link, which is not followed",
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Beneath:
    """A directory of ours, by its descriptor; paths are relative to it, with ``/`` between their components.

    Every method raises `Refused` for what may not be used, and OSError for what the system refuses; both name the whole
    path. As a context manager it closes what it holds.
    """

    def __init__(self, top: Path | str, descriptor: int | None = None) -> None:
        """Open ``top``, whose own path is trusted; or take a descriptor of it, which is closed with this one.

        Raises:
            OSError: it is missing, or no directory.
        """
        self.top = os.fspath(top)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._top = os.open(self.top, flags) if descriptor is None else descriptor
        self._held: tuple[str, int] | None = None  # the directory on the first level that was asked for last

    def __enter__(self) -> Beneath:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The directory itself."""
        return self._top

    def close(self) -> None:
        """Close what is held."""
        self._let_go()
        os.close(self._top)

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held[1])
            self._held = None

    def below(self, path: str) -> Beneath:
        """A directory as a tree of its own: what is done in it is not walked to from the top each time.

        It stays the directory that it is when that gets another name.
        """
        return Beneath(self._shown(path), self._reach(path))

    @contextlib.contextmanager
    def directory(self, path: str) -> Iterator[int]:
        """A descriptor of a directory; of the top itself for an empty path."""
        descriptor = self._reach(path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _parent(self, path: str, *, own: bool = False) -> _Parent:
        """The directory that holds a name, and the name; errors in between get the whole path.

        Unless the descriptor is its ``own``, no other path may be walked to before its end.
        """
        return _Parent(self, path, own=own)

    def _reach(self, path: str) -> int:
        """A descriptor of a directory, for the caller to close."""
        if not path:
            return os.dup(self._top)
        parts = path.split("/")
        self._check(path, parts)
        return self._walk(parts)

    def _walk(self, parts: list[str]) -> int:
        """The same, by components that are checked; at least one."""
        held = descriptor = self._hold(parts[0])
        for number, name in enumerate(parts[1:], start=2):
            try:
                below = self._down(descriptor, name, "/".join(parts[:number]))
            finally:
                if descriptor != held:
                    os.close(descriptor)
            descriptor = below
        return os.dup(held) if descriptor == held else descriptor

    def _hold(self, name: str) -> int:
        """A descriptor of a directory on the first level, ours until another one is asked for."""
        if self._held is None or self._held[0] != name:
            self._let_go()
            self._held = name, self._down(self._top, name, name)
        return self._held[1]

    def _check(self, path: str, parts: list[str]) -> None:
        """Neither an empty component nor one that leads elsewhere."""
        if "" in parts or "." in parts or ".." in parts or "\0" in path:
            raise Refused(errno.EINVAL, f"leads out of {self.top}, or nowhere", self._shown(path))

    def _down(self, directory: int, name: str, path: str) -> int:
        """Open one directory of a directory."""
        try:
            return os.open(name, _FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        except OSError as why:
            found = _lstat(directory, name)
            if found is None or stat.S_ISDIR(found.st_mode):
                raise OSError(why.errno, why.strerror, self._shown(path)) from None
            if stat.S_ISLNK(found.st_mode) and _roots_alone(directory, found):
                return os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=directory)
            raise self._refuse(path, found, "a directory is wanted here") from None

    def _refuse(self, path: str, found: os.stat_result, rule: str) -> Refused:
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "of an unknown kind")
        number = errno.ELOOP if stat.S_ISLNK(found.st_mode) else errno.ENOTDIR
        return Refused(number, f"is {kind}: {rule}", self._shown(path))

    def _shown(self, path: str) -> str:
        return f"{self.top}/{path}" if path else self.top

    def lstat(self, path: str) -> os.stat_result | None:
        """What stands at a path, which is not followed; None where nothing does."""
        try:
            with self._parent(path) as (directory, name):
                return _lstat(directory, name)
        except FileNotFoundError:
            return None

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted; none where it is missing."""
        try:
            with self.directory(path) as directory:
                return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def read(self, path: str, most: int, owner: int) -> bytes | None:
        """The octets of a regular file, None where there is none (a FIFO or a device counts as none, Q-DOT-7).

        Raises:
            TooLarge: it has more than ``most`` octets.
            Refused: it is a link, or it has a second name and is not ``owner``'s, who may have made the one here.
        """
        try:
            with self._parent(path) as (directory, name):
                return self._read(directory, name, path, most, owner)
        except FileNotFoundError:
            return None

    def _read(self, directory: int, name: str, path: str, most: int, owner: int) -> bytes | None:
        found = _lstat(directory, name)
        if found is not None and stat.S_ISLNK(found.st_mode):
            raise self._refuse(path, found, "it may lead anywhere")
        if found is None or not stat.S_ISREG(found.st_mode):
            return None
        descriptor = os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=directory)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return None
            if found.st_nlink > 1 and found.st_uid != owner:
                raise Refused(errno.EPERM, _second_name(found), self._shown(path))
            return read_bounded(descriptor, most, self._shown(path), found.st_size)
        finally:
            os.close(descriptor)

    def make_private(self, path: str) -> Beneath:
        """Make a directory, 0700 and still this user's own, as a tree of its own: no other user gets into it.

        Raises:
            FileExistsError: there is something of that name.
        """
        with self._parent(path) as (directory, name):
            os.mkdir(name, 0o700, dir_fd=directory)
            made = Beneath(self._shown(path), self._down(directory, name, path))
        try:
            if os.fstat(made.fileno()).st_uid != os.geteuid():
                raise Refused(errno.EPERM, "was exchanged for another one as soon as it was made", made.top)
            os.fchmod(made.fileno(), 0o700)
        except OSError:
            made.close()
            raise
        return made

    def make(self, path: str, mode: int, owner: tuple[int, int] | None = None) -> None:
        """Make a directory, and give it to ``owner`` where one is given.

        Raises:
            FileExistsError: there is something of that name.
        """
        with self._parent(path) as (directory, name):
            os.mkdir(name, 0o700, dir_fd=directory)
            made = self._down(directory, name, path)
            try:
                if owner is not None:
                    os.fchown(made, *owner)
                os.fchmod(made, mode)
            finally:
                os.close(made)

    def write(self, path: str, text: bytes, mode: int, owner: tuple[int, int] | None, *, sync: bool) -> None:
        """Make a new file.

        Raises:
            FileExistsError: there is something of that name.
        """
        with self._parent(path) as (directory, name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600, dir_fd=directory)
            try:
                write_all(descriptor, text)
                if owner is not None:
                    os.fchown(descriptor, *owner)
                os.fchmod(descriptor, mode)
                if sync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def rename(self, path: str, target: str, *, replace: bool = False) -> None:
        """Give a file or directory another name; the name itself is moved where it is a link.

        Raises:
            FileExistsError: there is something of that name, and ``replace`` was not said.
        """
        with self._parent(path, own=True) as (source, old), self._parent(target) as (directory, new):
            if not replace and _lstat(directory, new) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._shown(target))
            os.rename(old, new, src_dir_fd=source, dst_dir_fd=directory)
        self._let_go()  # it may have been the one that was moved

    def sync(self, path: str) -> None:
        """Make the names in a directory durable."""
        with self.directory(path) as directory:
            os.fsync(directory)

    def unlink(self, path: str) -> None:
        """Remove a name that is no directory; nothing happens where there is none."""
        with contextlib.suppress(FileNotFoundError), self._parent(path) as (directory, name):
            os.unlink(name, dir_fd=directory)

    def give(self, path: str, uid: int, gid: int) -> None:
        """chown, of a directory."""
        with self.directory(path) as descriptor:
            os.fchown(descriptor, uid, gid)

    def shut(self, path: str, mode: int) -> None:
        """chmod, of a directory, or of a regular file that has no other name."""
        with self._parent(path) as (directory, name):
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                descriptor = self._down(directory, name, path)
            else:
                self._has_one_name(path, found)  # before it is opened: opening a device may already do something
                descriptor = os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=directory)
            try:
                if not stat.S_ISDIR(found.st_mode):
                    self._has_one_name(path, os.fstat(descriptor))
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)

    def _has_one_name(self, path: str, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._refuse(path, found, "only the mode of files and directories is changed")
        if found.st_nlink > 1:
            raise Refused(errno.EPERM, _second_name(found), self._shown(path))

    def remove_empty(self, path: str) -> None:
        """Remove a directory with nothing in it."""
        with self._parent(path) as (directory, name):
            os.rmdir(name, dir_fd=directory)
        self._let_go()

    def remove(self, path: str) -> None:
        """Remove whatever stands there, a directory with all in it; nothing happens where nothing does.

        Raises:
            OSError: something there cannot be removed, see `remove_directory`.
        """
        with contextlib.suppress(FileNotFoundError), self._parent(path) as (directory, name):
            found = _lstat(directory, name)
            if found is not None and not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=directory)
            elif found is not None:
                remove_directory(directory, name)
        self._let_go()


class _Parent:
    """A name and its directory; by `contextlib` it costs as much as a call of the system, twice for each box."""

    __slots__ = ("borrowed", "descriptor", "path", "tree")

    def __init__(self, tree: Beneath, path: str, *, own: bool) -> None:
        self.tree, self.path, self.borrowed = tree, path, not own

    def __enter__(self) -> tuple[int, str]:
        tree, parts = self.tree, self.path.split("/")
        tree._check(self.path, parts)
        if len(parts) == 1:
            self.descriptor, self.borrowed = tree._top, True
        elif len(parts) == 2 and self.borrowed:
            self.descriptor = tree._hold(parts[0])
        else:
            self.descriptor, self.borrowed = tree._walk(parts[:-1]), False
        return self.descriptor, parts[-1]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.borrowed:
            os.close(self.descriptor)
        if isinstance(error, OSError) and not os.fsdecode(error.filename or "").startswith("/"):
            raise OSError(error.errno, error.strerror, self.tree._shown(self.path)) from error


def _lstat(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _roots_alone(directory: int, link: os.stat_result) -> bool:
    """Whether only root can have put a link into a directory."""
    holder = os.fstat(directory)
    return holder.st_uid == link.st_uid == 0 and not holder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _second_name(found: os.stat_result) -> str:
    return f"is uid {found.st_uid}'s file of {found.st_nlink} names (hard links): the others may lie anywhere"
