"""Who may connect, and how long a login must wait: pure bookkeeping, the caller brings the time.

Every claim asks here before anything is said that depends on the secret, also where its password is remembered. What
failed slows down three things: the address it came from; the pair of that address and the login; and the login, for
addresses that have not opened it before. Such an address has its first tries in a separate queue, which an attacker
cannot fill from a few thousand addresses; and a pair that was right in the last days stands in no queue but its own.
All workers count together, in ``Shared``.
"""

from __future__ import annotations

from collections.abc import Hashable

from mailhost.pop3.auth.shared_tables import FREE_FAILURES, WINDOW_S, Shared, Table
from mailhost.pop3.auth.turns import Turn
from mailhost.pop3.options import Limits
from mailhost.system.addresses import block, network

SLOT_S = 4.0
"""Distance between two checks in one queue: 15 a minute, 21,600 a day instead of millions."""

QUEUE_S = 40.0
"""A client that would wait longer is told to come back: waiting takes up a connection."""

TRIES = 3
"""First tries of an address at a login, as many as a connection has: they come before those of who has failed more."""

TRIES_S = 86_400.0
"""An address has its first tries at a login again when it has not failed there for this long."""

BURST = 4_096
"""First tries at one login that need not wait for their slot: 1,000 addresses have 3,000. A few MB of memory for the
pairs, and as many guesses for an attacker once, for they come back at one in ``SLOT_S``."""

GOOD_S = 7 * 86_400.0
"""For this long an address that has opened a login waits in no queue there but its own."""

CONFIRM_S = 60.0
"""A good pair is recorded again no sooner than this: a login costs other workers nothing."""

REMEMBERED = 20_000
"""Good pairs whose last note a worker remembers; when full, the oldest tenth is forgotten."""

HEALTH_CHECK = "127.0.0.1", b"popbox-canary"
"""The container's own health check has a queue of its own from the start, so that other clients cannot make it fail."""

ENTRANCES = 65_536
"""Logins remembered for LOGIN-DELAY, by all workers together."""

FROM_ADDRESS = "too many connections from this address"
"""Why a connection is refused that no other's end would make room for."""

_TENTHS = 1 << 28


