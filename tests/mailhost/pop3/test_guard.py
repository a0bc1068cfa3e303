"""Throttling and caps, with a clock of its own."""

from __future__ import annotations

from mailhost.pop3.guard import ENTRANCES, FREE_FAILURES, QUEUE_S, REMEMBERED, SLOT_S, WINDOW_S, Guard, network
from mailhost.pop3.metrics import Counters
from mailhost.pop3.options import Limits


def fail(guard: Guard, peer: str, login: bytes, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        guard.failed(peer, login, now)


def test_a_few_failures_cost_nothing() -> None:
    guard = Guard(Limits())
    fail(guard, "192.0.2.1", b"joe", FREE_FAILURES)
    assert guard.wait("192.0.2.1", b"joe", 1.0) == 0.0


def test_many_failures_put_an_address_and_a_login_into_a_queue() -> None:
    guard = Guard(Limits())
    fail(guard, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    assert guard.wait("192.0.2.1", b"ann", 1.0) == 0.0  # the first slot is free
    assert guard.wait("192.0.2.1", b"bob", 1.0) == SLOT_S
    assert guard.wait("198.51.100.9", b"joe", 1.0) == 0.0
    assert guard.wait("203.0.113.4", b"joe", 1.0) == SLOT_S
    waits = [guard.wait("192.0.2.1", b"x%d" % n, 1.0) for n in range(20)]
    assert waits[-1] is None
    assert max(wait for wait in waits if wait is not None) <= QUEUE_S


def test_nobody_else_is_slowed_down() -> None:
    guard = Guard(Limits())
    guard.succeeded("203.0.113.4", b"joe", 0.0)
    fail(guard, "192.0.2.1", b"joe", 100)
    assert guard.wait("203.0.113.4", b"joe", 1.0) == 0.0, "the owner's own way in stays open"
    assert guard.wait("203.0.113.4", b"ann", 1.0) == 0.0


def test_failures_are_forgotten() -> None:
    guard = Guard(Limits())
    fail(guard, "192.0.2.1", b"joe", 100)
    assert guard.wait("192.0.2.1", b"joe", WINDOW_S + 1) == 0.0


def test_memory_is_bounded() -> None:
    guard = Guard(Limits())
    for number in range(3 * REMEMBERED):
        guard.failed(f"192.0.2.{number}", b"%d" % number, 0.0)
        guard.succeeded(f"192.0.2.{number}", b"%d" % number, 0.0)
    assert len(guard._records) <= REMEMBERED + 2
    assert len(guard._good) <= REMEMBERED + 1


def test_caps() -> None:
    guard = Guard(Limits(connections=3, per_address=2, unauthenticated=10))
    assert guard.admit("192.0.2.1", 0) is None
    assert guard.admit("192.0.2.1", 0) is None
    assert guard.admit("192.0.2.1", 0) == "too many connections from this address"
    assert guard.admit("192.0.2.2", 10) == "too many connections that have not logged in"
    assert guard.admit("192.0.2.2", 0) is None
    assert guard.admit("192.0.2.3", 0) == "too many connections"
    guard.leave("192.0.2.1")
    assert guard.admit("192.0.2.1", 0) is None


def test_a_balancers_connections_count_for_its_clients() -> None:
    guard = Guard(Limits(per_address=1))
    for _ in range(3):
        assert guard.admit("10.0.0.1", 0, balancer=True) is None
    assert guard.identify("10.0.0.1", "192.0.2.1")
    assert not guard.identify("10.0.0.1", "192.0.2.1")


def test_an_ipv6_customer_is_one_address() -> None:
    assert network("2001:db8:1:2::5") == network("2001:db8:1:2:ffff::1")
    assert network("2001:db8:1:2::5") != network("2001:db8:1:3::5")
    assert network("2001::1:2:3:4:5") == network("2001:0:0:1::9"), "the same /64, written in two ways"
    assert network("2001::1:2:3:4:5") != network("2001::2:2:3:4:5")
    assert network("fe80::1%eth0") == network("fe80::2")


def test_login_delay() -> None:
    guard = Guard(Limits(login_delay_s=60))
    assert not guard.too_soon(b"joe", 0.0)
    assert guard.too_soon(b"joe", 59.0)
    assert not guard.too_soon(b"ann", 59.0)
    assert not guard.too_soon(b"joe", 61.0)


def test_login_delay_holds_for_all_workers_together() -> None:
    shared = Counters(2).entered
    one, other = (Guard(Limits(login_delay_s=60), shared) for _ in range(2))
    assert not one.too_soon(b"joe", 5.0)
    assert other.too_soon(b"joe", 64.9)
    assert not other.too_soon(b"joe", 65.1)


def test_whoever_shares_a_place_with_another_login_is_not_refused_for_it() -> None:
    guard = Guard(Limits(login_delay_s=60))
    logins = [b"%d" % n for n in range(3 * ENTRANCES)]
    assert not any(guard.too_soon(login, 1.0) for login in logins)
    assert guard.too_soon(logins[-1], 2.0)


def test_room() -> None:
    guard = Guard(Limits(connections=1, unauthenticated=5))
    assert guard.has_room(0)
    assert not guard.has_room(5)
    guard.admit("192.0.2.1", 0)
    assert not guard.has_room(0)
