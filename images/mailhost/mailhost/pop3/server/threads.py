"""A few daemon threads for work that must not delay the loop: hashing and long scans.

Not concurrent.futures: it imports part of itself when first used, which fails where the interpreter lies in a
directory that popuser may not read, and it joins its threads at exit, however long a scan still takes.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable

Work = Callable[[], None]


class Threads:
    """``run`` queues a piece of work, and the first that is free does it."""

    def __init__(self, count: int) -> None:
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        for _ in range(count):
            threading.Thread(target=self._serve, daemon=True).start()

    def run(self, work: Work) -> None:
        """Do ``work`` soon."""
        self._queue.put(work)

    def _serve(self) -> None:
        while True:
            try:
                self._queue.get()()  # no name for it: until the next work it would keep a session and all it had listed
            except Exception:
                sys.excepthook(*sys.exc_info())