class Throttle:
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
        least one sees the other: a cap is never exceeded. A ``balancer``'s connections belong to many clients: its own
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
            return FROM_ADDRESS
        if waiting > limits.unauthenticated:
            return "too many connections that have not logged in"
        return None

    def waiting(self, unauthenticated: int) -> None:
        """Tell the other workers how many of this worker's connections have not logged in."""
        self._shared.waiting[self._worker] = unauthenticated

    def has_room(self, unauthenticated: int) -> bool:
        """Whether a new connection would be let in."""
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

    def free(self, peer: str, login: bytes, now: float) -> bool:
        """Whether this claim need not wait, checked without the lock: none must wait, or none in the pair's own queue.

        What another worker writes in the same moment counts at the next claim.
        """
        if self.calm(now):
            return True
        key = network(peer)
        return self.is_good(key, login, now) and _busy(self._shared.pairs, (key, login), now) is None

    def calm(self, now: float) -> bool:
        """Whether nothing is throttled, as far as is known."""
        return now >= self._shared.until[0]

    def turns(self, peer: str, login: bytes, now: float) -> tuple[Turn, ...]:
        """How many claims of this kind a worker may judge at once: that many more than are free may fail unnoticed.

        One at each login: it may cost a thread 0.7 s, and other logins need threads too.
        """
        key = network(peer)
        if self.is_good(key, login, now):
            return (((key, login), 1),)
        return (key, max(1, (FREE_FAILURES + 1) // self._shared.workers)), (login, 1)

    def wait(self, peer: str, login: bytes, now: float) -> float | None:
        """Seconds before this claim may be judged: 0 for nearly every client, None for "come back later"."""
        shared = self._shared
        if self.calm(now):
            return 0.0
        with shared.locked():
            queues = self._queues(peer, login, now)
            wait = max([0.0, *(fields[at] - now - early for fields, at, early in queues)])
            if wait > QUEUE_S:
                return None
            for fields, at, _ in queues:
                fields[at] = max(fields[at], now) + SLOT_S
            if wait:
                self._tried(peer, login, now)  # it may hang up now, and has had its place
            return wait

    def _queues(self, peer: str, login: bytes, now: float) -> list[tuple[memoryview[float], int, float]]:
        """Where a claim must stand: the number that says when the next slot is, and how much earlier it may be."""
        shared, key = self._shared, network(peer)
        pair = key, login
        if self.is_good(key, login, now):
            own = _busy(shared.pairs, pair, now)
            return [] if own is None else [(shared.pairs.fields, own + 2, 0.0)]
        queues = []
        address, guessed = _busy(shared.addresses, key, now), _busy(shared.logins, login, now)
        if address is not None:
            queues.append((shared.addresses.fields, address + 2, 0.0))
        if guessed is not None:
            first = _failures(shared.pairs, (block(peer), login), now, TRIES_S) < TRIES
            at, early = (guessed + 3, (BURST - 1) * SLOT_S) if first else (guessed + 2, 0.0)
            queues.append((shared.logins.fields, at, early))
        return queues

    def is_good(self, key: str, login: bytes, now: float) -> bool:
        """Whether this login was opened from this ``network`` in the last days."""
        good = self._shared.good
        at = good.find((key, login))
        return at is not None and now - good.fields[at] < GOOD_S

    def failed(self, peer: str, login: bytes, now: float) -> None:
        """A wrong secret or unknown login: remember it for the address, for the login and for the pair of them."""
        shared = self._shared
        with shared.locked():
            busy = _count(shared.addresses, network(peer), now) | _count(shared.logins, login, now)
            if self._tried(peer, login, now) | busy:
                shared.until[0] = now + WINDOW_S

    def refused(self, peer: str, login: bytes, now: float) -> None:
        """A client was told to come back: that counts for its address, not for the login, which others use."""
        with self._shared.locked():
            _count(self._shared.addresses, network(peer), now)
            self._tried(peer, login, now)
            self._shared.until[0] = now + WINDOW_S

    def _tried(self, peer: str, login: bytes, now: float) -> bool:
        """One try more of this address, and of its block, at this login; whether it must wait for the next."""
        pairs = {(network(peer), login), (block(peer), login)}
        return max(_count(self._shared.pairs, pair, now, TRIES_S) for pair in pairs)

    def succeeded(self, peer: str, login: bytes, now: float) -> None:
        """A correct password: this pair of address and login is known from now on, to all workers."""
        pair = network(peer), login
        if not self.calm(now):
            self._forgive(pair)
        noted = self._noted.get(pair)
        if noted is not None and now - noted < CONFIRM_S:
            return
        self._noted[pair] = now
        _bound(self._noted)
        with self._shared.locked():
            self._shared.good.fields[self._shared.good.place(pair, now)] = now

    def _forgive(self, pair: tuple[str, bytes]) -> None:
        """A client that knows the password does not guess: failures of this pair count from the start again.

        The failures of the address at other logins, and of the login from other addresses, stay.
        """
        pairs = self._shared.pairs
        if pairs.find(pair) is not None:
            with self._shared.locked():
                at = pairs.find(pair)
                if at is not None:
                    pairs.fields[at + 1] = 0

    def too_soon(self, login: bytes, now: float) -> bool:
        """Whether LOGIN-DELAY forbids this login yet (RFC 2449 §6.5); otherwise it counts as begun now.

        Each place of the shared table holds 36 bits of who was there last and 28 of when, in tenths of a second; of
        two logins in one place the older is forgotten, so that no login is refused because of another.
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


def _busy(table: Table, key: Hashable, now: float) -> int | None:
    """Where the entry of ``key`` is, when it has failed so often lately that it must wait."""
    return table.find(key) if _failures(table, key, now) > FREE_FAILURES else None


def _failures(table: Table, key: Hashable, now: float, window_s: float = WINDOW_S) -> float:
    at = table.find(key)
    return 0.0 if at is None or now - table.fields[at] >= window_s else table.fields[at + 1]


def _count(table: Table, key: Hashable, now: float, window_s: float = WINDOW_S) -> bool:
    """One failure more; whether there are more than are free."""
    fields, count = table.fields, _failures(table, key, now, window_s) + 1
    at = table.place(key, now)
    fields[at], fields[at + 1] = now, count
    return count > FREE_FAILURES


def _bound(table: dict[tuple[str, bytes], float]) -> None:
    """Keep a table below its limit."""
    if len(table) > REMEMBERED:
        for key in list(table)[: REMEMBERED // 10]:
            del table[key]
