"""Reads logs into a store, pass by pass: what one pass reads is one transaction, positions and events together."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

from popbox.hosts.following import Follower
from popbox.journey.join.queue import Foretell, QueueLog
from popbox.journey.store import Store

MOST_LINES = 2000  # our choice: of one transaction; the rest follows in the next


def as_routed(_channel: str, routed: str) -> tuple[str, int | None]:
    """Where no one can say how the rules treat an address: the log's own name for it, and nothing foretold."""
    return routed, None


class Recorder:
    """The writer of a store. ``run_pass`` is called again and again, by one thread at a time."""

    def __init__(
        self, store: Store, follow: Callable[[str], Follower], foretell: Foretell = as_routed, source: str = "mail log"
    ) -> None:
        """``follow`` opens the MTA's log at a position, see ``Host.follow``; ``source`` is its name in the store."""
        self._store, self._follow, self._source = store, follow, source
        self._queue = QueueLog(source, foretell)
        self._mail_log: Follower | None = None

    def run_pass(self) -> int:
        """Store all that is new; returns the cursor behind it.

        Raises:
            StoreError: the store cannot be written; the next pass reads the same again.
            OSError, HostError: a log cannot be read now.
        """
        try:
            while self._some_lines():
                pass
        except BaseException:
            self.close()
            raise
        return self._store.cursor()

    def close(self) -> None:
        """Let go of the log. The next pass goes on where the store says."""
        if self._mail_log:
            self._mail_log.close()
            self._mail_log = None

    def _some_lines(self) -> bool:
        """Store at most MOST_LINES lines; whether there may be more."""
        log, now = self._mail_log or self._open(), time.time()
        lines = list(islice(log.lines(), MOST_LINES))
        if not lines and not log.gap:
            return False
        with self._store.batch() as batch:
            for line in lines:
                self._queue.take(batch, line.text, line.place, now)
            if log.gap:
                self._queue.cut(batch, log.gap, now)
            batch.keep_position(self._source, log.position, self._queue.state)
        return bool(log.gap) or len(lines) == MOST_LINES

    def _open(self) -> Follower:
        position, state = self._store.position(self._source)
        self._queue.load(self._store.open_numbers(), state)
        self._mail_log = self._follow(position)
        return self._mail_log
