"""A Maildir as a POP3 maildrop: scan, lock, read, update. All of this package's access to mail on disk is here.

Only regular files whose name does not begin with a dot are messages: a FIFO, link, directory or device is skipped, so
it can neither block a session nor show what lies elsewhere. Files are immutable by the rules of maildir(5), so what
the sizing pass learned is kept by (base name, inode) and the directories are read again only when they have changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import stat
import time
from collections.abc import Callable, Iterator

from mailhost.pop3.content import CHUNK_OCTETS, Measure, measure
from mailhost.pop3.listing import Entry, Listing, strict_uids

SLICE = 64
"""Files looked at between two yields of a scan: below 1 ms when they are in the page cache."""

SORT_RUN = 2_048
"""So many entries are sorted at once, about 3 ms during which no other thread runs."""

RACY_NS = 2_000_000_000
"""A directory changed less than this before it was read may change again without a new mtime (coarse clocks)."""

TMP_AGE_S = 129_600
"""Files in tmp/ not accessed for 36 hours are left from failed deliveries (Q-POP3-3, maildir(5))."""

TMP_EVERY_S = 3_600
"""A long-lived server looks into tmp/ this often, not at every login."""


_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class MaildropError(Exception):
    """The maildrop cannot be opened; ``kind`` is ``missing``, ``unusable`` or ``busy``."""

    def __init__(self, kind: str, path: bytes) -> None:
        super().__init__(f"{kind}: {os.fsdecode(path)}")
        self.kind = kind


Known = dict[tuple[bytes, int], Entry]
"""(base name, inode) -> entry: what a file is known by when only its directory or flags change."""


class Snapshot:
    """What one scan found: entries of both profiles' interest, and the directory stamps they belong to."""

    __slots__ = ("by_key", "entries", "listing", "stamps", "tmp_checked")

    def __init__(self) -> None:
        self.stamps: tuple[int, ...] = ()
        self.entries: list[Entry] = []
        self.by_key: Known = {}
        self.listing: Listing | None = None
        self.tmp_checked = 0.0


