"""One client's session on its socket: commands in, replies out, messages in pieces while the peer reads them."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mailhost.pop3.auth.throttle import FROM_ADDRESS
from mailhost.pop3.maildrop.transfer import Transfer, begin
from mailhost.pop3.protocol.events import Authenticate, Close, Event, Lookup, Reply, StartTls, Transmit, Update
from mailhost.pop3.protocol.session import Session
from mailhost.pop3.server.channel import AGAIN, READ, WRITE, Channel
from mailhost.pop3.server.fd_limits import send_last
from mailhost.system import proxy_protocol

if TYPE_CHECKING:
    from mailhost.pop3.maildrop.maildrop import Maildrop
    from mailhost.pop3.server.event_loop import Loop
    from mailhost.pop3.server.tls import Tls

HIGH_OCTETS = 65_536
"""More than this is not prepared for a peer that does not read: it bounds a slow reader's share of memory."""

TURNS = 8
"""One connection fills its output this often before the others get their turn."""

READ_OCTETS = 4_096
"""Taken by one read: a command line of any profile's usual client many times over; the rest wakes us again."""

_GONE = select.EPOLLERR | select.EPOLLHUP


class Registry(Protocol):
    """Who counts the connections."""

    def identify(self, connection: Connection, client: str) -> bool:
        """Count a balancer's connection for its client's address; False when that address has too many."""

    def secured(self) -> None:
        """A TLS handshake is complete."""

    def entered(self, connection: Connection) -> None:
        """A connection has logged in."""

    def ended(self, connection: Connection) -> None:
        """A connection has closed."""


class Service(Protocol):
    """Who does a session's work. An answer of None comes later, by ``Connection.resume``."""

    @property
    def claim(self) -> Callable[[Connection, Authenticate | Lookup], Event | None]:
        """Check a login."""

    def search(self, connection: Connection, drop: Maildrop, event: Transmit) -> Event | None:
        """Find a message that is no longer where it was listed."""

    def update(self, connection: Connection, event: Update) -> Event | None:
        """Make QUIT's changes on disk."""

    def wrap(self, fd: int) -> Tls:
        """TLS on a connection's descriptor.

        Raises:
            OSError: there is no certificate.
        """


