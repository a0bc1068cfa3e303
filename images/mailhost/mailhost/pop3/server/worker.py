"""One worker of the in-process server: accepts, reloads, drains. No fork, exec or setuid for a session.

One thread runs the loop and all protocol work; hashing and long scans run in threads. The process has given up root
before it accepts the first connection.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mailhost.pop3.auth.passdb import Passdb, PassdbError, Source
from mailhost.pop3.auth.password_check import Credentials
from mailhost.pop3.auth.throttle import HEALTH_CHECK, Throttle
from mailhost.pop3.maildrop.open_maildrops import OpenMaildrops
from mailhost.pop3.options import Options
from mailhost.pop3.protocol.events import Event, Transmit, Update
from mailhost.pop3.protocol.session import Session, by_state
from mailhost.pop3.protocol.state import Features
from mailhost.pop3.server.connection import Connection
from mailhost.pop3.server.event_loop import Loop
from mailhost.pop3.server.fd_limits import room
from mailhost.pop3.server.http_status import StatusPort
from mailhost.pop3.server.log import Log
from mailhost.pop3.server.login import Logins
from mailhost.pop3.server.metrics import Count, Counters, machine
from mailhost.pop3.server.recording import Recording
from mailhost.pop3.server.registry import Registry
from mailhost.pop3.server.threads import Threads
from mailhost.system.open_files import limit
from mailhost.system.proxy_protocol import Trusted

if TYPE_CHECKING:
    import ssl

    from mailhost.pop3.maildrop.maildrop import Maildrop
    from mailhost.pop3.protocol.listing import Message
    from mailhost.pop3.server.tls import Tls

PAUSE_S = 0.5
"""How long no connection is accepted after a failure to accept one."""

ACCEPTS = 16
"""Connections taken from one socket before the sessions get their turn."""

_SCARCE = "too few descriptors are left"
_NO_TLS = "no certificate that can be used yet"


@dataclass(frozen=True, slots=True)
class Sockets:
    """What is listened on."""

    plain: tuple[socket.socket, ...]
    secure: tuple[socket.socket, ...] = ()
    status: socket.socket | None = None


class Server:
    """One worker. Make it after dropping root; ``serve`` returns when it has drained."""

    def __init__(
        self,
        options: Options,
        sockets: Sockets,
        counters: Counters,
        worker: int = 0,
        source: Source | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.options = options
        self.loop = Loop()
        self.log = Log()
        self.counts = counters.row(worker)
        self.tls = tls
        hashing, scanning, asking = Threads(max(2, os.cpu_count() or 1)), Threads(2), Threads(1)
        self.passdb = Passdb(options.home / "users", source, asking.run, self.loop.post)
        self._room = room()
        self.maildrops = OpenMaildrops(options.profile, scanning.run, self.loop.post, self._room.maildrop)
        self.throttle = Throttle(options.limits, counters.entered, counters.shared, worker)
        self.throttle.succeeded(*HEALTH_CHECK, self.loop.now)
        credentials = Credentials(hashing.run, self.loop.post, self._upgrade if options.upgrade_hashes else None)
        self.logins = Logins(
            options, self.loop, self.log, self.passdb, credentials, self.maildrops, self.throttle, self.counts
        )
        self.claim = self.logins.claim
        self.registry = Registry(options, self.loop, self.log, self.throttle, self.counts)
        self._sockets, self._counters = sockets, counters
        self._trusted = Trusted(options.proxy_from)
        self._features = Features()
        self._offer(self.offers())
        self._serial, self._pid, self._hostname = 0, os.getpid(), options.hostname.encode()
        self._connection: Callable[..., Connection] = Connection
        if options.log_messages:
            self._connection = partial(Recording, report=partial(self.log.messages, "retrieved"))
        self._draining = self._paused = False
        self.orphaned = False
        self._status = StatusPort(self.loop, sockets.status, self._page, self.ready) if sockets.status else None
        self.loop.after_round = self.log.flush

    def _upgrade(self, login: bytes, password: bytes) -> None:
        """Begin to replace a weak hash; when that fails the login still succeeds."""

        def begun(answer: PassdbError | None) -> None:
            if answer is not None:
                self.log.line("hash not upgraded", login=login, error=str(answer))

        self.passdb.ask(partial(self.passdb.upgrade, login, password), begun)

    def offers(self) -> tuple[bool, bool]:
        """Whether any login has an APOP secret, and a SCRAM one; asks the source, which may take long."""
        return self.passdb.offers(b"apop", self._features.apop), self.passdb.offers(b"scram", self._features.scram)

    def _offer(self, offers: tuple[bool, bool]) -> None:
        """Note what new sessions may use, as things stand now."""
        self._features = Features(
            tls=self.tls is not None,
            plaintext=not self.options.require_tls,
            apop=offers[0],
            scram=offers[1],
            utf8_asked=self.options.utf8_asked,
            login_delay_s=self.options.limits.login_delay_s,
        )
        self._tables = by_state(self.options.profile, self._features)

    def serve(self) -> None:
        """Accept until ``drain``; returns when the last session has ended."""
        for secure, sockets in ((False, self._sockets.plain), (True, self._sockets.secure)):
            for listener in sockets:
                listener.setblocking(False)
                self._listen(listener, secure)
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(0.0005)  # a thread that scans must not delay the sessions by 5 ms each time
        gc.set_threshold(10_000, 1000, 100)  # a session makes no cycles; one look at 50,000 objects takes 10 ms
        self.loop.run()
        self.registry.close("server stopped")
        self.log.flush()
        self.loop.close()

    def _listen(self, listener: socket.socket, secure: bool) -> None:
        """Wait for connections, unless the listener has been closed."""
        self._paused = False
        if listener.fileno() >= 0:
            events = select.EPOLLIN | select.EPOLLEXCLUSIVE  # wakes one worker for one connection, not all
            self.loop.add(listener.fileno(), events, partial(self._accept, listener, secure))

    def ready(self, done: Callable[[bool], None]) -> None:
        """Tell ``done`` whether a login could succeed now: a connection would be taken, and its login looked up."""
        taken = not self._draining and not self._paused and self.registry.has_room()
        if taken and self._room.left():
            self.passdb.ask(self.passdb.readable, lambda answer: done(answer is True))
        else:
            done(False)

    def _page(self) -> bytes:
        """The metrics: what has been counted, and how disk and certificate are."""
        return self._counters.render() + machine(self.options.home, self.options.cert, self.options.canary)

    def _accept(self, listener: socket.socket, secure: bool, _: int) -> None:
        for _turn in range(ACCEPTS):
            try:
                fd, address = listener._accept()  # type: ignore[attr-defined]  # accept() makes an object, see Connection
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of descriptors: sessions that end will free some, and asking at once spins
                self.log.line("accept failed", error=error.strerror)
                self._paused = True
                self.loop.remove(listener.fileno())
                self.loop.later(PAUSE_S, partial(self._listen, listener, secure))
                return
            self._welcome(fd, str(address[0]), secure)

    def _welcome(self, fd: int, peer: str, secure: bool) -> None:
        """A new connection: the banner, or first a PROXY header or a TLS handshake."""
        proxied = peer in self._trusted
        scarce = fd >= self._room.connection
        refusal = f"{_SCARCE}: ulimit -n is {limit()}" if scarce else _NO_TLS if secure and self.tls is None else None
        refusal = refusal or self.registry.refusal(peer, balancer=proxied)
        if refusal is not None:
            self._turn_away(fd, peer, refusal)
            return
        os.set_blocking(fd, False)
        session = Session(self.options.profile, self._features, self._stamp(), self._tables)
        connection = self._connection(self.loop, self.registry, self, fd, peer, session)
        self.registry.add(connection)
        connection.begin(secure=secure, proxied=proxied)

    def _turn_away(self, fd: int, peer: str, refusal: str) -> None:
        self.counts[Count.REFUSED] += 1
        self.log.line("connection refused", peer=peer, reason=refusal)
        with contextlib.suppress(OSError):
            os.write(fd, self.options.profile.texts.temporary.data)  # a new connection has room for it
        os.close(fd)

    def _stamp(self) -> bytes:
        """The banner's timestamp: as in qmail, but the first number differs for every connection of a second."""
        self._serial += 1
        return b"<%d%06d.%d@%b>" % (self._pid, self._serial, time.time(), self._hostname)

    def wrap(self, fd: int) -> Tls:
        """TLS on a connection's descriptor.

        Raises:
            OSError: no certificate was given.
        """
        if self.tls is None:
            raise OSError("no certificate")
        from mailhost.pop3.server.tls import Tls  # loaded with the certificate: without one it would cost 4 MB

        return Tls(fd, self.tls)

    def search(self, connection: Connection, drop: Maildrop, event: Transmit) -> Event | None:
        """A message was not where it had been listed: the event with its open file, or the reply that it has gone."""

        def later(found: Transmit | None) -> None:
            if connection.fd < 0 and found is not None:
                os.close(found.fd)
            connection.resume(found or event.missing)

        return self.maildrops.search(drop, event, later)

    def update(self, connection: Connection, event: Update) -> Event | None:
        """QUIT's changes on disk, all before the reply (RFC 1939 §6)."""
        drop = connection.drop
        if drop is None:
            return connection.session.updated(failed=len(event.delete))

        def later(failed: list[Message]) -> None:
            connection.resume(self._updated(connection, event, failed))

        failed = self.maildrops.update(drop, event, later)
        return None if failed is None else self._updated(connection, event, failed)

    def _updated(self, connection: Connection, event: Update, failed: list[Message]) -> Event:
        """QUIT's changes have been made: count what is gone, and answer."""
        connection.deleted = len(event.delete) - len(failed)
        self.counts[Count.DELETED] += connection.deleted
        if self.options.log_messages and connection.deleted:
            removed = [one for one in event.delete if one not in failed] if failed else event.delete
            self.log.messages("removed", connection, removed)
        return connection.session.updated(failed=len(failed))

    def reload(self, tls: ssl.SSLContext | None, offers: tuple[bool, bool]) -> None:
        """At HUP: new sessions get the new certificate and offers; running ones keep theirs."""
        self.tls = tls
        self._offer(offers)
        self.log.line("reloaded")

    def orphan(self) -> None:
        """The root helper has gone, and none here can become root again: drain, so that a supervisor restarts it."""
        if self._draining:
            return
        self.orphaned = True
        self.log.line("the root helper has gone", consequence="the server ends with 111 to be started again as root")
        self.drain()

    def drain(self) -> None:
        """Refuse new connections, let running sessions end, at most ``drain_s`` seconds; called again, stop."""
        if self._draining:
            self.loop.stop()
            return
        self._draining = True
        self.log.line("draining", sessions=len(self.registry))
        for listener in (*self._sockets.plain, *self._sockets.secure):
            self.loop.remove(listener.fileno())
            listener.close()
        self.registry.close("server stopping", waiting=True)  # a throttled login would wait 40 s after TERM
        self.registry.when_empty(self.loop.stop)
        self.loop.later(self.options.limits.drain_s, self.loop.stop)
