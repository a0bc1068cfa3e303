"""The event loop: uvloop where it is installed, because it takes a tenth of each message's CPU time away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any


def factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The function that makes the loop; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None

    class Loop(uvloop.Loop):
        """uvloop, which other threads wake through a socket.

        libuv wakes itself by a write to an eventfd and aborts the process when that write fails. A tracer that
        injects ENOSPC into all writes makes it fail; that must not end the service.
        """

        def __init__(self) -> None:
            super().__init__()
            self._calls: deque[asyncio.Handle] = deque()
            self._bell, self._heard = socket.socketpair()
            self._bell.setblocking(False)
            self._heard.setblocking(False)
            self.add_reader(self._heard, self._take)

        def call_soon_threadsafe(  # type: ignore[override]  # its stub ties args to the callback's
            self, callback: Callable[..., object], *args: Any, context: Context | None = None
        ) -> asyncio.Handle:
            """Run ``callback`` on the loop's thread, as ``asyncio.loop.call_soon_threadsafe``.

            Raises:
                RuntimeError: the loop is closed.
            """
            if self.is_closed():
                raise RuntimeError("Event loop is closed")
            handle = asyncio.Handle(callback, args, self, context)
            self._calls.append(handle)
            with contextlib.suppress(OSError):  # full: the loop is already being woken
                self._bell.send(b"\0")
            return handle

        def _take(self) -> None:
            with contextlib.suppress(BlockingIOError):
                self._heard.recv(4096)
            for _ in range(len(self._calls)):  # calls added since then wake the loop again, after its other work
                handle = self._calls.popleft()
                if not handle.cancelled():
                    handle._run()  # reports what the callback raises to the loop's exception handler

        def close(self) -> None:
            """Close the loop and its sockets."""
            if not self.is_closed():
                self.remove_reader(self._heard)
                self._bell.close()
                self._heard.close()
            super().close()

    return Loop
