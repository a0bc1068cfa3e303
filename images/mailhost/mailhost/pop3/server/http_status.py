"""The metrics port: ``GET /metrics`` and ``GET /ready`` over the smallest HTTP that Prometheus and probes accept."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from functools import partial

from mailhost.pop3.server.event_loop import Loop

REQUEST_OCTETS = 4096
DEADLINE_S = 5.0
MOST = 32
"""Requests at once (our choice), for each takes a descriptor away from mail; the oldest is closed for a further one."""

PAUSE_S = 0.5
"""How long none is accepted when no descriptor was free: asking again at once would spin."""


Ready = Callable[[Callable[[bool], None]], None]


class StatusPort:
    """Answers one request for each connection, then closes it. ``ready`` reports whether a login could succeed."""

    def __init__(self, loop: Loop, listener: socket.socket, metrics: Callable[[], bytes], ready: Ready) -> None:
        self._loop = loop
        self._listener = listener
        self._metrics = metrics
        self._ready = ready
        self._open: dict[socket.socket, None] = {}  # the oldest first
        listener.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self._loop.add(self._listener.fileno(), select.EPOLLIN, self._accept)

    def _accept(self, _: int) -> None:
        try:
            sock, _peer = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:
            self._loop.remove(self._listener.fileno())
            self._loop.later(PAUSE_S, self._listen)
            return
        if len(self._open) >= MOST:
            self._end(next(iter(self._open)))  # one that says nothing keeps no probe out
        self._open[sock] = None
        sock.setblocking(False)
        self._loop.add(sock.fileno(), select.EPOLLIN, lambda _mask: self._answer(sock))
        self._loop.later(DEADLINE_S, lambda: self._end(sock))

    def _answer(self, sock: socket.socket) -> None:
        """One read is enough: a probe's request fits into one packet, and what does not is not answered."""
        self._loop.remove(sock.fileno())
        words: list[bytes] = []
        with contextlib.suppress(OSError):
            words = sock.recv(REQUEST_OCTETS).split(b"\r\n")[0].split(b" ")
        path = words[1] if len(words) == 3 and words[0] == b"GET" else b""
        if path == b"/ready":
            self._ready(partial(self._say_ready, sock))
        elif path == b"/metrics":
            self._say(sock, "200 OK", self._metrics())
        else:
            self._say(sock, "404 Not Found", b"/metrics or /ready\n")

    def _say_ready(self, sock: socket.socket, ready: bool) -> None:
        self._say(sock, *(("200 OK", b"ready\n") if ready else ("503 Service Unavailable", b"not ready\n")))

    def _say(self, sock: socket.socket, status: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n"
        if sock in self._open:
            with contextlib.suppress(OSError):
                sock.send(head.encode("ascii") + b"Connection: close\r\n\r\n" + body)
        self._end(sock)

    def _end(self, sock: socket.socket) -> None:
        if sock in self._open:
            del self._open[sock]
            self._loop.remove(sock.fileno())
            sock.close()
