"""Limits of connections. uvicorn has none for a client that sends nothing, sends half a request, or never reads.

Each limit is a timer of the event loop. A client that is late is cut without an answer: it waits for none.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from popbox.serve.errors import ApiError, body_of

MOST_CONNECTIONS = 1_200  # our choice: 1,000 waiting clients, 100 streams, and room for all others
LEAST_CONNECTIONS = 16  # our choice: whatever the limit of open files is
MOST_REFUSED = 100  # our choice: connections beyond that are told so; those beyond these are closed without a word
HEAD_S = 10.0  # our choice: from the connection, or a request's first octet, to the end of its header
BODY_S = 60.0  # our choice: from there to the end of its body
STALL_S = 30.0  # our choice: a client that has read nothing of what is sent to it for so long is cut
FILES_BESIDE = 256  # our choice: descriptors for the host's programs, logs and the store


class Connection(H11Protocol):
    """One connection of a client. A subclass sets other limits."""

    most, most_refused = MOST_CONNECTIONS, MOST_REFUSED
    head_s, body_s, stall_s = HEAD_S, BODY_S, STALL_S

    def __init__(self, *args: Any, **more: Any) -> None:
        """As uvicorn makes it."""
        super().__init__(*args, **more)
        self._awaited: type[h11.IDLE] | type[h11.SEND_BODY] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > self.most + self.most_refused:
            transport.abort()
        elif len(self.connections) > self.most:
            self.app = _full
        self._await()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timers."""
        super().connection_lost(exc)
        self._awaited = None
        for timer in (self._late, self._stalled):
            if timer:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take octets; the time for a request runs on until all of it is here."""
        super().data_received(data)
        self._await()

    def _await(self) -> None:
        state = self.conn.their_state
        awaited = state if state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing() else None
        if awaited is self._awaited:
            return
        if self._late:
            self._late.cancel()
        self._awaited, self._late = awaited, None
        if awaited:
            within_s = self.head_s if awaited is h11.IDLE else self.body_s
            self._late = self.loop.call_later(within_s, self.transport.abort)

    def on_response_complete(self) -> None:
        """An answer is out: the next request has its time."""
        super().on_response_complete()
        self._await()  # also where the keep-alive's timer was stopped by a single octet, or a request came pipelined

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to: from now on it must go on reading."""
        super().pause_writing()
        self._look_again(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._stalled:
            self._stalled.cancel()

    def _look_again(self, unread: int) -> None:
        self._stalled = self.loop.call_later(self.stall_s, self._stall, unread)

    def _stall(self, unread: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left >= unread:
            self.transport.abort()  # close() would wait for the client to read
        else:
            self._look_again(left)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or a header that is too long, is refused in the one form."""
        body = body_of(ApiError(400, "this is no request that can be read", "HTTP/1.1; see /openapi.json"), "", "")
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        if self.cycle:  # its body was no HTTP: what the application says of the request is not sent as well
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


async def _full(scope: Any, receive: Any, send: Any) -> None:
    """The application of connections that are too many."""
    body = body_of(ApiError(503, "too many connections are open", "close some, or ask again later"), "", "")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"retry-after", b"1"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def room_for(connections: int) -> int:
    """Raise this process' limit of open files as far as is needed and allowed; how many connections it has room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + MOST_REFUSED + FILES_BESIDE
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    room = connections if soft == resource.RLIM_INFINITY else soft - MOST_REFUSED - FILES_BESIDE
    return max(LEAST_CONNECTIONS, min(connections, room))
