"""From the files of new/ and cur/ to messages: which file is one, and how large it is as RETR sends it.

A file is read once in its life to learn its size; after that ``snapshot`` knows it by inode and base name.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Generator, Iterator

from mailhost.pop3.maildrop.encoding import CHUNK_OCTETS, Measure, measure
from mailhost.pop3.maildrop.errors import refusal, skipped
from mailhost.pop3.maildrop.names import RACY_NS
from mailhost.pop3.maildrop.order import by_second, by_time, in_order
from mailhost.pop3.maildrop.snapshot import Found, Snapshot
from mailhost.pop3.protocol.listing import LARGE, Message, base_name

SLICE = 64
"""Files looked at between two yields of a scan: below 1 ms when they are in the page cache."""

PASSES = 3
"""A scan begins again this often while a reader renames messages."""

OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Scan:
    """The directories of one Maildir, read in slices. ``qmail_quirks``: sizes and order are qmail-pop3d's."""

    __slots__ = ("_doubt", "_fd", "_moved", "_path", "qmail_quirks", "snapshot")

    def __init__(self, path: bytes, *, qmail_quirks: bool, snapshot: Snapshot) -> None:
        self._fd = -1  # the Maildir, opened
        self._path = path
        self.qmail_quirks = qmail_quirks
        self.snapshot = snapshot
        self._doubt = self._moved = False

    def _stamps(self) -> tuple[int, ...]:
        """mtime, ctime and inode of new/ and cur/: a restored backup may bring back a date, but not a ctime."""
        try:
            new = os.stat("new", dir_fd=self._fd)
            cur = os.stat("cur", dir_fd=self._fd)
        except OSError as error:
            raise refusal(error, self._path) from None
        return new.st_mtime_ns, new.st_ctime_ns, new.st_ino, cur.st_mtime_ns, cur.st_ctime_ns, cur.st_ino

    def _read(self, before: Found, stamps: tuple[int, ...], now: float) -> Generator[None, None, Found]:
        """Read both directories again, taking over what is known of files that are still there.

        A message that a reader renames during the scan may be seen twice, or not at all: then the scan is repeated.
        """
        self._doubt = False
        if len(before.messages) > LARGE:
            yield  # what follows takes 10 ms for 100,000: not in the first slice, which is done on the loop
        earlier = {message.inode: message for message in before.messages}
        known = earlier
        for _ in range(PASSES):
            messages: list[Message] = []
            self._moved = False
            for folder in (b"new/", b"cur/"):
                yield from self._read_folder(folder, known, messages)
            if self.qmail_quirks or not self._renamed_since(stamps):
                break
            known = known | {message.inode: message for message in messages}
            stamps = self._stamps()
            yield
        if not self.qmail_quirks:
            messages = self._once(messages)
        changed = max(stamps[0], stamps[1], stamps[3], stamps[4])  # ctimes too: tar, rsync and touch put mtimes back
        settled = changed < int(now * 1e9) - RACY_NS
        messages = in_order(messages, by_second if self.qmail_quirks else by_time)
        found = Found(stamps if settled and not self._doubt else (), messages)
        found.earlier = earlier
        return found

    def _renamed_since(self, stamps: tuple[int, ...]) -> bool:
        """Whether messages were renamed while the directories were read: deliveries change new/ only."""
        return self._moved or self._stamps()[3:] != stamps[3:]

    def _once(self, messages: list[Message]) -> list[Message]:
        """A message seen under two names, by its last one; where both are there it is two messages, by hard links."""
        if len({message.inode for message in messages}) == len(messages):
            return messages
        last = {message.inode: message for message in messages}
        count = Counter(message.inode for message in messages)
        return [e for e in messages if count[e.inode] == 1 or e is last[e.inode] or self._exists(e.path)]

    def _read_folder(self, folder: bytes, earlier: dict[int, Message], messages: list[Message]) -> Iterator[None]:
        """Add what may be a message in one directory; a first look into a large box is this loop and little else."""
        look = self._stat if self.qmail_quirks else self._measure
        looked = 0
        try:
            with os.scandir(self._path + b"/" + folder) as found:
                for step, item in enumerate(found, 1):
                    if not step % SLICE:
                        yield
                    name = item.name
                    if name.startswith(b".") or not item.is_file(follow_symlinks=False):
                        continue
                    path = folder + name
                    message = earlier.get(item.inode())
                    if message is not None and message.path != path:
                        message = message._replace(path=path) if base_name(message.path) == base_name(path) else None
                    if message is None:
                        looked += 1
                        message = look(path)
                    if message is not None:
                        messages.append(message)
        except OSError as error:
            raise refusal(error, self._path) from None
        self.snapshot.looked += looked

    def _unread(self, error: OSError) -> None:
        """No message for this file; where it is there all the same, the next login looks again."""
        if skipped(error, self._path):
            self._moved = True
        else:
            self._doubt = True

    def _stat(self, path: bytes) -> Message | None:
        """The message of a file not seen before, with its size on disk; None where it has vanished."""
        try:
            found = os.stat(path, dir_fd=self._fd, follow_symlinks=False)
        except OSError as error:
            self._unread(error)
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return Message(path, base_name(path), found.st_size, 0, found.st_size, found.st_mtime_ns, found.st_ino)

    def _measure(self, path: bytes) -> Message | None:
        """The same with its size as sent, so it is read once; None also where it cannot be read."""
        try:
            fd = os.open(path, OPEN, dir_fd=self._fd)
        except OSError as error:
            self._unread(error)
            return None
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return None
            chunk = os.read(fd, CHUNK_OCTETS)
            size, flags = measure(chunk) if len(chunk) < CHUNK_OCTETS else _measure_long(fd, chunk)
        except OSError as error:
            self._unread(error)
            return None
        finally:
            os.close(fd)
        return Message(path, base_name(path), size, flags, found.st_size, found.st_mtime_ns, found.st_ino)

    def _exists(self, path: bytes) -> bool:
        try:
            os.lstat(path, dir_fd=self._fd)
        except FileNotFoundError:
            return False
        return True


def _measure_long(fd: int, chunk: bytes) -> tuple[int, int]:
    """``measure`` for a file that fills more than its first piece."""
    whole = Measure()
    while chunk:
        whole.feed(chunk)
        if chunk.count(b"\0") == len(chunk):
            whole.skip(_hole(fd))
        chunk = os.read(fd, CHUNK_OCTETS)
    return whole.result()


def _hole(fd: int) -> int:
    """Go on to where the file has data again; returns the octets between. A sparse file costs its owner no disk."""
    at = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        return os.lseek(fd, at, os.SEEK_DATA) - at
    except OSError as error:
        if error.errno == errno.ENXIO:  # a hole up to the end
            return os.lseek(fd, 0, os.SEEK_END) - at
        return os.lseek(fd, at, os.SEEK_SET) - at  # a file system that knows no holes
