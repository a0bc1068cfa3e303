"""The connections of one worker: counted, closed when silent for too long, and reported when the last one has ended."""

from __future__ import annotations

import collections
import select
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailhost.pop3.auth.throttle import FROM_ADDRESS
from mailhost.pop3.server.connection import Connection
from mailhost.pop3.server.metrics import Count
from mailhost.system.proxy_protocol import HEADER_S

if TYPE_CHECKING:
    from mailhost.pop3.auth.throttle import Throttle
    from mailhost.pop3.options import Options
    from mailhost.pop3.server.event_loop import Loop
    from mailhost.pop3.server.log import Log

GAPS = 8
"""Of the times in which this process stood still so many are remembered, each until no one is connected."""

SWEEP_S = 1.0
"""How often idle sessions are looked for; no timer is kept for each of them."""

# Looked up once: an Enum member costs a call each time, and these count every connection.
_CONNECTIONS, _OPEN = int(Count.CONNECTIONS), int(Count.OPEN)
_RETRIEVED, _RECEIVED, _SENT = int(Count.RETRIEVED), int(Count.RECEIVED), int(Count.SENT)


class Registry:
    """Who is connected. It alone knows the connections that have not logged in."""

    def __init__(self, options: Options, loop: Loop, log: Log, throttle: Throttle, counts: memoryview) -> None:
        self._options, self._loop, self._log, self._throttle, self._counts = options, loop, log, throttle, counts
        self._connections: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # not logged in, the oldest first
        self._sweeping = False
        self._due = 0.0
        self._stood: collections.deque[tuple[float, float]] = collections.deque(maxlen=GAPS)
        self._emptied: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def refusal(self, peer: str, *, balancer: bool) -> str | None:
        """Why no connection from ``peer`` is taken now; None counts one that is.

        Where there are too many in all, the oldest that has not logged in gives its place: those who only hold on to
        connections shut no one out, and who logs in at once is not the oldest.
        """
        why = self._throttle.admit(peer, len(self._waiting), balancer=balancer)
        if why in (None, FROM_ADDRESS) or (oldest := self._oldest()) is None:
            return why
        oldest.dismiss("ended for a newer connection")
        return self._throttle.admit(peer, len(self._waiting), balancer=balancer)

    def _oldest(self) -> Connection | None:
        """Of those that have not logged in; one whose password is being checked may be about to."""
        return next((one for one in self._waiting if not one.busy), None)

    def has_room(self) -> bool:
        """Whether one more connection would be taken."""
        return self._throttle.has_room(len(self._waiting)) or self._oldest() is not None

    def add(self, connection: Connection) -> None:
        """A connection that was taken; from now on the loop calls it."""
        self._connections.add(connection)
        self._waiting[connection] = None
        self._counts[_CONNECTIONS] += 1
        self._counts[_OPEN] += 1
        self._loop.add(connection.fd, select.EPOLLIN, connection.ready)
        if not self._sweeping:
            self._sweeping = True
            self._next_sweep()

    def identify(self, connection: Connection, client: str) -> bool:
        """A balancer has named its client: count the connection for that address. False when it has too many."""
        return self._throttle.identify(connection.peer, client)

    def secured(self) -> None:
        """A TLS handshake is complete."""
        self._counts[Count.TLS] += 1

    def entered(self, connection: Connection) -> None:
        """A connection has logged in."""
        del self._waiting[connection]
        self._throttle.waiting(len(self._waiting))

    def ended(self, connection: Connection) -> None:
        """A connection has closed: count it and write its log line."""
        self._connections.discard(connection)
        self._throttle.leave(connection.entered_as)
        self._waiting.pop(connection, None)
        self._throttle.waiting(len(self._waiting))
        counts = self._counts
        counts[_OPEN] -= 1
        counts[_RETRIEVED] += connection.retrieved
        counts[_RECEIVED] += connection.received
        counts[_SENT] += connection.sent
        self._log.session(connection, self._options.profile.name, self._loop.now)
        if self._emptied is not None and not self._connections:
            self._emptied()

    def close(self, why: str, *, waiting: bool = False) -> None:
        """Dismiss every connection, or with ``waiting`` only those that have not logged in."""
        for connection in list(self._connections):
            if not (waiting and connection.logged_in):
                connection.dismiss(why)

    def when_empty(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the last connection has ended; at once where there is none."""
        self._emptied = action
        if not self._connections:
            action()

    def _sweep(self) -> None:
        """Close sessions that have been silent too long, and those that take too long to log in.

        Silence after the login ends without a word (RFC 1939 §3). Time in which this process stood still (SIGSTOP, a
        frozen container, a virtual machine that was paused) is no silence of theirs: nothing could be read.
        """
        limits, now = self._options.limits, self._loop.now
        if now - self._due > SWEEP_S:
            self._stood.append((self._due, now - self._due))
        idle = limits.idle_s or self._options.profile.idle_s
        for connection in list(self._connections):
            if self._longer(connection.last, idle):
                (connection.close if connection.logged_in else connection.dismiss)("idle")
            elif connection.proxied is not None and self._longer(connection.started, HEADER_S):
                connection.close("no PROXY header in time")
            elif not connection.logged_in and self._longer(connection.started, limits.login_s):
                connection.dismiss("no login in time")
        self._sweeping = bool(self._connections)
        if self._sweeping:
            self._next_sweep()
        else:
            self._stood.clear()

    def _next_sweep(self) -> None:
        self._due = self._loop.now + SWEEP_S
        self._loop.at(self._due, self._sweep)

    def _longer(self, since: float, limit_s: float) -> bool:
        """Whether this process has run for more than so many seconds since then."""
        passed = self._loop.now - since
        return passed > limit_s and passed - sum(lasted for began, lasted in self._stood if began >= since) > limit_s
