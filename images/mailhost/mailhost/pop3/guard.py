"""Who may connect, and how long a login must wait: pure bookkeeping, the caller brings the time.

Failures slow down the address they came from and the login they were for, never anybody else: an address from which
this login has been used well before keeps its way in, and a correct password is never refused, only made to wait.
All workers count together, in ``Shared``.
"""

from __future__ import annotations

import socket

from mailhost.pop3.options import Limits
from mailhost.pop3.shared import Shared

FREE_FAILURES = 5
"""So many failures cost nothing but the fixed delay: people mistype, and mail programs keep old passwords."""

WINDOW_S = 900.0
"""Failures are forgotten when there was none for so long."""

SLOT_S = 4.0
"""Distance between two checks for a throttled address or login: 21,600 guesses a day instead of millions."""

QUEUE_S = 40.0
"""Whoever would have to wait longer is told to come back: what waits, holds a connection."""

CONFIRM_S = 60.0
"""A good pair is noted again not sooner than this: a login costs the others nothing."""

REMEMBERED = 20_000
"""Good pairs whose last note a worker remembers; when full, the oldest tenth is forgotten."""

ENTRANCES = 65_536
"""Logins remembered for LOGIN-DELAY, by all workers together."""

_TENTHS = 1 << 28


class Guard:
    """One worker's view. Times are monotonic seconds."""

    def __init__(
        self, limits: Limits, entered: memoryview | None = None, shared: Shared | None = None, worker: int = 0
    ) -> None:
        """``entered``: ENTRANCES numbers of 64 bits that all workers share, see ``too_soon``."""
        self._limits = limits
        self._open: dict[str, list[int]] = {}  # connections, and the shared cell that says so to the others
        self._total = 0
        self._noted: dict[tuple[str, bytes], float] = {}
        self._entered = memoryview(bytearray(8 * ENTRANCES)).cast("Q") if entered is None else entered
        self._shared = shared or Shared()
        self._worker, self._alone = worker, self._shared.workers == 1

    def admit(self, peer: str, unauthenticated: int, *, balancer: bool = False) -> str | None:
        """Count a new connection in; or say why it is refused, and then do not count it.

        It is counted first and judged then, so that of two workers that take the last place at the same moment at
        least one sees the other: a cap is never exceeded. A ``balancer``'s connections are everybody's: its own
        address has no cap, see ``identify``.
        """
        key = network(peer)
        self._enter(key)
        refusal = self._refusal(key, unauthenticated + 1, balancer=balancer)
        if refusal is not None:
            self._exit(key)
            self.waiting(unauthenticated)
        return refusal

    def _refusal(self, key: str, unauthenticated: int, *, balancer: bool) -> str | None:
        limits, total, waiting = self._limits, self._total, unauthenticated
        if not self._alone:
            self.waiting(unauthenticated)
            total, waiting = sum(self._shared.totals), sum(self._shared.waiting)
        if total > limits.connections:
            return "too many connections"
        if not balancer and total > limits.per_address and self._from(key) > limits.per_address:
            return "too many connections from this address"
        if waiting > limits.unauthenticated:
            return "too many connections that have not logged in"
        return None

    def waiting(self, unauthenticated: int) -> None:
        """So many of this worker's connections have not logged in: let the others know."""
        self._shared.waiting[self._worker] = unauthenticated

    def has_room(self, unauthenticated: int) -> bool:
        """Whether somebody new would be let in."""
        self.waiting(unauthenticated)
        shared, limits = self._shared, self._limits
        return sum(shared.totals) < limits.connections and sum(shared.waiting) < limits.unauthenticated

    def identify(self, balancer: str, peer: str) -> bool:
        """A connection of ``balancer`` turns out to be ``peer``'s: count it there; False when that is one too many."""
        key = network(peer)
        self._enter(key)
        if self._from(key) > self._limits.per_address:
            self._exit(key)
            return False
        self.leave(balancer)
        return True

    def leave(self, peer: str) -> None:
        """Count a connection out."""
        self._exit(network(peer))

    def _from(self, key: str) -> int:
        """Connections from one address; where no shared cell was free, at least this worker's own."""
        mine = self._open[key][0]
        return mine if self._alone else max(mine, self._shared.address(key))

    def _enter(self, key: str) -> None:
        """Count one in: here, and in this worker's cells, which the others read."""
        self._total += 1
        self._shared.totals[self._worker] = self._total
        entry = self._open.get(key)
        if entry is None:
            self._open[key] = [1, -1 if self._alone else self._shared.claim(self._worker, key)]
            return
        entry[0] += 1
        if entry[1] >= 0:
            self._shared.cells[entry[1]] += 1

    def _exit(self, key: str) -> None:
        """The cell before the total: where that is 0, ``give_back`` looks for no cell that a killed worker has left."""
        entry = self._open[key]
        entry[0] -= 1
        if not entry[0]:
            del self._open[key]
        if entry[1] >= 0:
            self._shared.cells[entry[1]] = self._shared.cells[entry[1]] - 1 if entry[0] else 0
        self._total -= 1
        self._shared.totals[self._worker] = self._total

    def wait(self, peer: str, login: bytes, now: float) -> float | None:
        """Seconds before this login may be checked: 0 for nearly everybody, None for "come back later"."""
        shared = self._shared
        if not shared.flags[0]:
            return 0.0
        with shared.locked():
            if shared.good.find((network(peer), login)) is not None:
                return 0.0
            fields = shared.records.fields
            found = [shared.records.find(key) for key in self._keys(peer, login)]
            busy = [
                at for at in found if at is not None and fields[at + 1] > FREE_FAILURES and now - fields[at] < WINDOW_S
            ]
            if not busy:
                return 0.0
            begin = max(now, *(fields[at + 2] for at in busy))
            if begin - now > QUEUE_S:
                return None
            for at in busy:
                fields[at + 2] = begin + SLOT_S
            return begin - now

    def failed(self, peer: str, login: bytes, now: float) -> None:
        """A wrong password or unknown login: remember it for the address and for the login."""
        shared = self._shared
        with shared.locked():
            fields = shared.records.fields
            for key in self._keys(peer, login):
                at = shared.records.place(key)
                fields[at + 1] = fields[at + 1] + 1 if now - fields[at] < WINDOW_S else 1
                fields[at] = now
            good = shared.good.find((network(peer), login))
            if good is not None and shared.good.fields[good] < now - WINDOW_S:
                shared.good.forget(good)
            shared.flags[0] = 1

    def succeeded(self, peer: str, login: bytes, now: float) -> None:
        """A correct password: this pair of address and login is known from now on, to all workers."""
        pair = network(peer), login
        noted = self._noted.get(pair)
        if noted is not None and now - noted < CONFIRM_S:
            return
        self._noted[pair] = now
        _bound(self._noted)
        with self._shared.locked():
            self._shared.good.fields[self._shared.good.place(pair)] = now

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


def _bound(table: dict[tuple[str, bytes], float]) -> None:
    """Keep a table below its limit."""
    if len(table) > REMEMBERED:
        for key in list(table)[: REMEMBERED // 10]:
            del table[key]