class Maildrop:
    """One opened Maildir. ``plain`` is the qmail form of sizes, order and ids; call ``close`` when done.

    ``path`` is the Maildir (octets); ``snapshot`` what an earlier session left, for a quick start.
    """

    __slots__ = ("_closing", "_fd", "_lent", "_path", "plain", "snapshot")

    def __init__(self, path: bytes, *, plain: bool, lock: bool, snapshot: Snapshot | None = None) -> None:
        """Open, and lock where asked.

        Raises:
            MaildropError: ``missing`` (no such directory), ``unusable`` (no permission ...), ``busy`` (locked).
        """
        self.plain = plain
        self.snapshot = snapshot or Snapshot()
        self._path = path
        self._lent = self._closing = False
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise MaildropError("missing", path) from None
        except (OSError, ValueError):
            raise MaildropError("unusable", path) from None
        if lock:
            self._lock()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise MaildropError("busy", self._path) from None

    def close(self) -> None:
        """Unlock and forget, as soon as no thread works with it; a second call does nothing."""
        if self._lent:
            self._closing = True
            return
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def lend(self) -> None:
        """A thread works with this from now on: closing must wait, or its descriptor could become another file's."""
        self._lent = True

    def give_back(self) -> None:
        """The thread is done."""
        self._lent = False
        if self._closing:
            self.close()

    def scan(self, now: float | None = None) -> Iterator[None]:
        """Bring ``snapshot`` up to date, yielding after every slice of work; then ``listing`` can be called.

        Raises:
            MaildropError: new/ or cur/ is missing or unreadable.
        """
        now = time.time() if now is None else now
        snapshot = self.snapshot
        if now - snapshot.tmp_checked > TMP_EVERY_S:
            snapshot.tmp_checked = now
            self._clean_tmp(now)
        stamps = self._stamps()
        if stamps == snapshot.stamps:
            return
        yield from self._read(snapshot, stamps, now)

    def _stamps(self) -> tuple[int, ...]:
        """(mtime, inode) of new/ and cur/, as one flat tuple."""
        try:
            new = os.stat("new", dir_fd=self._fd)
            cur = os.stat("cur", dir_fd=self._fd)
        except OSError:
            raise MaildropError("unusable", self._path) from None
        return new.st_mtime_ns, new.st_ino, cur.st_mtime_ns, cur.st_ino

    def _read(self, snapshot: Snapshot, stamps: tuple[int, ...], now: float) -> Iterator[None]:
        """Read both directories anew, taking over what is known of files that are still there."""
        by_key: Known = {}
        entries: list[Entry] = []
        for folder in (b"new/", b"cur/"):
            yield from self._read_folder(folder, snapshot.by_key, entries, by_key)
        snapshot.entries, snapshot.by_key, snapshot.listing = entries, by_key, None
        settled = max(stamps[0], stamps[2]) < int(now * 1e9) - RACY_NS
        snapshot.stamps = stamps if settled else ()

    def _read_folder(self, folder: bytes, earlier: Known, entries: list[Entry], by_key: Known) -> Iterator[None]:
        """Add what may be a message in one directory; a first look into a large box is this loop and little else."""
        step, look = 0, self._stat if self.plain else self._measure
        try:
            with os.scandir(self._path + b"/" + folder) as found:
                for item in found:
                    name = item.name
                    if name.startswith(b".") or not item.is_file(follow_symlinks=False):
                        continue
                    step += 1
                    if step == SLICE:
                        step = 0
                        yield
                    path, key = folder + name, (name.partition(b":")[0], item.inode())
                    entry = earlier.get(key)
                    if entry is None:
                        entry = look(path, key[0])
                    elif entry.path != path:
                        entry = entry._replace(path=path)
                    if entry is not None:
                        entries.append(entry)
                        by_key[key] = entry
        except OSError:
            raise MaildropError("unusable", self._path) from None

    def _stat(self, path: bytes, name: bytes) -> Entry | None:
        """The entry of a file not seen before, with its size on disk; None where it has vanished."""
        try:
            found = os.stat(path, dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return Entry(path, name, found.st_size, 0, found.st_size, found.st_mtime_ns, found.st_ino)

    def _measure(self, path: bytes, name: bytes) -> Entry | None:
        """The same with its size as sent, so it is read once; None also where it cannot be read."""
        try:
            fd = os.open(path, _OPEN, dir_fd=self._fd)
        except OSError:
            return None
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return None
            chunk = os.read(fd, CHUNK_OCTETS)
            size, facts = measure(chunk) if len(chunk) < CHUNK_OCTETS else _measure_long(fd, chunk)
        except OSError:
            return None
        finally:
            os.close(fd)
        return Entry(path, name, size, facts, found.st_size, found.st_mtime_ns, found.st_ino)

    def open(self, path: bytes) -> int:
        """A descriptor of one message; O_NONBLOCK and O_NOFOLLOW guard against what was swapped in meanwhile."""
        return os.open(path, _OPEN, dir_fd=self._fd)

    def listing(self, now: float | None = None) -> Listing:
        """The messages in this profile's order, with its ids."""
        if self.plain:
            second = int(time.time() if now is None else now)
            shown = [e for e in self.snapshot.entries if e.mtime_ns // 1_000_000_000 < second]
            return Listing(tuple(in_order(shown, _by_second)))
        if self.snapshot.listing is None:
            ordered = in_order(self.snapshot.entries, _by_time)
            uids = strict_uids([entry.path for entry in ordered])
            self.snapshot.listing = Listing(
                tuple(e if e.uid == uid else e._replace(uid=uid) for e, uid in zip(ordered, uids, strict=True))
            )
        return self.snapshot.listing

    def remove(self, entry: Entry) -> bool:
        """Unlink a message; False where that failed, as when another session was quicker (E-85)."""
        try:
            os.unlink(entry.path, dir_fd=self._fd)
        except OSError:
            return False
        return True

    def keep(self, entry: Entry) -> None:
        """Move a message from new/ to cur/ under the suffix ``:2,`` (Q-POP3-17); a vanished one is let go.

        qmail-pop3d overwrites a file of that name in cur/. Here a twin stays in new/ instead: no message is lost.
        """
        target = b"cur/" + entry.path[4:] + b":2,"
        with contextlib.suppress(OSError):
            if not self._exists(target):
                os.rename(entry.path, target, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def _exists(self, path: bytes) -> bool:
        try:
            os.lstat(path, dir_fd=self._fd)
        except FileNotFoundError:
            return False
        return True

    def _clean_tmp(self, now: float) -> None:
        """Remove what failed deliveries left in tmp/; a missing tmp/ is fine."""
        with contextlib.suppress(OSError), os.scandir(self._path + b"/tmp") as found:
            for item in found:
                if item.name.startswith(b".") or not item.is_file(follow_symlinks=False):
                    continue
                with contextlib.suppress(OSError):
                    if now - item.stat(follow_symlinks=False).st_atime > TMP_AGE_S:
                        os.unlink(item.path)  # noqa: PTH108 - octets, not a Path


def _measure_long(fd: int, chunk: bytes) -> tuple[int, int]:
    """``measure`` for a file that fills more than its first piece."""
    whole = Measure()
    while chunk:
        whole.feed(chunk)
        chunk = os.read(fd, CHUNK_OCTETS)
    return whole.result()


def in_order(entries: list[Entry], key: Callable[[Entry], tuple[int, bytes]]) -> list[Entry]:
    """``sorted``, for large boxes in runs: one sort of 50,000 would keep every other session waiting for 100 ms."""
    if len(entries) <= SORT_RUN:
        return sorted(entries, key=key)
    runs = [sorted(entries[start : start + SORT_RUN], key=key) for start in range(0, len(entries), SORT_RUN)]
    return list(heapq.merge(*runs, key=key))


def _by_second(entry: Entry) -> tuple[int, bytes]:
    """qmail's order is by mtime in seconds; ties, left open there, go by name."""
    return entry.mtime_ns // 1_000_000_000, entry.path[4:]


def _by_time(entry: Entry) -> tuple[int, bytes]:
    """Oldest first; ties by name."""
    return entry.mtime_ns, entry.path[4:]
