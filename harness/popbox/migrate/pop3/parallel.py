"""Boxes in parallel: in threads, as they wait for sockets most of the time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def parallel(work: Callable[[T], R], items: Sequence[T], threads: int) -> Iterator[R]:
    """Results as they are done, in any order. Threads are daemons: an interrupt need not wait for a silent host.

    Raises:
        Exception: what ``work`` raises.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[R, None] | tuple[None, Exception]] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)

    def one_thread() -> None:
        while True:
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((work(item), None))
            except Exception as error:
                done.put((None, error))

    for _ in range(min(threads, len(items))):
        threading.Thread(target=one_thread, daemon=True).start()
    for _ in items:
        result, error = done.get()
        if error is not None:
            raise error
        yield result  # type: ignore[misc]
