"""Boxes in parallel: in threads, as they wait for sockets most of the time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], entries: Sequence[T], most: int) -> Iterator[R]:
    """What ``work`` gives for each, as it is done. Threads are daemons: an interrupt waits for no silent host.

    Raises:
        Exception: what ``work`` raises.
    """
    waiting: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[R] | Exception] = queue.SimpleQueue()
    workers = min(most, len(entries))
    for entry in entries:
        waiting.put((entry,))
    for _ in range(workers):
        waiting.put(None)

    def run() -> None:
        while (entry := waiting.get()) is not None:
            try:
                done.put((work(entry[0]),))
            except Exception as error:
                done.put(error)

    for _ in range(workers):
        threading.Thread(target=run, daemon=True).start()
    for _ in entries:
        result = done.get()
        if isinstance(result, Exception):
            raise result
        yield result[0]