class Connection(Channel):
    """Glue between a socket, ``Session`` and the server. Runs on the loop's thread only."""

    __slots__ = (
        "_ending",
        "_eof",
        "_registry",
        "_service",
        "_transfer",
        "busy",
        "deleted",
        "drop",
        "entered_as",
        "handshaking",
        "logged_in",
        "peer",
        "proxied",
        "received",
        "retrieved",
        "secure",
        "session",
        "started",
        "why",
    )

    def __init__(self, loop: Loop, registry: Registry, service: Service, fd: int, peer: str, session: Session) -> None:
        """``fd`` is a connected socket that does not block; it is closed with the connection."""
        super().__init__(loop, fd)
        self._registry, self._service = registry, service
        self.peer = self.entered_as = peer
        self.session = session
        self.drop: Maildrop | None = None
        self.busy = False
        self.handshaking = self.secure = self.logged_in = False
        self.proxied: proxy_protocol.Header | None = None
        self.started = loop.now
        self.received = self.retrieved = self.deleted = 0
        self.why = ""
        self._transfer: Transfer | None = None
        self._eof = self._ending = False

    def begin(self, *, secure: bool, proxied: bool) -> None:
        """Send the banner; behind a balancer after its PROXY header, on a POP3S port after the handshake."""
        self.handshaking = secure
        self.proxied = proxy_protocol.Header() if proxied else None
        if proxied:
            return
        if secure:
            self._handshake()
        else:
            self._greet()

    def _greet(self) -> None:
        self._say(self.session.greeting().data)

    def _read_proxy_header(self, header: proxy_protocol.Header) -> None:
        """Who the balancer's client is. What is missing of the header wakes us again, or the sweep ends it."""
        try:
            found = header.read(self.fd)
        except (proxy_protocol.ProxyError, OSError) as error:
            with contextlib.suppress(OSError):  # closed with input unread the system would send a reset
                os.read(self.fd, READ_OCTETS)
            self.close(
                str(error) if isinstance(error, proxy_protocol.ProxyError) else "connection reset in the PROXY header"
            )
            return
        if found is None:
            return
        if found.client is not None:
            if not self._registry.identify(self, found.client.ip):
                self.peer = found.client.ip
                if not self.handshaking:
                    self._send(self.session.context.profile.texts.temporary.data)
                self.close(FROM_ADDRESS)
                return
            self.peer = self.entered_as = found.client.ip
        self.begin(secure=self.handshaking, proxied=False)

    def ready(self, mask: int) -> None:
        """The loop's call: something can be read or written, or the peer has gone."""
        if self.proxied is not None:
            self._read_proxy_header(self.proxied)
        elif self._rest is not None:
            if mask & _GONE:
                self.close("connection reset")
            else:
                self.pump()
        elif self.handshaking:
            self._handshake()
        elif self.busy:
            if mask & _GONE:
                self.close("connection lost")
            else:
                self._arm(0)  # nothing is read while the session is busy, so nothing piles up
        elif mask & WRITE:
            self.pump()
        else:
            self._read()

    def _read(self) -> None:
        """Take what the peer has sent."""
        try:
            data = os.read(self.fd, READ_OCTETS) if self.tls is None else self.tls.recv(READ_OCTETS)
        except AGAIN:
            return
        except OSError:
            self.close("connection reset")
            return
        self.last = self._loop.now
        if not data:
            self._eof = True
            self.pump()
            return
        self.received += len(data)
        session = self.session
        if self._transfer is not None:
            session.receive(data)
        else:
            event = session.take(data)
            if session.needs_data():
                if type(event) is Reply:
                    self._say(event.data)
                    return
                if event is not None:
                    self._take(event)
                if self._transfer is None:
                    self._settle()
                    return
            elif event is not None:
                self._take(event)
        self.pump()

    def enter(self) -> None:
        """The login was good and the maildrop is open."""
        self.logged_in = True
        self._registry.entered(self)

    def resume(self, event: Event | None) -> None:
        """The I/O layer's work for this session is done; ``event`` is what the session said to that."""
        if self.fd >= 0:
            self.busy = False
            if event is not None:
                self._take(event)
            self.pump()

    def pump(self) -> None:
        """Carry out events until the session wants input, the I/O layer is at work, or the peer must read first."""
        for _ in range(TURNS):
            if self._rest is not None and not self._flush():
                break
            more = self._fill()
            if not self._out or not self._flush() or not more or self.busy:
                break
        else:
            self._arm(WRITE)  # the others' turn; this one is called again at once
            return
        self._settle()

    def _settle(self) -> None:
        """Send what is left and decide what to wait for."""
        if self._out and self._rest is None:
            self._flush()
        if self.fd < 0:
            return
        if self._rest is not None:
            self._arm(WRITE)
        elif self._ending:
            self.close(self.why)
        elif self.handshaking:
            self._handshake()
        elif self._eof and not self.busy:
            self.close("connection lost")
        elif not self.busy:
            if self._events != READ:
                self._arm(READ)
            if self.tls is not None and self.tls.pending():
                self._loop.post(self._read_pending)

    def _fill(self) -> bool:
        """Prepare output up to the mark; False when the session has nothing more to say before it is fed."""
        out, next_event, needs_data, filled = self._out, self.session.next_event, self.session.needs_data, 0
        while filled < HIGH_OCTETS and not self.busy and not self._ending and not self.handshaking:
            if self._transfer is not None:
                self._send_piece(self._transfer)
            else:
                event = next_event()
                if event is None:
                    return False
                if isinstance(event, Reply):
                    out.append(event.data)
                    if needs_data():
                        return False
                else:
                    self._takes[type(event)](self, event)
            if out:
                filled += len(out[-1])
        return True

    def _take(self, event: Event) -> None:
        """One event of the session: a reply goes out, everything else is work."""
        if isinstance(event, Reply):
            self._out.append(event.data)
        else:
            self._takes[type(event)](self, event)

    def _begin(self, event: Transmit) -> None:
        """Send a message, or the first piece of one."""
        if self.drop is None:
            self._out.append(event.missing.data)
            return
        try:
            data, self._transfer = begin(self.drop, event)
        except FileNotFoundError:
            self._work(self._service.search(self, self.drop, event))
            return
        except OSError:
            self._out.append(event.missing.data)
            return
        self.retrieved += event.refusal is None or data is not event.refusal.data
        self._out.append(data)

    def _send_piece(self, transfer: Transfer) -> None:
        """Queue the next piece of the message."""
        try:
            self._out.append(transfer.piece())
        except OSError:
            self._ending = True
            self.why = "message could not be read"
        if transfer.done or self._ending:
            self._end_transfer()

    def _end_transfer(self) -> None:
        if self._transfer is not None:
            self._transfer.close()
            self._transfer = None

    def _authenticate(self, event: Authenticate | Lookup) -> None:
        self._work(self._service.claim(self, event))

    def _update(self, event: Update) -> None:
        self._work(self._service.update(self, event))

    def _work(self, answer: Event | None) -> None:
        """None means the I/O layer answers later, by ``resume``."""
        if answer is None:
            self.busy = True
        else:
            self._take(answer)

    def _close_event(self, event: Close) -> None:
        if self.drop is not None:
            self.drop.close()  # before the reply: its reader may log in again at once, at another worker
        data, self.why, self._ending = event.reply.data, event.why, True
        if self.tls is None and self._rest is None and not self._out:
            count = send_last(self.fd, data)
            self.sent += count
            data = data[count:]
        if data:
            self._out.append(data)

    def _start_tls(self, event: StartTls) -> None:
        self._out.append(event.reply.data)
        self.handshaking = True

    def _say(self, data: bytes) -> None:
        """A reply behind which nothing waits."""
        if not self._send(data) or self.tls is not None:
            self._settle()

    def _read_pending(self) -> None:
        if self.fd >= 0 and not self.busy and self._rest is None:
            self._read()

    def _handshake(self) -> None:
        """Go on with the TLS handshake, and with the session when it is done."""
        try:
            if self.tls is None:
                self.tls = self._service.wrap(self.fd)
            wanted = self.tls.handshake()
        except OSError:
            self.close("TLS handshake failed")
            return
        if wanted:
            self._arm(wanted)
            return
        self.handshaking = False
        self.secure = True
        self._registry.secured()
        self.session.secured()
        if self.session.greeted:
            self._arm(READ)
            self._read_pending()
        else:
            self._greet()

    def dismiss(self, why: str) -> None:
        """End it because the server wants that: the client is told why, where it listens for a reply."""
        if self.fd >= 0 and self.proxied is None and not self.handshaking and not (self._rest or self._transfer):
            self._send(self.session.farewell(why).data)
        self.close(why)

    def close(self, why: str) -> None:
        """End it: descriptor, maildrop and log line; a second call does nothing."""
        if self.fd < 0:
            return
        self._loop.forget(self.fd)
        fd, self.fd = self.fd, -1
        self.why = why
        self._end_transfer()
        if self.drop is not None:
            self.drop.close()  # before the descriptor: who sees the end may log in again at once
        if self.tls is None:
            os.close(fd)
        else:
            self.tls.close()
        self._out.clear()
        self._rest = None
        self._registry.ended(self)

    _takes: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        Transmit: _begin,
        Authenticate: _authenticate,
        Lookup: _authenticate,
        Update: _update,
        Close: _close_event,
        StartTls: _start_tls,
    }
    """What is done for each event that is no reply."""
