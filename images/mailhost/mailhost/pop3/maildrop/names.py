"""File names that change under a session: messages found again by base name, moved without overwriting any.

By maildir(5) the part of a name before the first colon stays, the rest and the folder do not: mutt and IMAP servers
move messages from new/ to cur/ and set flags there while a POP3 session has them listed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Callable
from typing import TypeVar

from mailhost.pop3.protocol.listing import Message, base_name

TRIES = 64
"""A name is looked up this often while a program changes it faster than it can be used."""

FREE_S = 0.05
SHARE = 0.1
"""A session may read directories again for 50 ms and a tenth of its time: a flood of RETRs delays no other session."""

RACY_NS = 2_000_000_000
"""A directory changed less than this before it was read may change again without a new mtime (coarse clocks)."""

T = TypeVar("T")

_NOREPLACE = 1
_UNKNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})
_renameat2 = ctypes.CDLL(None, use_errno=True).renameat2


def same_file(found: os.stat_result, message: Message) -> bool:
    """Whether a file can be the one that was listed.

    Either mark is enough: some network filesystems renumber inodes, and a message edited in place keeps its inode.
    """
    return found.st_ino == message.inode or (found.st_mtime_ns, found.st_size) == (message.mtime_ns, message.disk)


def rename_new(source: bytes, target: bytes, fd: int) -> None:
    """Rename below the directory ``fd``; what is there already stays (renameat2(2), RENAME_NOREPLACE).

    Where the filesystem (NFS) cannot do that in one step, it takes two: look, then rename.

    Raises:
        FileExistsError: ``target`` is taken.
        OSError: as rename(2).
    """
    if not _renameat2(fd, source, fd, target, _NOREPLACE):
        return
    number = ctypes.get_errno()
    if number not in _UNKNOWN:
        raise OSError(number, os.strerror(number), os.fsdecode(target))
    try:
        os.lstat(target, dir_fd=fd)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=fd, dst_dir_fd=fd)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(target))


class Names:
    """Where the messages of one Maildir lie now, by base name; read only when a message was not in its place."""

    __slots__ = ("_began", "_path", "_places", "_seen", "_spent")

    def __init__(self, path: bytes) -> None:
        """``path`` is the Maildir."""
        self._path = path
        self._places: dict[bytes, list[bytes]] = {}
        self._seen: tuple[int, ...] = ()
        self._began = time.monotonic()
        self._spent = 0.0

    def use(self, message: Message, action: Callable[[bytes], T]) -> T:
        """``action(path)`` with the path of a message that is not where it was listed.

        ``action`` raises FileNotFoundError where that is not the message; then the next name is tried.

        Raises:
            FileNotFoundError: the message has gone, or the session has looked too often.
            OSError: what ``action`` raises otherwise.
        """
        name, absent = base_name(message.path), 0
        for _ in range(TRIES):
            paths = self._places.get(name, ())
            for path in paths:
                try:
                    return action(path)
                except FileNotFoundError:
                    continue
            absent += not paths
            if absent > 2 or not self._look():  # twice: a reader that renames may hide a file from one look
                break
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(message.path))

    def _look(self) -> bool:
        """Read both directories; False where that can bring nothing new, or has taken too long already."""
        began = time.monotonic()
        if self._spent > FREE_S + SHARE * (began - self._began):
            return False
        try:
            seen = self._stamps()
            if seen == self._seen:
                return False
            places: dict[bytes, list[bytes]] = {}
            for folder in (b"new/", b"cur/"):  # in this order a message that moves is seen twice rather than not at all
                for name in os.listdir(self._path + b"/" + folder):
                    path = folder + name
                    places.setdefault(base_name(path), []).append(path)
        except OSError:
            return False
        settled = max(seen, default=0) < time.time_ns() - RACY_NS
        self._places, self._seen = places, seen if settled else ()
        self._spent += time.monotonic() - began
        return True

    def _stamps(self) -> tuple[int, ...]:
        found = [os.stat(self._path + folder) for folder in (b"/new", b"/cur")]
        return tuple([stamp for one in found for stamp in (one.st_mtime_ns, one.st_ctime_ns)])
