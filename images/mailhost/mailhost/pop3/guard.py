"""Who may connect, and how long a login must wait: pure bookkeeping, the caller brings the time.

Failures slow down the address they came from and the login they were for, never anybody else: an address from which
this login has been used well before keeps its way in, and a correct password is never refused, only made to wait.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from mailhost.pop3.options import Limits

FREE_FAILURES = 5
"""So many failures cost nothing but the fixed delay: people mistype, and mail programs keep old passwords."""

WINDOW_S = 900.0
"""Failures are forgotten when there was none for so long."""

SLOT_S = 4.0
"""Distance between two checks for a throttled address or login: 21,600 guesses a day instead of millions."""

QUEUE_S = 40.0
"""Whoever would have to wait longer is told to come back: what waits, holds a connection."""

REMEMBERED = 20_000
"""Addresses, logins and good pairs remembered each; when full, the oldest tenth is forgotten."""

ENTRANCES = 65_536
"""Logins remembered for LOGIN-DELAY, by all workers together."""

_TENTHS = 1 << 28


@dataclass(slots=True)
class Record:
    """Failures of one address or login, and when the next check may begin."""

    failures: int = 0
    last: float = 0.0
    next_check: float = 0.0


class Guard:
    """One worker's view. Times are monotonic seconds."""

    def __init__(self, limits: Limits, entered: memoryview | None = None) -> None:
        """``entered``: ENTRANCES numbers of 64 bits that all workers share, see ``too_soon``."""
        self._limits = limits
        self._open: dict[str, int] = {}
        self._total = 0
        self._records: dict[tuple[str, str | bytes], Record] = {}
        self._good: dict[tuple[str, bytes], float] = {}
        self._entered = memoryview(bytearray(8 * ENTRANCES)).cast("Q") if entered is None else entered

    def admit(self, peer: str, unauthenticated: int, *, balancer: bool = False) -> str | None:
        """Count a new connection in; or say why it is refused, and then do not count it.

        A ``balancer``'s connections are everybody's: its own address has no cap, see ``identify``.
        """
        limits, key = self._limits, network(peer)
        if self._total >= limits.connections:
            return "too many connections"
        if not balancer and self._open.get(key, 0) >= limits.per_address:
            return "too many connections from this address"
        if unauthenticated >= limits.unauthenticated:
            return "too many connections that have not logged in"
        self._total += 1
        self._open[key] = self._open.get(key, 0) + 1
        return None

    def has_room(self, unauthenticated: int) -> bool:
        """Whether somebody new would be let in."""
        return self._total < self._limits.connections and unauthenticated < self._limits.unauthenticated

    def identify(self, balancer: str, peer: str) -> bool:
        """A connection of ``balancer`` turns out to be ``peer``'s: count it there; False when that is one too many."""
        if self._open.get(network(peer), 0) >= self._limits.per_address:
            return False
        self.leave(balancer)
        self._total += 1
        self._open[network(peer)] = self._open.get(network(peer), 0) + 1
        return True

    def leave(self, peer: str) -> None:
        """Count a connection out."""
        key = network(peer)
        self._total -= 1
        left = self._open.get(key, 1) - 1
        if left:
            self._open[key] = left
        else:
            self._open.pop(key, None)

    def wait(self, peer: str, login: bytes, now: float) -> float | None:
        """Seconds before this login may be checked: 0 for nearly everybody, None for "come back later"."""
        if not self._records or (network(peer), login) in self._good:
            return 0.0
        slots = [self._records.get(key) for key in self._keys(peer, login)]
        busy = [r for r in slots if r is not None and r.failures > FREE_FAILURES and now - r.last < WINDOW_S]
        if not busy:
            return 0.0
        begin = max(now, *(record.next_check for record in busy))
        if begin - now > QUEUE_S:
            return None
        for record in busy:
            record.next_check = begin + SLOT_S
        return begin - now

    def failed(self, peer: str, login: bytes, now: float) -> None:
        """A wrong password or unknown login: remember it for the address and for the login."""
        for key in self._keys(peer, login):
            record = self._records.setdefault(key, Record())
            record.failures = record.failures + 1 if now - record.last < WINDOW_S else 1
            record.last = now
        pair = network(peer), login
        if self._good.get(pair, 0.0) < now - WINDOW_S:
            self._good.pop(pair, None)
        _bound(self._records)

    def succeeded(self, peer: str, login: bytes, now: float) -> None:
        """A correct password: this pair of address and login is known from now on."""
        self._good[network(peer), login] = now
        _bound(self._good)

    def too_soon(self, login: bytes, now: float) -> bool:
        """Whether LOGIN-DELAY forbids this login yet (RFC 2449 §6.5); otherwise it counts as begun now.

        Each place of the shared table holds 36 bits of who was there last and 28 of when, in tenths of a second; of
        two logins in one place the older is forgotten, so that nobody is refused for somebody else.
        """
        if not self._limits.login_delay_s:
            return False
        mark, place = divmod(hash(login) % (1 << 52), ENTRANCES)  # the same in all workers: forks of one process
        seen, earlier = divmod(self._entered[place], _TENTHS)
        tenths = int(now * 10) % _TENTHS
        if seen == mark and (tenths - earlier) % _TENTHS < self._limits.login_delay_s * 10:
            return True
        self._entered[place] = mark * _TENTHS + tenths
        return False

    @staticmethod
    def _keys(peer: str, login: bytes) -> tuple[tuple[str, str | bytes], ...]:
        return ("address", network(peer)), ("login", login)


def network(peer: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 an IPv6 customer can choose from freely."""
    if ":" not in peer:
        return peer
    octets = socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])
    return socket.inet_ntop(socket.AF_INET6, octets[:8] + bytes(8)) + "/64"


def _bound(table: dict[Any, Any]) -> None:
    """Keep a table below its limit."""
    if len(table) > REMEMBERED:
        for key in list(table)[: REMEMBERED // 10]:
            del table[key]
