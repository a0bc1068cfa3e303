"""A host's files that lie below a directory of this machine: paths are the host's own, links are followed as it would.

Nothing outside of the directory is read, whatever a link says, and nothing is written.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST_LINKS = 40  # as Linux
MOST_PATH = 4095  # as Linux
KEPT = 1 << 16  # our choice: directories whose real paths are remembered


class NotJudgedError(Exception):
    """What an address does depends on something that cannot be seen from here; the text names it."""


class Tree:
    """A host's root, or one directory of it, ``base``, that lies at ``top`` of this machine."""

    def __init__(self, top: Path, base: str = "/") -> None:
        """``base``: absolute, without a slash at its end; ``top`` exists.

        Raises:
            OSError: ``top`` is no directory.
        """
        self.base = os.fsencode(base).rstrip(b"/")
        self._top = os.fsencode(top.resolve(strict=True)).rstrip(b"/")
        self._real: dict[bytes, bytes] = {}
        self._last: tuple[bytes, tuple[bytes, os.stat_result]] = (b"", (b"", os.lstat(self._top or b"/")))

    def here(self, real: bytes) -> bytes:
        """Where a real path of the host lies on this machine."""
        return self._top + real[len(self.base) :] or b"/"

    def look(self, path: bytes) -> tuple[bytes, os.stat_result]:
        """The real path of the host, and what stands there.

        Raises:
            OSError: as stat would raise it on the host.
            NotJudgedError: it is not below the directory.
        """
        if path == self._last[0] and path:
            return self._last[1]
        found = self._look(path)
        self._last = path, found
        return found

    def _look(self, path: bytes) -> tuple[bytes, os.stat_result]:
        path = path.rstrip(b"/")
        parent, _, name = path.rpartition(b"/")
        if name in (b"", b".", b".."):
            real = self._walk(path)
            return real, os.lstat(self.here(real))
        above = self._real.get(parent)
        if above is None:
            above = self._walk(parent)
            if len(self._real) >= KEPT:
                self._real.clear()
            self._real[parent] = above
        real = above + b"/" + name
        if not self._inside(real) or len(path) > MOST_PATH:
            return self._walked(path)
        status = os.lstat(self.here(real))
        return self._walked(path) if stat.S_ISLNK(status.st_mode) else (real, status)

    def names(self, directory: bytes) -> list[bytes]:
        """The names in a directory, in order; none where there is no such directory.

        Raises:
            NotJudgedError: it cannot be listed by us.
        """
        try:
            real, status = self.look(directory)
            return sorted(os.listdir(self.here(real))) if stat.S_ISDIR(status.st_mode) else []
        except PermissionError as error:
            raise NotJudgedError(f"{os.fsdecode(directory)} cannot be listed: {error.strerror}") from error
        except OSError:
            return []

    def read(self, real: bytes, most: int) -> tuple[bytes, os.stat_result] | None:
        """A regular file at a real path, up to ``most`` + 1 octets; None where something else stands there by now.

        Raises:
            NotJudgedError: we may not read it.
        """
        here = self.here(real)
        try:
            fd = os.open(here, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except PermissionError as error:
            raise NotJudgedError(f"{os.fsdecode(here)} cannot be read: {error.strerror}") from error
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            moved = os.readlink(b"/proc/self/fd/%d" % fd) != here  # a directory above it was replaced by a link
            if moved or not stat.S_ISREG(status.st_mode):
                return None
            return os.read(fd, min(most + 1, status.st_size + 1)) if status.st_size else b"", status
        finally:
            os.close(fd)

    def _inside(self, real: bytes) -> bool:
        return real.startswith(self.base + b"/") or real == self.base

    def _walked(self, path: bytes) -> tuple[bytes, os.stat_result]:
        real = self._walk(path)
        return real, os.lstat(self.here(real))

    def _walk(self, path: bytes) -> bytes:
        """The real path, one component at a time; without the slash of the root."""
        if len(path) > MOST_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        real, links = b"", 0
        left = path.split(b"/")[::-1]
        while left:
            part = left.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                real = real.rpartition(b"/")[0]
                continue
            at = real + b"/" + part
            if not self._inside(at):
                if not self.base.startswith(at + b"/"):
                    raise NotJudgedError(f"{os.fsdecode(path)} is not in the copy")
                real = at
                continue
            if at != self.base:
                status = os.lstat(self.here(at))
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    if links > MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                    target = os.readlink(self.here(at))
                    left += target.split(b"/")[::-1]
                    real = b"" if target.startswith(b"/") else real
                    continue
            real = at
        return real


class TreeHome:
    """A qmail home in a tree, for readers that join file names to it with ``/``."""

    def __init__(self, tree: Tree, home: bytes) -> None:
        """``home``: its path on the host."""
        self._tree, self._home = tree, home

    def __truediv__(self, name: str, /) -> Path:
        """Where the file lies on this machine.

        Raises:
            OSError: there is none.
            NotJudgedError: a link leads out of the tree.
        """
        real, _ = self._tree.look(self._home + b"/" + os.fsencode(name))
        return Path(os.fsdecode(self._tree.here(real)))
