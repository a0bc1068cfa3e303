"""A child process that shares work which would keep one processor busy."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PIPE_OCTETS = 1 << 20  # the most that any user may set: it lets the child work ahead

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Work(Generic[Item, Made]):
    """The work on one item, and how its result goes through a pipe."""

    make: Callable[[Item], Made]
    pack: Callable[[Made], bytes]
    unpack: Callable[[bytes], Made]


def in_two(work: Work[Item, Made], items: Sequence[Item], mine: Callable[[int], bool]) -> Generator[Made]:
    """``make`` of every item, in order; a child process makes the items at the indexes that are not ``mine``.

    All is made here when a child would not help (one processor), or when other threads make forking unsafe.
    When the child fails, the rest is made here, so an exception is raised here too. Close the iterator.
    """
    if len(os.sched_getaffinity(0)) == 1 or threading.active_count() > 1:
        yield from map(work.make, items)
        return
    import multiprocessing  # 20 ms that only large files need

    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    owed = [item for index, item in enumerate(items) if not mine(index)]
    results = (work.pack(work.make(item)) for item in owed)
    child = context.Process(target=_send, args=(writer, results), daemon=True)
    child.start()
    writer.close()
    try:
        for index, item in enumerate(items):
            made = None if mine(index) else _received(reader)
            yield work.make(item) if made is None else work.unpack(made)
    finally:
        reader.close()
        child.terminate()
        child.join()
        child.close()


def _send(writer: Connection, results: Iterable[bytes]) -> None:
    """The child: it ends silently when anything fails or the reader has gone."""
    with suppress(Exception):
        with suppress(OSError):  # the usual 64 KiB work too, but the child waits more often
            fcntl.fcntl(writer.fileno(), fcntl.F_SETPIPE_SZ, PIPE_OCTETS)
        for result in results:
            writer.send_bytes(result)


def _received(reader: Connection) -> bytes | None:
    """The child's next result; None when no more will come."""
    with suppress(EOFError, OSError):
        return reader.recv_bytes()
    return None
