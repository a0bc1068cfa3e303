"""One SMTP connection on the event loop: octets to the session, events to the queue, replies to the peer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from mailhost.qmail.control import ControlError
from mailhost.qmail.controlfile import c_string
from mailhost.standin import header_fields
from mailhost.standin.delivery.report import because
from mailhost.standin.log import Log
from mailhost.standin.queue.draft import Draft
from mailhost.standin.queue.format import QueueRecord
from mailhost.standin.queue.group_commit import Committer
from mailhost.standin.queue.store import Queue, Trace
from mailhost.standin.sending.work import Work
from mailhost.standin.smtp import session
from mailhost.standin.smtp.policy import HostPolicy, Policies
from mailhost.standin.smtp.session import Abandoned, Close, Content, Ended, Envelope, Event, Reply, Session, StartTls
from mailhost.system import proxy_protocol
from mailhost.system.connection_limits import ConnectionLimits

LINGERING = 64  # our choice: refused connections, beyond the allowed ones, that may stay open to read the reason
HEADERS = 256  # our choice: balancers' connections that may wait for their PROXY header at the same time
UNREAD_S = 2.0  # our choice: how long a peer that is refused may leave its last reply unread
WARNED = frozenset({421, 451, 452})  # replies that report a problem on this side; each makes a log line

BUSY = Reply(421, (b"too many connections, try later (#4.3.2)",))
CROWDED = Reply(421, (b"too many connections from your address, try later (#4.7.0)",))
CLOSING = Reply(421, (b"going down, try later (#4.3.2)",))
NOT_STORED = Reply(451, (b"qq write error or disk full (#4.3.0)",))


@dataclass(slots=True)
class Reception:
    """What all connections share. ``accepted`` gets each stored message, on the loop's thread."""

    policies: Policies
    queue: Queue
    committer: Committer
    work: Work
    accepted: Callable[[QueueRecord], None]
    log: Log
    interfaces: frozenset[str]
    uid: int
    limits: ConnectionLimits
    tls: ssl.SSLContext | None
    connections: set[Connection]
    trusted: proxy_protocol.Trusted
    closing: bool = False
    headers: int = 0


