"""How many connections there may be: at all, from one address, over workers and behind a balancer."""

from __future__ import annotations

import pytest
from tests.mailhost.pop3.auth.test_throttle import pair

from mailhost.pop3.auth.shared_tables import Shared
from mailhost.pop3.auth.throttle import (
    Throttle,
)
from mailhost.pop3.options import Limits


@pytest.mark.parametrize(("shared", "admitted"), [(True, 5), (False, 10)])
@pytest.mark.parametrize("limits", [Limits(per_address=5), Limits(connections=5), Limits(unauthenticated=5)])
def test_caps_hold_over_two_workers(limits: Limits, shared: bool, admitted: int) -> None:
    throttles = pair(Shared(2) if shared else None, limits)
    waiting = [0, 0]
    for turn in range(40):
        worker = turn % 2
        if throttles[worker].admit("192.0.2.1", waiting[worker]) is None:
            waiting[worker] += 1
    assert sum(waiting) == admitted
    throttles[0].leave("192.0.2.1")
    throttles[0].waiting(waiting[0] - 1)
    if shared:
        assert throttles[1].admit("192.0.2.1", waiting[1]) is None


def test_what_a_balancer_brings_counts_over_two_workers() -> None:
    one, other = pair(Shared(2), Limits(per_address=1))
    assert one.admit("10.0.0.1", 0, balancer=True) is None
    assert other.admit("10.0.0.1", 0, balancer=True) is None
    assert one.identify("10.0.0.1", "192.0.2.1")
    assert not other.identify("10.0.0.1", "192.0.2.1")
    one.leave("192.0.2.1")
    assert other.identify("10.0.0.1", "192.0.2.1")


def test_addresses_in_one_place_are_told_apart_and_never_refused_for_each_other() -> None:
    one, other = pair(Shared(2, places=1), Limits(per_address=2))
    for number in range(50):
        assert one.admit(f"192.0.2.{number}", 0) is None
        assert other.admit(f"192.0.2.{number}", 0) is None
    assert one.admit("192.0.2.0", 0) == "too many connections from this address", "one of the four that found a cell"
    for number in range(50):
        one.leave(f"192.0.2.{number}")
        other.leave(f"192.0.2.{number}")
    assert all(one.admit("198.51.100.1", 0) is None for _ in range(2))
    assert other.admit("198.51.100.1", 0) == "too many connections from this address", "the cells were given back"


def test_what_a_dead_worker_had_open_is_given_back() -> None:
    limits, shared = Limits(connections=4, per_address=3), Shared(2)
    one, other = pair(shared, limits)
    for throttle in (one, other, other):
        assert throttle.admit("192.0.2.1", 0) is None
    assert one.admit("192.0.2.1", 0) is not None
    shared.give_back(1)
    assert sum(shared.totals) == 1
    assert shared.address("192.0.2.1") == 1
    assert one.admit("192.0.2.1", 0) is None
    assert one.admit("192.0.2.1", 0) is None
    assert one.admit("192.0.2.1", 0) is not None


def test_caps() -> None:
    throttle = Throttle(Limits(connections=3, per_address=2, unauthenticated=10))
    assert throttle.admit("192.0.2.1", 0) is None
    assert throttle.admit("192.0.2.1", 0) is None
    assert throttle.admit("192.0.2.1", 0) == "too many connections from this address"
    assert throttle.admit("192.0.2.2", 10) == "too many connections that have not logged in"
    assert throttle.admit("192.0.2.2", 0) is None
    assert throttle.admit("192.0.2.3", 0) == "too many connections"
    throttle.leave("192.0.2.1")
    assert throttle.admit("192.0.2.1", 0) is None


def test_a_balancers_connections_count_for_its_clients() -> None:
    throttle = Throttle(Limits(per_address=1))
    for _ in range(3):
        assert throttle.admit("10.0.0.1", 0, balancer=True) is None
    assert throttle.identify("10.0.0.1", "192.0.2.1")
    assert not throttle.identify("10.0.0.1", "192.0.2.1")


def test_room() -> None:
    throttle = Throttle(Limits(connections=1, unauthenticated=5))
    assert throttle.has_room(0)
    assert not throttle.has_room(5)
    throttle.admit("192.0.2.1", 0)
    assert not throttle.has_room(0)


def test_where_no_cell_is_free_a_worker_counts_its_own_connections() -> None:
    shared = Shared(2, places=1)
    one, other = pair(shared, Limits(per_address=2))
    for number in range(4):  # WAYS cells in the only place
        assert one.admit(f"198.51.100.{number}", 0) is None
    for throttle in (one, one, other, other):
        assert throttle.admit("192.0.2.1", 0) is None
    assert one.admit("192.0.2.1", 0) == "too many connections from this address"
    for number in range(4):
        one.leave(f"198.51.100.{number}")
    for throttle in (one, one, other, other):
        throttle.leave("192.0.2.1")
    assert not any(shared.cells)
    assert sum(shared.totals) == 0


def test_who_comes_and_goes_leaves_no_cell_taken() -> None:
    shared = Shared(2, places=1)
    one, _ = pair(shared)
    for number in range(40):
        assert one.admit(f"192.0.2.{number}", 0) is None
        assert shared.address(f"192.0.2.{number}") == 1
        one.leave(f"192.0.2.{number}")
        assert not any(shared.cells)


def test_whom_a_balancer_has_named_no_longer_counts_for_the_balancer() -> None:
    throttle = Throttle(Limits(connections=2, per_address=1))
    assert throttle.admit("10.0.0.1", 0, balancer=True) is None
    assert throttle.identify("10.0.0.1", "192.0.2.1")
    assert throttle.admit("10.0.0.1", 0, balancer=True) is None, "of two connections one is open"
    assert throttle.identify("10.0.0.1", "192.0.2.2")
    assert throttle.admit("10.0.0.1", 0, balancer=True) == "too many connections"
    for number in (1, 2):
        throttle.leave(f"192.0.2.{number}")
    assert throttle.has_room(0)
    assert throttle.admit("10.0.0.1", 0) is None, "the balancer itself has none open"
