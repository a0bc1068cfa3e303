"""The queue on disk: one file a message, one journal beside it when the first try did not finish it.

Below ``queue/standin``: ``tmp/N`` (arriving), ``msg/N`` (accepted), ``state/N`` (journal of msg/N). A message is
accepted when its file is complete, synced, renamed into ``msg`` and that directory is synced: only then comes 250.
Every state and what a crash leaves behind is written down in README.md.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mailhost.standin import fields
from mailhost.standin.entry import (
    HEAD_OCTETS,
    Damaged,
    Entry,
    Journal,
    Recipient,
    decode,
    encode,
    offset_of,
    read_journal,
)

DIRECTORIES = ("tmp", "msg", "state")
SPOOL_OCTETS = 1 << 18  # our choice: a message up to this is held in memory until it is complete, in each session
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Trace:
    """Who hands a message in: ``who`` for the Received field, ``uid`` for the log, ``below``: further fields."""

    who: bytes
    uid: int
    below: bytes = b""


class Draft:
    """A message that is arriving. A write error is kept and comes up in ``Queue.commit``: the reply is given then."""

    def __init__(self, path: Path, number: int, head: bytes, entry: Entry) -> None:
        """``head``: envelope and trace fields; ``entry`` holds the envelope, its size is not yet known."""
        self.path = path
        self.number = number
        self.entry = entry
        self.error: OSError | None = None
        self.fd = -1
        self._held = bytearray(head)  # not a list of pieces: a client that sends single octets would make it large
        self.octets = len(head)

    def write(self, octets: bytes) -> None:
        """Add to the message."""
        self._held += octets
        self.octets += len(octets)
        if len(self._held) > SPOOL_OCTETS:
            self.flush()

    def flush(self) -> None:
        """Put what is held into the file, which is made by the first call. After an error nothing is kept."""
        if self.error is None:
            try:
                if self.fd < 0:
                    self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with naming(self.path):
                    write_all(self.fd, self._held)
            except OSError as error:
                self.error = error
                self.discard()  # a full disk is not kept full until the client has sent the rest
        self._held = bytearray()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._held = bytearray()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            with contextlib.suppress(OSError):
                self.path.unlink()


class Queue:
    """The three directories. All methods may be called from any thread; only the holder of the lock may write."""

    def __init__(self, root: Path) -> None:
        """``root``: ``HOME/queue/standin``, made before (``make``)."""
        self.root = root
        self._tmp, self._msg, self._state = (root / name for name in DIRECTORIES)
        self._msg_fd = os.open(self._msg, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._last = max(self.numbers(), default=0)
        self._numbering = threading.Lock()

    def close(self) -> None:
        """Give the directory back."""
        os.close(self._msg_fd)

    def numbers(self) -> list[int]:
        """The accepted messages, oldest first."""
        return sorted(int(name) for name in os.listdir(self._msg) if name.isdigit())

    def draft(self, sender: bytes, recipients: tuple[Recipient, ...], trace: Trace) -> Draft:
        """Begin a message: it gets its number, and its trace fields are the first to be written."""
        with self._numbering:
            self._last = number = max(self._last + 1, time.time_ns() // 1000)
        envelope = encode(sender, recipients, trace.uid)
        head = fields.received_queue(number, trace.who, number / 1e6) + trace.below
        entry = Entry(number, sender, recipients, trace.uid, len(envelope), 0)
        return Draft(self._tmp / str(number), number, envelope + head, entry)

    def commit(self, drafts: Iterable[Draft]) -> list[Entry | OSError]:
        """Make the drafts durable together; each ends as an Entry, or as the error and without trace."""
        batch = list(drafts)
        for draft in batch:
            draft.flush()
        results = [self._sync(draft) for draft in batch]
        try:
            with naming(self._msg):
                os.fsync(self._msg_fd)
        except OSError as error:
            for draft, result in zip(batch, results, strict=True):
                if isinstance(result, Entry):
                    self.remove(draft.number)
            return [error if isinstance(result, Entry) else result for result in results]
        return results

    def _sync(self, draft: Draft) -> Entry | OSError:
        try:
            if draft.error is not None:
                raise draft.error
            with naming(draft.path):
                os.fsync(draft.fd)
            draft.path.rename(self._msg / str(draft.number))
        except OSError as error:
            draft.discard()
            return error
        os.close(draft.fd)
        draft.fd = -1
        seen = draft.entry
        return Entry(seen.number, seen.sender, seen.recipients, seen.uid, seen.offset, draft.octets - seen.offset)

    def read(self, number: int) -> Entry:
        """The envelope of an accepted message. Raises FileNotFoundError, OSError, Damaged."""
        fd = self.open(number)
        try:
            head = os.pread(fd, HEAD_OCTETS, 0)
            return decode(number, os.pread(fd, offset_of(head), 0), os.fstat(fd).st_size)
        finally:
            os.close(fd)

    def open(self, number: int) -> int:
        """A descriptor of the whole queue file; the message starts at the entry's offset."""
        return os.open(self._msg / str(number), os.O_RDONLY | os.O_CLOEXEC)

    def journal(self, number: int) -> Journal:
        """What is on record about a message; nothing when no journal was needed yet. Raises OSError, Damaged."""
        try:
            return read_journal((self._state / str(number)).read_bytes())
        except FileNotFoundError:
            return Journal()

    def record(self, number: int, line: bytes) -> None:
        """Add a line to the journal. Not synced: what a power cut takes away is a try that will be made again."""
        fd = os.open(self._state / str(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(fd).st_size
            if os.write(fd, line) != len(line):
                os.ftruncate(fd, before)
                raise OSError("journal line cut short")
        finally:
            os.close(fd)

    def remove(self, number: int, *, journal: bool = True) -> None:
        """The message is finished; ``journal``: there may be one. It goes last: without it, all would go out anew."""
        (self._msg / str(number)).unlink(missing_ok=True)
        if journal:
            (self._state / str(number)).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Clear what a crash left: arriving files and journals of finished messages. Returns how many there were."""
        kept = set(self.numbers())
        stale = [self._tmp / name for name in os.listdir(self._tmp)]
        stale += [self._state / name for name in os.listdir(self._state) if not name.isdigit() or int(name) not in kept]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def load(self) -> Iterator[tuple[int, tuple[Entry, Journal] | Exception]]:
        """Every accepted message with its journal, oldest first; a damaged one as the error that says so."""
        for number in self.numbers():
            try:
                yield number, (self.read(number), self.journal(number))
            except FileNotFoundError:
                continue
            except (OSError, Damaged) as error:
                yield number, error


def make(home: Path, ids: tuple[int, int] | None = None) -> Path:
    """Make what is missing of the queue below ``home``, owned by ``ids``; returns its root. Raises OSError.

    As root it walks below directories that are already somebody else's: no step follows a symbolic link.
    """
    with contextlib.ExitStack() as open_:
        queue = _walk(open_, home, ids, "queue")
        open_.enter_context(_directory("lock", queue, ids))
        root = open_.enter_context(_directory("standin", queue, ids))
        for name in DIRECTORIES:
            open_.enter_context(_directory(name, root, ids))
    return home / "queue" / "standin"


def open_lock(home: Path, ids: tuple[int, int] | None = None) -> int:
    """The file that the one sender of a queue locks, real qmail-send too (Q-SEND-8). Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.ExitStack() as open_:
        fd = os.open("sendmutex", flags, 0o600, dir_fd=_walk(open_, home, None, "queue", "lock"))
    found = os.fstat(fd)
    if ids is not None and found.st_uid == 0 and found.st_nlink == 1:  # a second name may be anything of root's
        os.fchown(fd, *ids)
    return fd


def _walk(open_: contextlib.ExitStack, home: Path, ids: tuple[int, int] | None, *names: str) -> int:
    """From ``home``, which may be a link, down to the last of ``names``."""
    fd = open_.enter_context(_directory(home, None, None))
    for name in names:
        fd = open_.enter_context(_directory(name, fd, ids))
    return fd


@contextlib.contextmanager
def _directory(name: str | Path, below: int | None, ids: tuple[int, int] | None) -> Iterator[int]:
    """An open directory in the open directory ``below``, made when missing, given to ``ids`` when it is root's."""
    follow = 0 if below is None else os.O_NOFOLLOW
    if below is not None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=below)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=below)
    try:
        if ids is not None and os.fstat(fd).st_uid == 0:
            os.fchown(fd, *ids)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def naming(path: bytes | Path) -> Iterator[None]:
    """An error on an open descriptor does not say of which file; inside here it does."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def write_all(fd: int, octets: bytes | bytearray) -> None:
    """Write all of it: a regular file takes less than asked only when the disk is full, and then says so."""
    with memoryview(octets) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


def sync_directory(directory: bytes | Path) -> None:
    """Make the names in ``directory`` durable. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with naming(directory):
            os.fsync(fd)
    finally:
        os.close(fd)


def message_pieces(fd: int, offset: int) -> Iterator[bytes]:
    """The message from an open queue file, in blocks."""
    while piece := os.pread(fd, _BLOCK, offset):
        yield piece
        offset += len(piece)
