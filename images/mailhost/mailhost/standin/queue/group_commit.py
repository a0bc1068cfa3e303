"""Group commit: one thread makes all waiting drafts durable together, so that they share their syncs.

``Queue.commit`` answers for every draft, whatever the disk does. If the thread ends all the same, the process ends
too (``alarm``): without the thread, all mail would wait for ever.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from mailhost.standin.queue.draft import Draft
from mailhost.standin.queue.format import QueueRecord
from mailhost.standin.queue.store import Queue

BATCH = 64  # our choice: bounds how long the first of a batch waits for the last
Done = Callable[[QueueRecord | OSError], None]


class Committer:
    """Takes drafts from any thread. ``Done`` is called on the committing thread, so it must return at once."""

    def __init__(self, store: Queue) -> None:
        """Start the thread; ``close`` ends it after the waiting drafts."""
        self._store = store
        self._waiting: queue.SimpleQueue[tuple[Draft, Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
        self._thread.start()

    def submit(self, draft: Draft, done: Done) -> None:
        """Commit ``draft`` soon; ``done`` gets the record or the error."""
        self._waiting.put((draft, done))

    def store(self, draft: Draft) -> QueueRecord:
        """Commit and wait.

        Raises:
            OSError: the message was not stored.
        """
        ended = threading.Event()
        results: list[QueueRecord | OSError] = []

        def done(result: QueueRecord | OSError) -> None:
            results.append(result)
            ended.set()

        self.submit(draft, done)
        ended.wait()
        if isinstance(results[0], OSError):
            raise results[0]
        return results[0]

    def close(self) -> None:
        """Commit the waiting drafts, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            batch: list[tuple[Draft, Done]] = []
            item = self._waiting.get()
            while item is not None:
                batch.append(item)
                if self._waiting.empty() or len(batch) >= BATCH:
                    break
                item = self._waiting.get()
            open_ = item is not None
            if batch:
                for (_, done), result in zip(batch, self._store.commit(draft for draft, _ in batch), strict=True):
                    done(result)
