"""The metrics port: ``GET /metrics`` and ``GET /ready`` over the smallest HTTP that Prometheus and probes accept."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

from mailhost.pop3.loop import Loop

REQUEST_OCTETS = 4096
DEADLINE_S = 5.0


class StatusPort:
    """Answers one request a connection, then closes it. ``ready`` says whether a login could succeed now."""

    def __init__(self, loop: Loop, listener: socket.socket, metrics: Callable[[], bytes], ready: Callable[[], bool]):
        self._loop = loop
        self._listener = listener
        self._metrics = metrics
        self._ready = ready
        listener.setblocking(False)
        loop.add(listener.fileno(), select.EPOLLIN, self._accept)

    def close(self) -> None:
        """Stop listening."""
        self._loop.remove(self._listener.fileno())
        self._listener.close()

    def _accept(self, _: int) -> None:
        with contextlib.suppress(OSError):
            sock, _peer = self._listener.accept()
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
        if sock.fileno() >= 0:
            self._loop.remove(sock.fileno())
            sock.close()
