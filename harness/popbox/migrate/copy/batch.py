"""Messages on their way into their mailboxes, many at once: one sync for each file, journal and directory.

Threads sync a message and read it back as soon as it is written, and one batch is placed while the next one is written:
the disk has many requests at a time, of which a file system makes few flushes.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

from popbox.migrate.copy.folder import FolderError
from popbox.migrate.copy.journal import Record
from popbox.migrate.copy.maildir import Staged, Target

MOST_MESSAGES = 256  # of a batch; two are open at a time, and a process may have 1,024 files open on most hosts
MOST_OCTETS = 64 << 20
SYNCERS = 16  # our choice: twice as many were not faster, and wait for each other more often


class Batch:
    """Staged messages of any number of mailboxes. Use as a context: what is not committed at an error is dropped."""

    def __init__(self, most_messages: int | None = None) -> None:
        """``most_messages``: how many are placed together; None: MOST_MESSAGES."""
        self._most = most_messages or MOST_MESSAGES
        self._staged: list[Staged] = []
        self._before: list[Staged] = []  # the batch that is being placed
        self._placing: Future[None] | None = None
        self._syncs: list[Future[None]] = []
        self._octets = 0
        self._number = 0
        self._pool, self._placer = ThreadPoolExecutor(SYNCERS, "sync"), ThreadPoolExecutor(1, "place")
        self._at: tuple[Target, int] | None = None  # the mailbox that was staged into last, and its tmp/
        self._held = contextlib.ExitStack()
        self.conflicts: list[tuple[Target, Record]] = []
        self.refused: list[FolderError] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or after an error drop."""
        try:
            if kind is None:
                self.commit()
        finally:
            for pool in (self._placer, self._pool):  # in this order: placing needs the other threads
                pool.shutdown(cancel_futures=pool is self._pool)
            for one in (*self._before, *self._staged):
                one.drop()
            self._held.close()

    def stage(self, target: Target) -> Staged:
        """A file for one message; give it to `add`, or drop it.

        Raises:
            FolderError: the mailbox's tmp/ cannot be opened.
        """
        if self._at is None or self._at[0] is not target:
            self._at = None
            self._held.close()
            self._at = target, self._held.enter_context(target.folder.open(b"tmp"))
        self._number += 1
        return target.stage(self._number, self._at[1])

    def add(self, staged: Staged, record: Record) -> None:
        """The message is written: it is synced from now on, and placed when enough have come together.

        Raises:
            PopboxError: a message on disk is not the one that was read.
            OSError: the disk refuses a write.
        """
        staged.dress(record)
        self._staged.append(staged)
        self._syncs.append(self._pool.submit(staged.sync_and_check))
        self._octets += staged.size
        if len(self._staged) >= self._most or self._octets >= MOST_OCTETS:
            self._turn()

    def commit(self) -> None:
        """Place all, and wait for it.

        Raises:
            PopboxError: a message on disk is not the one that was read.
            OSError: the disk refuses a write.
        """
        self._turn()
        self._turn()

    def _turn(self) -> None:
        """Wait for the batch before, and let this one be placed."""
        if self._placing is not None:
            self._placing.result()
        self._before, self._staged = self._staged, []
        self._syncs, syncs = [], self._syncs
        self._octets = 0
        self._placing = self._placer.submit(self._place_all, self._before, syncs) if self._before else None

    def _place_all(self, batch: list[Staged], syncs: list[Future[None]]) -> None:
        """Place a batch that is synced; mailboxes at the same time, the messages of one in their order."""
        by_target: dict[Target, list[Staged]] = {}
        for one in batch:
            by_target.setdefault(one.target, []).append(one)
        _all_well([*(self._pool.submit(target.prepare) for target in by_target), *syncs])
        _all_well([self._pool.submit(self._place, *box) for box in by_target.items()])

    def _place(self, target: Target, staged: list[Staged]) -> None:
        try:
            placing = target.place(staged)
        except FolderError as why:  # nothing is noted: the next pass copies it again
            self.refused.append(why)
            for one in staged:
                one.drop()
        else:
            self.conflicts += [(target, record) for record in placing.conflicts]
            self.refused += placing.refused


def _all_well(work: list[Future[None]]) -> None:
    """Wait until none is at work any more, then raise what the first one raised."""
    wait(work)
    for one in work:
        one.result()
