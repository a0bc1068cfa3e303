"""A client's socket, with or without TLS: one write for each reply, and what the peer does not take is kept."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailhost.pop3.server.event_loop import Loop
    from mailhost.pop3.server.tls import Tls

AGAIN = (BlockingIOError, InterruptedError)
READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class Channel:
    """The output of a connection, and the events that the loop waits for.

    The socket is a bare descriptor: a socket object costs two system calls and 5 us for each connection. ``tls``
    stands between, once there is TLS.
    """

    __slots__ = ("_events", "_loop", "_out", "_rest", "fd", "last", "sent", "tls")

    def __init__(self, loop: Loop, fd: int) -> None:
        """``fd`` is a connected socket that does not block, registered for reading."""
        self._loop = loop
        self.fd = fd
        self.tls: Tls | None = None
        self.last = loop.now
        self.sent = 0
        self._out: list[bytes] = []
        self._rest: memoryview | None = None
        self._events = READ

    def close(self, why: str) -> None:
        """End the connection."""
        raise NotImplementedError

    def _flush(self) -> bool:
        """Send everything prepared in one write; False while the peer does not take it all."""
        if self._rest is not None:
            return self._send(self._rest)
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return self._send(data)

    def _send(self, data: bytes | memoryview) -> bool:
        """Send, and keep what the peer does not take; False when there is such a rest, or the peer has gone."""
        try:
            count = os.write(self.fd, data) if self.tls is None else self.tls.send(data)
        except AGAIN:
            count = 0
        except OSError:
            self.close("connection reset")
            return False
        if count:
            self.sent += count
            self.last = self._loop.now
        if count < len(data):
            self._rest = memoryview(data)[count:]
            return False
        self._rest = None
        return True

    def _arm(self, events: int) -> None:
        if events != self._events:
            self._events = events
            self._loop.change(self.fd, events)
