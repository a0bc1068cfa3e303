"""A Maildir as a POP3 maildrop: scan, lock, read, update. All of this package's access to mail on disk is here.

Only regular files whose name does not begin with a dot are messages: a FIFO, link, directory or device is skipped, so
it can neither block a session nor show what lies elsewhere. Files are immutable by the rules of maildir(5), so what
the sizing pass learned is kept by inode and base name, that of a large box also across restarts of the server
(``size_cache``), and the directories are read again only when they have changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator, Iterator

from mailhost.pop3.maildrop import size_cache
from mailhost.pop3.maildrop.errors import MaildropError, refusal
from mailhost.pop3.maildrop.names import Names, rename_new, same_file
from mailhost.pop3.maildrop.scan import OPEN, Scan
from mailhost.pop3.maildrop.snapshot import Found, Snapshot
from mailhost.pop3.protocol.events import Transmit
from mailhost.pop3.protocol.listing import (
    LARGE,
    Listing,
    Message,
    base_name,
    renamed,
    settled_name,
    strict_uids,
    twin_uid,
)

TMP_AGE_S = 129_600
"""Files in tmp/ not accessed for 36 hours are left from failed deliveries (Q-POP3-3, maildir(5))."""

TMP_EVERY_S = 3_600
"""A long-lived server looks into tmp/ this often, not at every login."""


class Maildrop(Scan):
    """One opened Maildir. ``qmail_quirks`` is the qmail form of sizes, order and ids; call ``close`` when done.

    ``path`` is the Maildir (octets); ``snapshot`` what an earlier session left, for a quick start.
    """

    __slots__ = (
        "_closing",
        "_found",
        "_lent",
        "_names",
    )

    def __init__(self, path: bytes, *, qmail_quirks: bool, lock: bool, snapshot: Snapshot | None = None) -> None:
        """Open, and lock where asked.

        Raises:
            MaildropError: ``missing`` (no such directory), ``unusable`` (no permission ...), ``busy`` (locked),
                ``unavailable`` (no descriptor left, a disk that fails).
        """
        super().__init__(path, qmail_quirks=qmail_quirks, snapshot=snapshot or Snapshot())
        self._found = self.snapshot.found
        self._names: Names | None = None
        self._lent = self._closing = False
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise MaildropError("missing", path) from None
        except OSError as error:
            raise refusal(error, path) from None
        except ValueError:
            raise MaildropError("unusable", path) from None
        if lock:
            self._lock()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            busy = isinstance(error, BlockingIOError)
            raise (MaildropError("busy", self._path) if busy else refusal(error, self._path)) from None

    def fileno(self) -> int:
        """The open directory."""
        return self._fd

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

        Without a lock other sessions may scan at the same time: each uses what it has found itself, and the stamps tell
        whether what they leave in ``snapshot`` still holds.

        Raises:
            MaildropError: new/ or cur/ is missing or unreadable, or there are no descriptors left to read with.
        """
        now = time.time() if now is None else now
        snapshot = self.snapshot
        if now - snapshot.tmp_checked > TMP_EVERY_S:
            snapshot.tmp_checked = now
            self._clean_tmp(now)
        found = snapshot.found
        if snapshot.new:
            found = yield from self._recall(snapshot)
        stamps = self._stamps()
        if stamps != found.stamps:
            found = yield from self._read(found, stamps, now)
        self._found = snapshot.found = found

    @property
    def large(self) -> bool:
        """Whether reading its directories takes so long that it is work for a thread."""
        return len(self._found.messages) > LARGE

    @property
    def settled(self) -> bool:
        """Whether what the scan found may be kept: both directories had been left alone for a while."""
        return bool(self._found.stamps)

    def _recall(self, snapshot: Snapshot) -> Generator[None, None, Found]:
        """Begin with what the server saved before a restart; that may be much, so not in the first slice."""
        snapshot.new = False
        name = size_cache.name_of(qmail_quirks=self.qmail_quirks)
        if not os.access(name, os.R_OK, dir_fd=self._fd):
            return snapshot.found
        yield
        saved = size_cache.read(self._fd, name)
        if saved is None:
            return snapshot.found
        snapshot.saved, snapshot.saved_at = saved.stamps, saved.at
        found = Found(saved.stamps, saved.messages)
        if not self.qmail_quirks:
            found.listing = Listing(tuple(saved.messages))  # its ids are good: ``remember`` saves what was listed
        return found

    def remember(self, now: float | None = None) -> None:
        """Save what a scan has learned, where that is worth it; may be called after ``close``, and in a thread."""
        now = time.time() if now is None else now
        snapshot, found = self.snapshot, self._found
        if found.listing is not None and snapshot.worth_saving(found, now):
            snapshot.saved_at, snapshot.looked = now, 0  # a write that fails is retried as rarely
            if size_cache.write(
                self._path, size_cache.name_of(qmail_quirks=self.qmail_quirks), found.stamps, found.messages
            ):
                snapshot.saved = found.stamps

    def distrust(self) -> None:
        """A file is not what was measured: a program changes messages in place. The next login measures all again."""
        size_cache.forget(self._fd, size_cache.name_of(qmail_quirks=self.qmail_quirks))
        self.snapshot.found = Found()

    def open(self, path: bytes) -> int:
        """A descriptor of one message; O_NONBLOCK and O_NOFOLLOW protect from a file that was exchanged."""
        return os.open(path, OPEN, dir_fd=self._fd)

    def search(self, event: Transmit) -> Transmit | None:
        """The same with the message's open file, where it has been renamed since it was listed; None where it has gone.

        In the qmail profile none is searched for: qmail-pop3d says that it cannot open it.
        """
        message = event.message
        if self.qmail_quirks:
            return None
        try:
            return event._replace(fd=self._named().use(message, lambda path: self._open_same(path, message)))
        except OSError:
            return None

    def _named(self) -> Names:
        if self._names is None:
            self._names = Names(self._path)
        return self._names

    def _open_same(self, path: bytes, message: Message) -> int:
        fd = self.open(path)
        if same_file(os.fstat(fd), message):
            return fd
        os.close(fd)
        raise FileNotFoundError

    def listing(self, now: float | None = None) -> Listing:
        """The messages in this profile's order, with its ids; qmail's lacks those dated this second or later."""
        found = self._found
        if self.qmail_quirks:
            return self._past(found, int(time.time() if now is None else now) * 1_000_000_000)
        if found.listing is not None:
            return found.listing
        uids = strict_uids(found.messages, found.earlier)
        found.earlier = {}
        pairs = zip(found.messages, uids, strict=True)
        found.messages = [message if message.uid == uid else message._replace(uid=uid) for message, uid in pairs]
        found.listing = Listing(tuple(found.messages))
        return found.listing

    @staticmethod
    def _past(found: Found, second: int) -> Listing:
        """The messages dated before ``second``; what is kept need not be right, for clocks are also set back."""
        kept, messages = found.listing, found.messages
        if kept is None or len(kept.messages) != len(messages) or (messages and messages[-1].mtime_ns >= second):
            kept = found.listing = Listing(tuple([message for message in messages if message.mtime_ns < second]))
        return kept

    def remove(self, message: Message) -> bool:
        """Unlink a message, also if it was renamed since it was listed.

        False where that failed: another session was quicker (E-85), or another message has its name.
        """
        try:
            self._unlink(message.path, message)
        except FileNotFoundError:
            return not self.qmail_quirks and self._removed_elsewhere(message)
        except OSError:
            return False
        return True

    def _removed_elsewhere(self, message: Message) -> bool:
        try:
            self._named().use(message, lambda path: self._unlink(path, message))
        except OSError:
            return False
        return True

    def _unlink(self, path: bytes, message: Message) -> None:
        """Remove the message itself.

        Raises:
            FileNotFoundError: another message has taken the name, whose removal no client has asked for.
        """
        if not same_file(os.lstat(path, dir_fd=self._fd), message):
            raise FileNotFoundError
        os.unlink(path, dir_fd=self._fd)

    def keep(self, message: Message) -> None:
        """Move a message from new/ to cur/ under the suffix ``:2,`` (Q-POP3-17), and a twin to the name of its id.

        A vanished one is ignored. qmail-pop3d overwrites a file of that name in cur/. Here that file, not yet listed,
        gets a twin's name (in the qmail profile the message stays in new/): none is lost, and each id stays.
        """
        with contextlib.suppress(OSError):
            try:
                self._settle(message.path, message)
            except FileNotFoundError:
                if renamed(message):
                    self._named().use(message, lambda path: self._settle(path, message))

    def _settle(self, path: bytes, message: Message) -> None:
        if not same_file(os.lstat(path, dir_fd=self._fd), message):
            raise FileNotFoundError
        name = base_name(path)
        suffix = path[4 + len(name) :] + (b":2," if path.startswith(b"new/") else b"")
        target = b"cur/" + settled_name(message) + suffix
        try:
            rename_new(path, target, self._fd)
        except FileExistsError:
            if self.qmail_quirks or renamed(message):
                return
            inode = os.lstat(target, dir_fd=self._fd).st_ino
            if inode != message.inode:
                rename_new(target, b"cur/" + twin_uid(name, inode) + suffix, self._fd)
                rename_new(path, target, self._fd)

    def _clean_tmp(self, now: float) -> None:
        """Remove what failed deliveries left in tmp/; a missing tmp/ is fine."""
        with contextlib.suppress(OSError), os.scandir(self._path + b"/tmp") as found:
            for item in found:
                if item.name.startswith(b".") or not item.is_file(follow_symlinks=False):
                    continue
                with contextlib.suppress(OSError):
                    if now - item.stat(follow_symlinks=False).st_atime > TMP_AGE_S:
                        os.unlink(item.path)