class Connection(asyncio.Protocol):
    """Reading pauses while a message is being stored, so that a client cannot fill our memory with pipelined input."""

    def __init__(self, shared: Reception) -> None:
        """``shared`` belongs to the server."""
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._peer = header_fields.Peer(b"unknown", b"unknown")
        self._draft: Draft | None = None
        self._timeout_s = 1200.0
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._storing = False
        self._unread = False
        self._inside = False
        self._header: bytes | None = None
        self._securing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the peer, or refuse it with 421 (RFC 5321 §3.1)."""
        again = self._transport is not None  # TLS calls this a second time
        self._transport = cast(asyncio.Transport, transport)
        if again:
            return
        self._shared.connections.add(self)
        peername = self._transport.get_extra_info("peername")
        if peername is None:  # the peer reset the connection before we accepted it
            self._transport.abort()
            return
        ip = proxy_protocol.normal(str(peername[0]))
        self._peer = header_fields.Peer(ip.encode(), b"unknown")
        if ip not in self._shared.trusted:
            self._welcome(ip)
        elif self._shared.headers >= HEADERS:
            self._give_up("too many connections wait for their PROXY header")
        else:
            self._header = b""
            self._shared.headers += 1
            self._timer = self._loop.call_later(proxy_protocol.HEADER_S, self._give_up, "no PROXY header in time")

    def _read_header(self, header: bytes) -> None:
        """Take the client's address from the PROXY header, then feed what follows the header to the session."""
        try:
            found = proxy_protocol.parse(header)
        except proxy_protocol.ProxyError as error:
            self._give_up(str(error))
            return
        if found is None:
            self._header = header
            return
        self._header_ends()
        if self._timer is not None:
            self._timer.cancel()
        ip = found.client.ip if found.client is not None else self._peer.ip.decode()
        self._peer = header_fields.Peer(ip.encode(), b"unknown")
        self._welcome(ip, balancer=found.client is None)
        if len(header) > found.octets:
            self.data_received(header[found.octets :])

    def _header_ends(self) -> None:
        """The header is complete, or its connection has ended: the connection no longer counts as waiting."""
        if self._header is not None:
            self._header = None
            self._shared.headers -= 1

    def _give_up(self, why: str) -> None:
        """Abort without a reply: the peer is a balancer that sent no usable header."""
        self._warn(why)
        if self._transport is not None:
            self._transport.abort()

    def _welcome(self, ip: str, *, balancer: bool = False) -> None:
        """Admit ``ip`` or refuse it. A ``balancer`` that speaks for itself is exempt from the limit per address."""
        if self._turned_away(ip, balancer=balancer):
            return
        self._shared.limits.enter(ip)
        self._inside = True
        try:
            self._open(ip)
        except ControlError as error:
            self._act((session.NO_CONTROLS, Close(1)), str(error))

    def _turned_away(self, ip: str, *, balancer: bool) -> bool:
        """Whether a limit is reached; the peer then gets the 421."""
        limits = self._shared.limits
        if self._shared.closing:
            self._act((CLOSING, Close(1)))
        elif limits.full:
            self._act((BUSY, Close(1)), f"{limits.most} are allowed")
        elif not balancer and limits.full_for(ip):
            self._act((CROWDED, Close(1)), f"{limits.most_each} are allowed from one address")
        else:
            return False
        return True

    def _open(self, ip: str) -> None:
        waiting = self._shared.policies.waiting()
        snapshot = self._shared.policies.snapshot()
        policy = HostPolicy(snapshot, ip, self._shared.interfaces, waiting, starttls=self._shared.tls is not None)
        self._peer = header_fields.Peer(ip.encode(), c_string(snapshot.controls.me or policy.greeting))
        self._timeout_s = policy.timeout_s
        self._session = Session(policy)
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(self._timeout_s, self._check_time)
        self._act((self._session.banner,))

    def data_received(self, data: bytes) -> None:
        """Feed input, split at any octet, to the session (RFC 5321 §4.1, RFC 2920)."""
        self._heard = self._loop.time()
        if self._header is not None:
            self._read_header(self._header + data)
        elif self._session is not None:
            self._act(self._session.feed(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """Discard the unfinished message (RFC 5321 §4.1.1.10); one that is being stored is stored, without a reply.

        Harmless when called twice: uvloop says it of a connection that was lost in its TLS handshake, or does not.
        """
        self._shared.connections.discard(self)
        if self._securing is not None:
            self._securing.cancel()  # uvloop would leave it waiting for ever
        self._header_ends()
        if self._inside:
            self._inside = False
            self._shared.limits.leave(self._peer.ip.decode())
        if self._draft is not None:
            self._warn("connection lost inside a message, nothing of it was stored")
        self._session = None
        self._drop()
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """The peer does not read its replies: take no more commands, as qmail-smtpd does (RFC 2920 §3.2)."""
        self._unread = True
        self._set_reading()

    def resume_writing(self) -> None:
        """The peer reads again: take commands again (RFC 2920 §3.2)."""
        self._unread = False
        self._set_reading()

    def _set_reading(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(RuntimeError):
            if self._unread or self._storing:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def shut(self) -> None:
        """The server stops: send 421 now, or right after the reply to a message being stored (RFC 5321 §3.8)."""
        if not self._storing:
            self._act((CLOSING, Close(1)))

    def cut(self) -> None:
        """Close without waiting for the peer to read, unless its message is being stored (RFC 5321 §3.8)."""
        if self._transport is not None and not self._storing:
            self._transport.abort()

    def _act(self, events: Iterable[Event], why: str = "") -> None:
        """Carry out the session's events in order; all replies leave in one write (Q-SMTP-12). ``why``: for the log."""
        out = []
        for event in events:
            if isinstance(event, Reply):
                out.append(event.octets)
                if event.code in WARNED:
                    self._warn(f"{event.code} {header_fields.logged(event.lines[-1])}" + (f": {why}" if why else ""))
            elif isinstance(event, Content):
                if self._draft is not None:
                    self._draft.write(event.octets)
            elif isinstance(event, Envelope):
                self._draft = self._begin(event)
            elif isinstance(event, Ended):
                self._store()
            elif isinstance(event, Abandoned):
                self._drop()
            else:
                self._send(out)
                self._end(event)
                return
        self._send(out)

    def _warn(self, what: str) -> None:
        self._shared.log.line("warning: smtp ", self._peer.ip, ": ", what)

    def _send(self, out: list[bytes]) -> None:
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def _end(self, event: Close | StartTls) -> None:
        if isinstance(event, StartTls):
            self._securing = self._loop.create_task(self._start_tls())
            self._securing.add_done_callback(lambda done: done.cancelled() or done.exception())
            return
        self._session = None
        self._drop()
        if self._transport is not None:
            self._close(self._transport, linger=event.status != 0)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(UNREAD_S, self.cut)

    def _close(self, transport: asyncio.Transport, *, linger: bool) -> None:
        """Close the connection; with ``linger`` close only our side, until the peer or ``cut`` closes the other.

        A peer that was interrupted may still be sending. If the socket were closed with input unread, the system would
        reset the connection, and the peer might lose our last reply.
        """
        crowded = self._shared.closing or len(self._shared.connections) > self._shared.limits.inside + LINGERING
        if linger and not crowded and transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def _begin(self, envelope: Envelope) -> Draft:
        recipients = self._shared.work.route(envelope.recipients)
        below = header_fields.received_smtp(self._peer, envelope.helo, time.time())
        trace = Trace(b"from network", self._shared.uid, below)
        return self._shared.queue.draft(envelope.sender, recipients, trace)

    def _drop(self) -> None:
        if self._draft is not None:
            self._draft.discard()
            self._draft = None

    def _store(self) -> None:
        draft, self._draft = self._draft, None
        if draft is None:
            return
        self._storing = True
        self._set_reading()
        self._shared.committer.submit(draft, self._stored_soon)

    def _stored_soon(self, result: QueueRecord | OSError) -> None:
        self._loop.call_soon_threadsafe(self._stored, result)

    def _stored(self, result: QueueRecord | OSError) -> None:
        self._storing = False
        why = "" if isinstance(result, QueueRecord) else because(result)
        if isinstance(result, QueueRecord):
            self._loop.call_soon(self._shared.accepted, result)  # an error there must not hold back the reply
            reply = Reply(250, (b"ok %d qp %d" % (time.time(), result.number),))
        else:
            reply = NOT_STORED
        if self._session is None:
            return
        if self._shared.closing:
            self._act((reply, CLOSING, Close(1)), why)
            return
        self._set_reading()
        self._act(self._session.stored(reply), why)

    def _check_time(self) -> None:
        """One timer for each connection, set again only when it fires: most end long before (Q-SMTP-13)."""
        left = self._heard + self._timeout_s - self._loop.time()
        if left > 0 or self._storing:
            self._timer = self._loop.call_later(max(left, 1.0), self._check_time)
        else:
            self._act((session.TIMEOUT, Close(1)), f"silent for {self._timeout_s:g} s")

    async def _start_tls(self) -> None:
        if self._transport is None or self._shared.tls is None or self._session is None:
            return
        try:
            secured = await self._loop.start_tls(self._transport, self, self._shared.tls, server_side=True)
        except OSError as error:
            self._securing = None
            self._transport.abort()
            self.connection_lost(error)
            return
        if secured is not None and self._session is not None:
            self._transport = secured
            self._session.secured()
