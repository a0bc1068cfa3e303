"""An old host's files, named as they are named there, wherever the copy lies. Nothing here writes.

A path is the old host's own, absolute, as octets: ``/var/qmail/users/assign``. The copy may be of the whole root or of
one directory (``base``), so a path can lie outside of it. Links are followed as the old host would follow them, within
the copy only; a FIFO or device is never opened, and a file is opened only where every directory above it is no link.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from popbox.errors import PopboxError

CONFIG_OCTETS = 64 << 20  # our choice: users/assign of 500,000 boxes; a larger "configuration file" is none
CHUNK_OCTETS = 256 << 10
MOST_LINKS = 32  # our choice, as Linux's own limit is 40
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)

FILE, DIRECTORY, LINK, OTHER, ESCAPES, OUTSIDE = "file", "directory", "link", "other", "escapes", "outside"


class OldHostError(PopboxError):
    """Something of the old host cannot be read; names it and why."""


class Vanished(OldHostError):
    """A file was there when it was listed and is not now: fetched, deleted, or moved from new/ to cur/."""


class DirEntry(NamedTuple):
    """What stands at a path. ``kind`` is one of the six words above; ``target`` is where a link leads.

    ``links``: how many names the file has; ``inode``: device and number, equal for two names of one file.
    """

    kind: str
    size: int = 0
    mtime_ns: int = 0
    mode: int = 0
    uid: int = 0
    target: bytes = b""
    links: int = 1
    inode: tuple[int, int] = (0, 0)


class FileRequest(NamedTuple):
    """A file to be read whole: its real path (no links in it) and what the listing said of it."""

    path: bytes
    entry: DirEntry


Body = Iterator[bytes]


class OldHostTree(Protocol):
    """The old host. `Local` is a directory of this machine, `remote.Remote` is reached by ssh or docker."""

    name: str
    base: bytes
    denied: dict[bytes, str]
    """Directories that could not be looked into so far, and why: what seems absent below them may be there."""

    def prepare(self, paths: Iterable[bytes], *, deep: bool = True) -> None:
        """Announce what will be looked at, ``deep``: with all below it. A remote tree then asks once, not often."""

    def lstat(self, path: bytes) -> DirEntry | None:
        """What stands at a path whose directories are real; links are not followed. None: nothing."""

    def scan(self, path: bytes) -> list[tuple[bytes, DirEntry]]:
        """Names in a real directory, in order, with what each is.

        Raises:
            OldHostError: it cannot be read.
        """

    def read(self, path: bytes, most: int = CONFIG_OCTETS) -> bytes:
        """A regular file at a real path, whole.

        Raises:
            OldHostError: it cannot be read, or is larger than ``most`` octets.
        """

    def bodies(self, wanted: Iterable[FileRequest]) -> Iterator[tuple[FileRequest, Body | OldHostError]]:
        """The files one after the other, each to be read to its end before the next; those that are gone as errors."""


def resolve(tree: OldHostTree, path: bytes) -> bytes | None:
    """The real path: links followed, ``.`` and ``..`` gone. None where it leaves the copy, or links go round."""
    done: list[bytes] = []
    left = path.split(b"/")[::-1]
    links = 0
    while left:
        part = left.pop()
        if part == b"..":
            done = done[:-1]
        if part in (b"", b".", b".."):
            continue
        here = b"/" + b"/".join([*done, part])
        if not within(here, tree.base):
            if not within(tree.base, here):
                return None
            done.append(part)  # above the copy's own top, where nothing can be seen
            continue
        entry = tree.lstat(here) if here != tree.base else None
        if entry is not None and entry.kind == LINK:
            links += 1
            if links > MOST_LINKS:
                return None
            left += entry.target.split(b"/")[::-1]
            done = [] if entry.target.startswith(b"/") else done
            continue
        done.append(part)
    real = b"/" + b"/".join(done)
    return real if within(real, tree.base) else None


def within(path: bytes, top: bytes) -> bool:
    """Whether a path is ``top`` or lies below it."""
    return top == b"/" or path == top or path.startswith(top + b"/")


def look(tree: OldHostTree, path: bytes) -> tuple[bytes, DirEntry | None]:
    """The real path and what stands there, links followed; ESCAPES and OUTSIDE say that the copy does not hold it."""
    if b"\0" in path or not path.startswith(b"/"):
        return path, None
    path = b"/" + path.lstrip(b"/")
    if not within(os.path.normpath(path), tree.base):
        return path, DirEntry(OUTSIDE)
    real = resolve(tree, path)
    if real is None:
        return path, DirEntry(ESCAPES)
    return real, tree.lstat(real)


def hidden(tree: OldHostTree, path: bytes) -> str:
    """Why a path that seems absent may be there on the old host all the same; empty where it is not.

    A directory above it is denied; a link on its way, or its first directory, leads to nothing here: then SOURCE is a
    copy of one disk of more.
    """
    real = resolve(tree, path) or path
    why = next((why for top, why in tree.denied.items() if within(real, top)), "")
    if why:
        return why
    if _dangles(tree, path):
        return f"a link leads to {os.fsdecode(real)!a}, which is not there"
    first = b"/" + real[len(tree.base) :].lstrip(b"/").partition(b"/")[0] if tree.base == b"/" else tree.base
    return "" if tree.lstat(first) or first == tree.base else f"{tree.name} has no {os.fsdecode(first)!a}"


def _dangles(tree: OldHostTree, path: bytes) -> bool:
    """Whether the nearest thing on the way to a missing path is a link that leads to nothing."""
    while path.strip(b"/") and path != tree.base:
        above, _, name = path.rstrip(b"/").rpartition(b"/")
        real = resolve(tree, above or b"/")
        entry = None if real is None else tree.lstat(real.rstrip(b"/") + b"/" + name)
        if entry is not None or real is None or real == tree.base or tree.lstat(real) is not None:
            return entry is not None and entry.kind == LINK
        path = above
    return False


def read_text(tree: OldHostTree, path: bytes, most: int = CONFIG_OCTETS) -> bytes | None:
    """A configuration file, links followed; None where there is none.

    Raises:
        OldHostError: it is no regular file, leads out of the copy, or cannot be read.
    """
    real, entry = look(tree, path)
    if entry is None or entry.kind == OUTSIDE:
        return None
    if entry.kind != FILE:
        raise OldHostError(
            "leads out of the copy" if entry.kind == ESCAPES else f"is no regular file but a {entry.kind}"
        )
    return tree.read(real, most)


class Local:
    """A directory of this machine that stands for ``base`` of the old host."""

    def __init__(self, top: bytes, base: bytes) -> None:
        """``top`` exists; ``base`` is absolute and normal."""
        self.name, self.base, self.denied = os.fsdecode(top), base, dict[bytes, str]()
        self._top = top.rstrip(b"/") or b"/"
        self._held: tuple[bytes, int] | None = None  # the directory that files were opened in last

    def prepare(self, paths: Iterable[bytes], *, deep: bool = True) -> None:
        """See OldHostTree: here each look is cheap."""

    def _here(self, path: bytes) -> bytes:
        return os.path.join(self._top, path[len(self.base) :].lstrip(b"/"))

    def lstat(self, path: bytes) -> DirEntry | None:
        """See OldHostTree."""
        try:
            return _entry(os.lstat(self._here(path)), self._here(path))
        except ValueError:
            return None
        except OSError as why:
            if why.errno not in ABSENT:
                self.denied[self._seen(path)] = f"cannot be looked into: {why.strerror}"
            return None

    def _seen(self, path: bytes) -> bytes:
        """The nearest directory above that can be seen itself."""
        while len(path) > len(self.base):
            path = path.rpartition(b"/")[0] or b"/"
            if os.path.lexists(self._here(path)):
                break
        return path

    def scan(self, path: bytes) -> list[tuple[bytes, DirEntry]]:
        """See OldHostTree."""
        found = []
        try:
            with self._directory(path) as at:
                for name in sorted(map(os.fsencode, os.listdir(at))):
                    try:
                        found.append((name, _entry(os.stat(name, dir_fd=at, follow_symlinks=False))))
                    except FileNotFoundError:
                        continue  # delivered, fetched or moved since the listing
        except OSError as why:
            raise OldHostError(f"cannot be listed: {why.strerror}") from why
        return found

    def read(self, path: bytes, most: int = CONFIG_OCTETS) -> bytes:
        """See OldHostTree."""
        try:
            with self._opened(path) as file:
                if os.fstat(file).st_size > most:
                    raise OldHostError(f"is larger than {most} octets")
                octets = b"".join(_chunks(file, most + 1))
        except OSError as why:
            raise OldHostError(f"cannot be read: {why.strerror}") from why
        if len(octets) > most:
            raise OldHostError(f"is larger than {most} octets")
        return octets

    def bodies(self, wanted: Iterable[FileRequest]) -> Iterator[tuple[FileRequest, Body | OldHostError]]:
        """See OldHostTree."""
        for one in wanted:
            try:
                with self._opened(one.path) as file:
                    yield one, _chunks(file)
            except FileNotFoundError:
                yield one, Vanished("has vanished")
            except OSError as why:
                yield one, OldHostError(f"cannot be read: {why.strerror}")

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        """Open a regular file below directories that are no links; a FIFO put in its place does not block us."""
        parent, _, name = path.rpartition(b"/")
        with self._directory(parent or b"/") as at:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=at)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(0, "no regular file")
            yield file
        finally:
            os.close(file)

    @contextmanager
    def _directory(self, path: bytes) -> Iterator[int]:
        """A descriptor of a directory, reached one component at a time, none of them a link; the last one is kept."""
        if self._held is None or self._held[0] != path:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            at = os.open(self._top, flags)
            for part in path[len(self.base) :].strip(b"/").split(b"/"):
                try:
                    below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=at) if part else os.dup(at)
                finally:
                    os.close(at)
                at = below
            if self._held is not None:
                os.close(self._held[1])
            self._held = path, at
        yield self._held[1]


def _entry(status: os.stat_result, link: bytes = b"") -> DirEntry:
    """``link``: where to read the target of a link; without it this one is not followed."""
    mode = status.st_mode
    kind = FILE if stat.S_ISREG(mode) else DIRECTORY if stat.S_ISDIR(mode) else LINK if stat.S_ISLNK(mode) else OTHER
    target = os.readlink(link) if link and kind == LINK else b""
    inode = status.st_dev, status.st_ino
    times = status.st_size, status.st_mtime_ns
    return DirEntry(kind, *times, stat.S_IMODE(mode), status.st_uid, target, status.st_nlink, inode)


def _chunks(file: int, most: int = 1 << 62) -> Body:
    try:
        while chunk := os.read(file, min(CHUNK_OCTETS, most)):
            most -= len(chunk)
            yield chunk
    except OSError as why:
        raise OldHostError(f"cannot be read: {why.strerror}") from why
