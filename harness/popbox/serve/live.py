"""A host, the store of its journeys and the thread that records them: what endpoints read, and how they learn of news.

The recorder's thread is the only one that runs passes. Endpoints read the store from any thread. A wait costs one
future of the event loop, no thread: ``changed`` returns when the store has moved on, or at its limit.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Self

from popbox.errors import PopboxError
from popbox.hosts.base import Host
from popbox.journey.recorder import Recorder
from popbox.journey.retention import Passing
from popbox.journey.store import Store
from popbox.serve.mail.arrivals import Arrival
from popbox.serve.mail.news import News, Watch

LOOK_S = 0.05  # our choice: between looks whether a pass has ended
END_S = 5.0  # our choice: a pass that takes longer, such as one that waits for a host that hangs, ends with the process
MOST_BACK_OFF_S = 30.0  # our choice: between passes that fail, after 1, 2, 4, ... seconds


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between passes while there is no wait, and while there are: a sixth of 150 ms from delivery to answer."""

    idle_s: float = 1.0
    watched_s: float = 0.025


@dataclass(frozen=True, slots=True)
class Passes:
    """How recording goes. Times are wall clock, in seconds; None before the first pass began, or ended without error.

    ``whole_since`` is when the last pass without error began: all that the host showed by then is in the store.
    """

    began_at: float | None = None
    ended_at: float | None = None
    whole_since: float | None = None
    cursor: int = 0
    error: str = ""  # why the last pass failed; empty where it did not
    failed: int = 0  # passes in a row
    retry_at: float | None = None  # of a pass that failed


FAST = Pace()


class Live:
    """Within it, as a context manager, the host is recorded. ``host`` and ``store`` may be used from any thread."""

    def __init__(self, host: Host, store: Store, recorder: Passing | None = None, pace: Pace = FAST) -> None:
        """``store`` is open for writing, by this process alone. Nothing runs before ``__enter__``."""
        self.host, self.store = host, store
        self.state = Passes(cursor=store.cursor())  # replaced whole, by the recorder's thread
        self._recorder: Passing = recorder or Recorder.on(host, store)
        self._cursor = self.state.cursor
        self._thread = threading.Thread(target=self._record, name="recorder", daemon=True)
        self._kicked, self._stopped = threading.Event(), threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._pace = pace
        self._resting = False  # whether the recorder's pause may be longer than that while there are waits
        self._at_end: list[Callable[[], None]] = []
        self.news = News(store)
        store.on_commit(self._moved)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_waits()
        self._kicked.set()
        for end in self._at_end:  # first: a pass may wait for what is frozen
            end()
        self._thread.join(END_S)  # what a pass cannot store any more, the next start reads again

    def at_end(self, do: Callable[[], None]) -> None:
        """Have ``do`` called when the host is let go of; it raises nothing. The recorder may still be in a pass."""
        self._at_end.append(do)

    @property
    def ending(self) -> bool:
        """Whether the server ends: waits and streams answer what they have."""
        return self._stopped.is_set()

    def end_waits(self) -> None:
        """Let every ``changed`` return at once, from now on. The recorder ends too."""
        self._stopped.set()
        self._tell([])

    def kick(self) -> None:
        """Have a pass run soon, also while passes are put off after an error."""
        self._kicked.set()

    async def changed(self, after: int, within_s: float) -> int:
        """The store's cursor, as soon as it is beyond ``after``, or once ``within_s`` seconds have passed.

        It returns at once where the server ends (``ending``). It must be called in the server's event loop.
        """
        self._loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.add(future)  # first, so that what comes between the look and the wait is told
        try:
            self._wake_recorder()
            if self._cursor <= after and not self.ending and within_s > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(future, within_s)
        finally:
            self._waiting.discard(future)
        return self._cursor

    def _wake_recorder(self) -> None:
        """Of a long pause. A short one ends soon, and waits that come and go must not have pass follow pass."""
        if self._resting:
            self._kicked.set()

    def _moved(self, cursor: int) -> None:
        """The store's own call after a batch, in the writer's thread."""
        self._cursor = cursor
        self._tell(self.news.collect())

    def _tell(self, arrivals: list[Arrival]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: there is no wait
                self._loop.call_soon_threadsafe(self._wake, arrivals)

    def _wake(self, arrivals: list[Arrival]) -> None:
        self.news.offer(arrivals)
        if self.ending:
            self.news.stop()
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    @contextmanager
    def watch(self, name: str, takes: Callable[[Arrival], bool], enough: int) -> Iterator[Watch]:
        """See ``News.watch``; passes are close together within it. In the server's event loop."""
        self._loop = asyncio.get_running_loop()
        with self.news.watch(name, takes, enough) as watch:
            self._wake_recorder()
            if self.ending:
                watch.stop()
            yield watch

    async def recorded(self, since: float, within_s: float) -> bool:
        """Whether a whole pass that began after the time ``since`` has ended without error, within so many seconds."""
        deadline = time.monotonic() + within_s
        while (self.state.whole_since or 0.0) < since:
            left = deadline - time.monotonic()
            if left <= 0 or self.ending:
                return False
            if (self.state.began_at or 0.0) < since:
                self.kick()
            await asyncio.sleep(min(LOOK_S, left))
        return True

    def catch_up(self, within_s: float) -> None:
        """As ``recorded``, from now on, for a thread that can wait. It returns too where recording fails now."""
        since, deadline = time.time(), time.monotonic() + within_s
        while (self.state.whole_since or 0.0) < since and time.monotonic() < deadline:
            if self.ending or self.state.error:
                return
            if (self.state.began_at or 0.0) < since:
                self.kick()
            time.sleep(LOOK_S)

    def _record(self) -> None:
        """Pass after pass, until the end."""
        while not self._stopped.is_set():
            self._kicked.clear()
            self._pass()
            self._resting = True  # first, so that a wait that begins after the look at the waits ends the pause
            pause_s = self._pause_s()
            self._resting = pause_s > self._pace.watched_s
            self._kicked.wait(pause_s)
            self._resting = False
        self._recorder.close()

    def _pass(self) -> None:
        began_at = time.time()
        self.state = replace(self.state, began_at=began_at)
        try:
            cursor = self._recorder.run_pass()
        except Exception as error:  # whatever it is: recording goes on, and /readyz says why it does not now
            self.state = self._failed(error)
        else:
            self.state = Passes(began_at, time.time(), began_at, cursor)

    def _failed(self, error: Exception) -> Passes:
        """The state after a pass with an error. Only popbox's own errors and the system's have a text for others."""
        ours = isinstance(error, PopboxError | OSError)
        shown = str(error) if ours else f"popbox has a fault: {type(error).__name__}"
        failed, now = self.state.failed + 1, time.time()
        retry_at = now + min(MOST_BACK_OFF_S, 2.0 ** (failed - 1))
        first = next(iter(shown.splitlines()), "")
        return replace(self.state, ended_at=now, error=first, failed=failed, retry_at=retry_at)

    def _pause_s(self) -> float:
        if self.state.retry_at is not None:
            return max(0.0, self.state.retry_at - time.time())
        return self._pace.watched_s if self._waiting or self.news else self._pace.idle_s
