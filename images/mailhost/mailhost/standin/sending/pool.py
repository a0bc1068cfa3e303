"""Threads for deliveries: few while jobs proceed, up to the limit while they block.

A delivery is some fifty short system calls, each of which releases the interpreter's lock and takes it again; ten
threads doing that at once spend more time on the lock than on work. Two keep the disk busy. When jobs wait and no
thread has taken one for a moment (a program sleeps, a lock is held), ``stretch`` adds a thread, up to the limit.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

USUAL = 2
LINGER_S = 2.0  # our choice: an added thread ends after this long without a job

Job = Callable[[], None]


class Pool:
    """``submit`` and ``stretch`` are called from one thread. A job must not raise: its thread would end."""

    def __init__(self, most: int) -> None:
        """At most ``most`` threads."""
        self._most = max(most, USUAL)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._taken = self._seen = 0
        self._ended = threading.Semaphore(0)

    def submit(self, job: Job) -> None:
        """Run ``job`` as soon as a thread is free. If no thread can be started now, ``stretch`` tries again."""
        self._jobs.put(job)
        if self._threads < USUAL:
            self._add()

    def stretch(self) -> bool:
        """Add a thread if jobs wait and none was taken since the last call. Returns whether jobs wait."""
        waiting = not self._jobs.empty()
        with self._lock:
            stuck, self._seen = self._taken == self._seen, self._taken
        if waiting and stuck and self._threads < self._most:
            self._add()
        return waiting

    def close(self) -> None:
        """End all threads after their jobs, and wait for them."""
        with self._lock:
            threads = self._threads
        for _ in range(threads):
            self._jobs.put(None)
        for _ in range(threads):
            self._ended.acquire(timeout=LINGER_S)

    def _add(self) -> None:
        with self._lock:
            self._threads += 1
            usual = self._threads <= USUAL
        try:
            threading.Thread(target=self._run, args=(usual,), name="delivery", daemon=True).start()
        except (RuntimeError, MemoryError):  # "can't start new thread": the limit of processes, or memory
            with self._lock:
                self._threads -= 1

    def _run(self, usual: bool) -> None:
        job: Job | None = None
        while True:
            try:
                job = self._jobs.get(timeout=None if usual else LINGER_S)
            except queue.Empty:
                break
            if job is None:
                break
            with self._lock:
                self._taken += 1
            job()
        with self._lock:
            self._threads -= 1
        self._ended.release()
