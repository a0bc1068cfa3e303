"""Messages on their way into their mailboxes, many at once: one sync for each file, journal and directory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from popbox.migrate.copy.folder import FolderError
from popbox.migrate.copy.journal import Record
from popbox.migrate.copy.maildir import Staged, Target

MOST_MESSAGES = 256
MOST_OCTETS = 64 << 20
SYNCERS = 8  # our choice: a journalling file system writes the syncs of several threads as one


class Batch:
    """Staged messages of any number of mailboxes. Use as a context: what is not committed at an error is dropped."""

    def __init__(self) -> None:
        """Empty."""
        self._staged: list[Staged] = []
        self._octets = 0
        self._number = 0
        self._pool = ThreadPoolExecutor(SYNCERS, "sync")
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
            for one in self._staged:
                one.drop()
            self._pool.shutdown()

    def stage(self, target: Target) -> Staged:
        """A file for one message; give it to `add`, or drop it."""
        self._number += 1
        return target.stage(self._number)

    def add(self, staged: Staged, record: Record) -> None:
        """The message is written; commits where enough have come together."""
        staged.dress(record)
        self._staged.append(staged)
        self._octets += staged.size
        if len(self._staged) >= MOST_MESSAGES or self._octets >= MOST_OCTETS:
            self.commit()

    def commit(self) -> None:
        """Sync and check all, then place all.

        Raises:
            PopboxError: a message on disk is not the one that was read.
            OSError: the disk refuses a write.
        """
        for _ in self._pool.map(Staged.sync_and_check, self._staged):
            pass
        by_target: dict[Target, list[Staged]] = {}
        for one in self._staged:
            by_target.setdefault(one.target, []).append(one)
        for target, staged in by_target.items():
            try:
                self.conflicts += [(target, record) for record in target.place(staged)]
            except FolderError as why:  # taken and not placed: the next pass copies it again
                self.refused.append(why)
                for one in staged:
                    one.drop()
        self._staged.clear()
        self._octets = 0
