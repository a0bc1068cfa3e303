"""Clients of ``popbox serve`` that cost little: waits, streams of events, and a sender that keeps a rate.

All are tasks of one event loop on plain sockets, so that a thousand of them leave the processor to what is measured.
Times are wall clock, in seconds since 1970.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from popbox.clients.wire import Address

IDS = re.compile(rb'id: (\d+)\ndata: {"seq":')
GAP = b"event: gap"


@dataclass(frozen=True, slots=True)
class Got:
    """A message that a wait was answered with: its subject, when its file was written, and when the answer was here."""

    subject: str
    to: str
    filed_at: float
    answered_at: float


async def fetched(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, **headers: str
) -> tuple[int, bytes]:
    """Status and body of a GET; the connection is kept."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    host, port = writer.get_extra_info("peername")[:2]
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\n{more}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


@dataclass
class Waiter:
    """One client that waits for mail to one address, again and again, as README says how."""

    at: Address
    to: str
    since: int
    headers: dict[str, str] = field(default_factory=dict)
    got: list[Got] = field(default_factory=list)
    tell: Callable[[Got], None] = lambda _got: None
    asks: int = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        path = f"/v1/messages/wait?to={self.to}&since={self.since}&within=10m"
        reader, writer = await asyncio.open_connection(self.at.host, self.at.port)
        with contextlib.closing(writer):
            while True:
                self.asks += 1
                status, body = await fetched(reader, writer, path, **self.headers)
                now = time.time()
                assert status in (200, 202), body
                said: dict[str, Any] = json.loads(body)
                path = said["again"]
                for one in said.get("messages", ()):
                    self.got.append(Got(one["subject"], one["to"], one["at"], now))
                    self.tell(self.got[-1])


class Stream(asyncio.Protocol):
    """One stream of all events. ``wrong`` names the first that was missed or came twice."""

    def __init__(self, at: Address, since: int, hear: Callable[[bytes, float], None] | None = None) -> None:
        """``hear`` is given what came, in whole messages, and when."""
        self._at, self.last, self._hear = at, since, hear
        self._held, self.wrong, self.octets, self.ended = b"", "", 0, False

    async def open(self) -> None:
        """Connect, and ask."""
        await asyncio.get_running_loop().create_connection(lambda: self, self._at.host, self._at.port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(f"GET /v1/events HTTP/1.1\r\nhost: {self._at}\r\nlast-event-id: {self.last}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Look at the numbers of the events."""
        self.octets += len(data)
        whole, _, self._held = (self._held + data).rpartition(b"\n\n")
        numbers = [int(one) for one in IDS.findall(whole)]
        if GAP in whole and not self.wrong:
            self.wrong = f"a gap behind {self.last}"
        if numbers:
            if numbers != list(range(self.last + 1, self.last + 1 + len(numbers))) and not self.wrong:
                self.wrong = f"behind {self.last} came {numbers[:20]}"
            self.last = numbers[-1]
            if self._hear:
                self._hear(whole, time.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """A stream that ends by itself is wrong."""
        self.ended = True


@dataclass
class Sender:
    """Sends messages at a rate over a few SMTP connections, lock-step. ``sent``: subject -> address, and 250 when."""

    at: Address
    address: Callable[[int], str]
    word: str
    per_s: float
    sent: dict[str, tuple[str, float]] = field(default_factory=dict)
    late_s: float = 0.0  # the most that a message was sent behind its time
    _next: int = 0

    async def run(self, seconds: float, connections: int = 4) -> None:
        """Send for so long, then return."""
        began, many = time.monotonic(), int(seconds * self.per_s)
        await asyncio.gather(*(self._connection(began, many) for _ in range(connections)))

    async def _connection(self, began: float, many: int) -> None:
        async with smtp(self.at) as say:
            while self._next < many:
                number, self._next = self._next, self._next + 1
                due = began + number / self.per_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self.late_s = max(self.late_s, time.monotonic() - due)
                to, subject = self.address(number), f"{self.word} {number}"
                await say(b"MAIL FROM:<bench@client.example>")
                await say(f"RCPT TO:<{to}>".encode())
                await say(b"DATA")
                await say(f"From: bench@client.example\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nText.\r\n.".encode())
                self.sent[subject] = to, time.time()


@contextlib.asynccontextmanager
async def smtp(at: Address) -> AsyncIterator[Callable[[bytes], Any]]:
    """A connection behind EHLO; what is said is answered with less than 400, or it is an error."""
    reader, writer = await asyncio.open_connection(at.host, at.port)

    async def say(line: bytes) -> None:
        if line:
            writer.write(line + b"\r\n")
        reply = await reader.readline()
        while reply[3:4] == b"-":
            reply = await reader.readline()
        assert reply[:1] in (b"2", b"3"), reply

    with contextlib.closing(writer):
        await say(b"")
        await say(b"EHLO client.example")
        yield say
        await say(b"QUIT")
