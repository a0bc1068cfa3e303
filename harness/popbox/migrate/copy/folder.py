"""A mailbox's Maildir on the new host, whose insides belong to its owner: opened by descriptors, no link followed.

An import runs as root, and popuser can put a link into the place of any name in a box, at any time. So each use walks
from the trusted directory down, one name after the other; only where a directory is root's alone is a link of root's
followed, to a box that an operator keeps elsewhere. It is the twin of ``mailhost.system.beneath``, which popbox may not
import.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from popbox.errors import PopboxError

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class FolderError(PopboxError):
    """Something stands where a box has a folder; names the path and the rule."""


class Folder:
    """A Maildir below ``base``, which is trusted. Paths in it are octets."""

    def __init__(self, base: Path, maildir: Path) -> None:
        """``maildir`` lies below ``base``."""
        self.path = os.fsencode(maildir)
        self._base, self._names = base, [os.fsencode(name) for name in maildir.relative_to(base).parts]
        self._made: set[int] = set()  # how far down the folders lie in which one was made

    def make(self, owner: tuple[int, int] | None) -> None:
        """Make what is missing of it, 0700; the Maildir and what is in it is the ``owner``'s.

        Raises:
            FolderError: a link or another kind of file is in its place.
        """
        at = os.open(self._base, _FLAGS)
        try:
            for number, name in enumerate(self._names, start=1):
                at = self._down(at, number, name, owner if number == len(self._names) else None, make=True)
            for name in (b"tmp", b"new", b"cur"):
                os.close(self._down(os.dup(at), len(self._names) + 1, name, owner, make=True))
        finally:
            os.close(at)

    def owner(self) -> tuple[int, int]:
        """Whose the folder is that the Maildir lies in.

        Raises:
            FolderError: it cannot be opened as a directory.
        """
        at = os.open(self._base, _FLAGS)
        try:
            for number, name in enumerate(self._names[:-1], start=1):
                at = self._down(at, number, name, None)
            found = os.fstat(at)
        finally:
            os.close(at)
        return found.st_uid, found.st_gid

    @contextmanager
    def open(self, part: bytes) -> Iterator[int]:
        """A descriptor of tmp, new or cur.

        Raises:
            FolderError: it cannot be opened as a directory.
        """
        with self.open_parts((part,)) as at:
            yield at[part]

    @contextmanager
    def open_parts(self, parts: Collection[bytes]) -> Iterator[dict[bytes, int]]:
        """Descriptors of some of tmp, new and cur, by one walk.

        Raises:
            FolderError: one cannot be opened as a directory.
        """
        opened: dict[bytes, int] = {}
        at = os.open(self._base, _FLAGS)
        try:
            for number, name in enumerate(self._names, start=1):
                at = self._down(at, number, name, None)
            for part in parts:
                opened[part] = self._enter(at, len(self._names) + 1, part)
            yield opened
        finally:
            for one in (at, *opened.values()):
                os.close(one)

    def sync_made(self) -> None:
        """Make the names of the folders durable that `make` has made.

        Raises:
            FolderError: a link or another kind of file is in the place of one.
        """
        if not self._made:
            return
        at = os.open(self._base, _FLAGS)
        try:
            for number, name in enumerate(self._names):
                if number in self._made:
                    os.fsync(at)
                at = self._down(at, number + 1, name, None)
            os.fsync(at)
        finally:
            os.close(at)
        self._made.clear()

    def _down(self, above: int, number: int, name: bytes, owner: tuple[int, int] | None, *, make: bool = False) -> int:
        """One folder further; ``above`` is closed, unless this raises."""
        made = False
        if make:
            try:
                os.mkdir(name, 0o700, dir_fd=above)
                made = True
                self._made.add(number - 1)
            except FileExistsError:
                pass
        below = self._enter(above, number, name)
        if made and owner is not None:
            os.fchown(below, *owner)
        os.close(above)
        return below

    def _enter(self, above: int, number: int, name: bytes) -> int:
        """Open a folder in another one, which stays open."""
        try:
            return os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=above)
        except OSError as why:
            if not _roots_link(above, name):
                path = os.fsdecode(b"/".join([os.fsencode(self._base), *self._names, name][: number + 1]))
                raise FolderError(f"{path}: {_what(above, name, why)}") from why
            return os.open(name, _FLAGS, dir_fd=above)


def _what(above: int, name: bytes, why: OSError) -> str:
    """Why it cannot be entered, in words."""
    try:
        mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
    except OSError:
        return str(why.strerror)
    if stat.S_ISLNK(mode):
        return "is a link, which is not followed: a folder is wanted here"
    return str(why.strerror) if stat.S_ISDIR(mode) else "is no folder"


def _roots_link(above: int, name: bytes) -> bool:
    """Whether it is a link, and only root can have put it there."""
    try:
        link = os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return False
    holder = os.fstat(above)
    alone = holder.st_uid == link.st_uid == 0 and not holder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return alone and stat.S_ISLNK(link.st_mode)
