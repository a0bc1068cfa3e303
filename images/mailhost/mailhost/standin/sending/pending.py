"""What the sender keeps in memory: messages and their open deliveries, the two channels, and what is due later."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from dataclasses import dataclass, field

from mailhost.standin.queue.format import Journal, QueueRecord


def _both(value: int) -> dict[bool, int]:
    return {True: value, False: value}


@dataclass(eq=False, slots=True)
class Message:
    """A message in the queue and its progress. The keys ``True`` and ``False`` are the local and remote channel."""

    record: QueueRecord
    journal: Journal
    open: dict[bool, int] = field(default_factory=lambda: _both(0))  # deliveries of this pass that have not ended
    last: dict[bool, int] = field(default_factory=lambda: _both(0))  # this pass is the last one
    journaled: bool = False  # it has a journal file
    removed: bool = False  # its file is gone: delivered by the worker, or deleted by the operator

    def undone(self, local: bool) -> list[int]:
        """Indexes of a channel's recipients that are neither delivered nor failed."""
        wanted = enumerate(self.record.recipients)
        return [index for index, one in wanted if one.local is local and index not in self.journal.done]

    @property
    def finished(self) -> bool:
        """Whether no delivery is left and none runs."""
        return len(self.journal.done) == len(self.record.recipients) and not any(self.open.values())

    def failures(self) -> list[tuple[bytes, bytes]]:
        """(routed recipient, report) in order of failure."""
        return [(self.record.recipients[index].address, report) for index, report in self.journal.failed.items()]


@dataclass(eq=False, slots=True)
class Channel:
    """Local or remote deliveries: at most ``limit`` at once; 0 puts the channel on hold (Q-SEND-15)."""

    local: bool
    limit: int
    running: int = 0
    waiting: deque[tuple[Message, int]] = field(default_factory=deque)

    @property
    def name(self) -> str:
        """The channel's name in the log."""
        return "local" if self.local else "remote"


class Later:
    """Passes that are not due yet, earliest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Message, bool]] = []
        self._order = itertools.count()

    def put(self, due: float, message: Message, local: bool) -> None:
        """Add a pass that is due at ``due``, seconds since 1970."""
        heapq.heappush(self._heap, (due, next(self._order), message, local))

    def take(self, until: float) -> list[tuple[Message, bool]]:
        """Remove and return the passes that are due at ``until``."""
        taken = []
        while self._heap and self._heap[0][0] <= until:
            _, _, message, local = heapq.heappop(self._heap)
            taken.append((message, local))
        return taken

    def pause_s(self) -> float | None:
        """Seconds until the next one; None when nothing waits."""
        return max(0.0, self._heap[0][0] - time.time()) if self._heap else None
