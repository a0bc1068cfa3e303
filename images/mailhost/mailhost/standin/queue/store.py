"""The queue on disk: one file for each message, and a journal for each that the first try did not finish.

Below ``queue/standin``: ``tmp/N`` (arriving), ``msg/N`` (accepted), ``state/N`` (journal of msg/N). A message is
accepted when its file is complete, synced, renamed into ``msg`` and that directory is synced; 250 follows only then.
README.md lists every state and what a crash leaves behind in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mailhost.standin import header_fields
from mailhost.standin.queue.draft import Draft
from mailhost.standin.queue.format import (
    HEAD_OCTETS,
    Damaged,
    Journal,
    QueueRecord,
    Recipient,
    decode,
    encode,
    offset_of,
    read_journal,
)
from mailhost.system.durable import naming, shut, write_all

DIRECTORIES = ("tmp", "msg", "state")
_BLOCK = 1 << 18

Loaded = tuple[QueueRecord, Journal]


@dataclass(frozen=True, slots=True)
class Trace:
    """The origin of a message: ``who`` for the Received field, ``uid`` for the log, ``below``: more header fields."""

    who: bytes
    uid: int
    below: bytes = b""


class Queue:
    """The three directories. Any thread may call any method; only the holder of the lock may write."""

    def __init__(self, root: Path) -> None:
        """``root``: ``HOME/queue/standin``, which ``make`` has made."""
        self.root = root
        self._tmp, self._msg, self._state = (root / name for name in DIRECTORIES)
        self._msg_fd = os.open(self._msg, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._last = max(self.numbers(), default=0)
        self._numbering = threading.Lock()
        self._refused: set[int] = set()

    def close(self) -> None:
        """Close the directory."""
        os.close(self._msg_fd)

    def numbers(self) -> list[int]:
        """The numbers of the accepted messages, oldest first."""
        return sorted(int(name) for name in os.listdir(self._msg) if name.isdigit())

    def draft(self, sender: bytes, recipients: tuple[Recipient, ...], trace: Trace) -> Draft:
        """Begin a message: give it a number and write its trace fields."""
        with self._numbering:
            self._last = number = max(self._last + 1, time.time_ns() // 1000)
        envelope = encode(sender, recipients, trace.uid)
        head = header_fields.received_queue(number, trace.who, number / 1e6) + trace.below
        record = QueueRecord(number, sender, recipients, trace.uid, len(envelope), 0)
        return Draft(self._tmp / str(number), number, envelope + head, record)

    def commit(self, drafts: Iterable[Draft]) -> list[QueueRecord | OSError]:
        """Make the drafts durable together. Each becomes a QueueRecord, or an error that leaves no file. Never raises.

        Only one thread may call this. A refused message that cannot be removed now is removed by a later call.
        """
        batch = list(drafts)
        try:
            self._take_back()
            return self._commit(batch)
        except Exception as error:  # out of memory, or a fault of our own: the waiting sessions must be told
            for draft in batch:
                draft.discard()
                self._refused.add(draft.number)
            return [OSError(errno.EIO, f"internal trouble: {error!r}") for _ in batch]

    def _commit(self, batch: list[Draft]) -> list[QueueRecord | OSError]:
        for draft in batch:
            draft.flush()
        results = [self._place(draft) for draft in batch]
        try:
            with naming(self._msg):
                os.fsync(self._msg_fd)
        except OSError as error:
            self._refused.update(result.number for result in results if isinstance(result, QueueRecord))
            self._take_back()
            return [error if isinstance(result, QueueRecord) else result for result in results]
        return results

    def _place(self, draft: Draft) -> QueueRecord | OSError:
        try:
            draft.seal()
            draft.move(self._msg / str(draft.number))
        except OSError as error:
            draft.discard()
            return error
        seen = draft.record
        return QueueRecord(seen.number, seen.sender, seen.recipients, seen.uid, seen.offset, draft.octets - seen.offset)

    def _take_back(self) -> None:
        """Remove what was placed and then refused: a client that got 451 sends the message again."""
        for number in sorted(self._refused):
            with contextlib.suppress(OSError):
                self.remove(number, journal=False)
                self._refused.discard(number)

    def read(self, number: int) -> QueueRecord:
        """The envelope of an accepted message.

        Raises:
            FileNotFoundError: there is no such message.
            OSError: its file cannot be read.
            Damaged: its file is not a whole queue file.
        """
        fd = self.open(number)
        try:
            head = os.pread(fd, HEAD_OCTETS, 0)
            return decode(number, os.pread(fd, offset_of(head), 0), os.fstat(fd).st_size)
        finally:
            shut(fd)

    def open(self, number: int) -> int:
        """A descriptor of the whole queue file; the message starts at the record's offset.

        Raises:
            FileNotFoundError: there is no such message.
            OSError: its file cannot be opened.
        """
        return os.open(self._msg / str(number), os.O_RDONLY | os.O_CLOEXEC)

    def journal(self, number: int) -> Journal:
        """The journal of a message; an empty one when none was needed yet.

        Raises:
            OSError: the journal cannot be read.
            Damaged: a line of it has an unknown form.
        """
        try:
            return read_journal((self._state / str(number)).read_bytes())
        except FileNotFoundError:
            return Journal()

    def add_to_journal(self, number: int, line: bytes) -> None:
        """Add a line to the journal. It is not synced: a line that a power cut removes only means one more try.

        A last line that a crash or a full disk cut short is removed first: it does not count.

        Raises:
            OSError: the line could not be written.
        """
        fd = os.open(self._state / str(number), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                os.ftruncate(fd, os.pread(fd, size, 0).rfind(b"\n") + 1)
            write_all(fd, line)
        finally:
            shut(fd)

    def remove(self, number: int, *, journal: bool = True) -> None:
        """Remove a finished message, then its ``journal`` if there may be one.

        The journal is removed last: a message without its journal would be delivered to all its recipients again.

        Raises:
            OSError: a file could not be removed.
        """
        (self._msg / str(number)).unlink(missing_ok=True)
        if journal:
            (self._state / str(number)).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove what a crash left: arriving files and journals of finished messages. Returns how many there were.

        Raises:
            OSError: the first error, after all files have been tried.
        """
        kept = set(self.numbers())
        stale = [self._tmp / name for name in os.listdir(self._tmp)]
        stale += [self._state / name for name in os.listdir(self._state) if not name.isdigit() or int(name) not in kept]
        failed: list[OSError] = []
        for path in stale:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                failed.append(error)
        if failed:
            raise failed[0]
        return len(stale)

    def load(self, numbers: Iterable[int] | None = None) -> Iterator[tuple[int, Loaded | Damaged | OSError]]:
        """Accepted messages (all, or these) with their journals, oldest first; an unreadable one yields its error."""
        for number in self.numbers() if numbers is None else sorted(numbers):
            try:
                yield number, (self.read(number), self.journal(number))
            except FileNotFoundError:
                continue
            except (OSError, Damaged) as error:
                yield number, error


