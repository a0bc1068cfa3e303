"""The metrics port: ``GET /metrics`` and ``GET /ready`` over the smallest HTTP that Prometheus and probes accept."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

from mailhost.pop3.loop import Loop

REQUEST_OCTETS = 4096
DEADLINE_S = 5.0
MOST = 32
"""Requests at once (our choice): what is more is hung up on, for each takes a descriptor away from the mail."""

PAUSE_S = 0.5
"""How long none is accepted when no descriptor was to be had: asking again at once would spin."""


class StatusPort:
    """Answers one request a connection, then closes it. ``ready`` says whether a login could succeed now."""

    def __init__(self, loop: Loop, listener: socket.socket, metrics: Callable[[], bytes], ready: Callable[[], bool]):
        self._loop = loop
        self._listener = listener
        self._metrics = metrics
        self._ready = ready
        self._open: set[socket.socket] = set()
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
            sock.close()
            return
        self._open.add(sock)
        sock.setblocking(False)
        self._loop.add(sock.fileno(), select.EPOLLIN, lambda _mask: self._answer(sock))
        self._loop.later(DEADLINE_S, lambda: self._end(sock))

    def _answer(self, sock: socket.socket) -> None:
        """One read is enough: a probe's request fits into one packet, and what does not is not answered."""
        with contextlib.suppress(OSError):
            words = sock.recv(REQUEST_OCTETS).split(b"\r\n")[0].split(b" ")
            status, body = self._page(words[1] if len(words) == 3 and words[0] == b"GET" else b"")
            head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n"
            sock.send(head.encode("ascii") + b"Connection: close\r\n\r\n" + body)
        self._end(sock)

    def _page(self, path: bytes) -> tuple[str, bytes]:
        if path == b"/metrics":
            return "200 OK", self._metrics()
        if path == b"/ready":
            return ("200 OK", b"ready\n") if self._ready() else ("503 Service Unavailable", b"not ready\n")
        return "404 Not Found", b"/metrics or /ready\n"

    def _end(self, sock: socket.socket) -> None:
        if sock in self._open:
            self._open.discard(sock)
            self._loop.remove(sock.fileno())
            sock.close()
