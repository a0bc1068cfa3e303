"""A bare epoll loop: descriptors, timers, and results from threads. One thread owns it.

asyncio costs two to four times the CPU of a session here, and uvloop's transports hold more memory than a connection
needs (measured); a POP3 server wants little else than readiness, so this is all there is.
"""

from __future__ import annotations

import collections
import contextlib
import heapq
import itertools
import os
import select
import signal
import time
from collections.abc import Callable

Handler = Callable[[int], None]


class Loop:
    """``run`` until ``stop``; ``now`` is the monotonic time at which the present round began."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._posted: collections.deque[Callable[[], object]] = collections.deque()
        self._wake_in, self._wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._running = self._waiting = False
        self.after_round: Callable[[], None] | None = None
        self.now = time.monotonic()
        self.add(self._wake_in, select.EPOLLIN, self._woken)

    def add(self, fd: int, events: int, handler: Handler) -> None:
        """Call ``handler(event mask)`` when ``fd`` is ready."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on ``fd``."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Forget ``fd``; call this before closing it."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Call ``action`` once, after ``delay_s`` seconds."""
        self.at(time.monotonic() + delay_s, action)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Call ``action`` once, at ``when`` (monotonic seconds), however long the present round has taken."""
        heapq.heappush(self._timers, (when, next(self._order), action))

    def post(self, action: Callable[[], object]) -> None:
        """Call ``action`` on the loop; may be called from any thread and from a signal handler."""
        self._posted.append(action)
        if self._waiting:  # otherwise the loop looks before it waits again
            with contextlib.suppress(BlockingIOError):  # a full pipe wakes the loop as well as one more octet
                os.write(self._wake_out, b"!")

    def heed_signals(self) -> None:
        """Have every signal end a wait; in the main thread.

        One that comes between Python's last look for signals and the system call that waits, or in another thread,
        interrupts nothing: its handler would run when something else happens, on an idle server perhaps never.
        """
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)

    def forget(self, fd: int) -> None:
        """As ``remove``, for a descriptor that is closed at once: the kernel takes it out of the epoll set itself."""
        self._handlers.pop(fd, None)

    def stop(self) -> None:
        """Leave ``run`` after this round."""
        self._running = False

    def run(self) -> None:
        """Serve until ``stop``."""
        self._running = True
        poll, handlers = self._epoll.poll, self._handlers
        while self._running:
            self._waiting = True  # before the look at what was posted, or a post between the two would wait too
            ready = poll(self._timeout(), 256)
            self._waiting = False
            self.now = time.monotonic()
            for fd, mask in ready:
                handler = handlers.get(fd)
                if handler is not None:  # an earlier handler of this round may have closed it
                    handler(mask)
            self._run_due()
            if self.after_round is not None:
                self.after_round()

    def close(self) -> None:
        """Give the descriptors back."""
        self._epoll.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _timeout(self) -> float:
        if self._posted:
            return 0
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _run_due(self) -> None:
        for _ in range(len(self._posted)):
            self._posted.popleft()()
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    def _woken(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_in, 4096)