def make(home: Path, ids: tuple[int, int] | None = None) -> Path:
    """Make what is missing of the queue below ``home``, owned by ``ids``; returns the queue's root.

    No step follows a symbolic link, because root walks below directories that another user owns.

    Raises:
        OSError: a directory cannot be made, opened or given to ``ids``.
    """
    with contextlib.ExitStack() as open_:
        queue = _walk(open_, home, ids, "queue")
        open_.enter_context(_directory("lock", queue, ids))
        root = open_.enter_context(_directory("standin", queue, ids))
        for name in DIRECTORIES:
            open_.enter_context(_directory(name, root, ids))
    return home / "queue" / "standin"


def open_lock(home: Path, ids: tuple[int, int] | None = None) -> int:
    """A descriptor of the file that a queue's only sender locks, as real qmail-send does (Q-SEND-8).

    Raises:
        OSError: the file cannot be opened or made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.ExitStack() as open_:
        fd = os.open("sendmutex", flags, 0o600, dir_fd=_walk(open_, home, None, "queue", "lock"))
    found = os.fstat(fd)
    if ids is not None and found.st_uid == 0 and found.st_nlink == 1:  # a second name may be any file of root's
        os.fchown(fd, *ids)
    return fd


def _walk(open_: contextlib.ExitStack, home: Path, ids: tuple[int, int] | None, *names: str) -> int:
    """Open each directory from ``home``, which may be a link, down to the last of ``names``."""
    fd = open_.enter_context(_directory(home, None, None))
    for name in names:
        fd = open_.enter_context(_directory(name, fd, ids))
    return fd


@contextlib.contextmanager
def _directory(name: str | Path, below: int | None, ids: tuple[int, int] | None) -> Iterator[int]:
    """An open directory in the open directory ``below``; made when missing, given to ``ids`` when root owns it."""
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


def message_pieces(fd: int, offset: int) -> Iterator[bytes]:
    """The message from an open queue file, in blocks."""
    while piece := os.pread(fd, _BLOCK, offset):
        yield piece
        offset += len(piece)
