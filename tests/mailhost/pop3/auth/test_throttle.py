"""Throttling and caps, with a clock of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailhost.pop3.auth.shared_tables import FREE_FAILURES, WINDOW_S, Shared
from mailhost.pop3.auth.throttle import (
    BURST,
    CONFIRM_S,
    ENTRANCES,
    GOOD_S,
    QUEUE_S,
    REMEMBERED,
    SLOT_S,
    TRIES,
    TRIES_S,
    Throttle,
)
from mailhost.pop3.options import Limits
from mailhost.pop3.server.metrics import Counters


def fail(throttle: Throttle, peer: str, login: bytes, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        throttle.failed(peer, login, now)


def test_a_few_failures_cost_nothing() -> None:
    throttle = Throttle(Limits())
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES)
    assert throttle.wait("192.0.2.1", b"joe", 1.0) == 0.0


def test_many_failures_put_an_address_into_a_queue() -> None:
    throttle = Throttle(Limits())
    for number in range(FREE_FAILURES + 1):
        throttle.failed("192.0.2.1", b"%d" % number, 0.0)
    assert throttle.wait("192.0.2.1", b"ann", 1.0) == 0.0  # the first slot is free
    assert throttle.wait("192.0.2.1", b"bob", 1.0) == SLOT_S
    waits = [throttle.wait("192.0.2.1", b"x%d" % n, 1.0) for n in range(20)]
    assert waits[-1] is None
    assert max(wait for wait in waits if wait is not None) <= QUEUE_S
    assert throttle.wait("198.51.100.9", b"joe", 1.0) == 0.0


def test_at_a_login_under_guesses_first_tries_come_before_those_who_failed_there() -> None:
    throttle = Throttle(Limits())
    for number in range(FREE_FAILURES + 1):
        fail(throttle, f"192.0.2.{number}", b"joe", TRIES)
    waits = [throttle.wait(f"192.0.2.{n % 6}", b"joe", 1.0) for n in range(20)]
    assert waits[:3] == [0.0, SLOT_S, 2 * SLOT_S], "they have failed here"
    assert waits[-1] is None
    assert [throttle.wait(f"198.51.100.{n}", b"joe", 1.0) for n in range(200)] == [0.0] * 200, "these have not"
    fail(throttle, "203.0.113.4", b"joe", TRIES, 2.0)
    assert throttle.wait("203.0.113.4", b"joe", 3.0) is None
    assert throttle.wait("203.0.113.4", b"joe", TRIES_S - 1) == 0.0, "no one has guessed for a while"


def test_first_tries_at_one_login_are_bounded_whatever_number_of_addresses() -> None:
    throttle = Throttle(Limits())
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    waits = [throttle.wait(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", b"joe", 1.0) for n in range(BURST + 20)]
    assert waits[:BURST] == [0.0] * BURST
    assert waits[BURST : BURST + 2] == [SLOT_S, 2 * SLOT_S]
    assert waits[-1] is None
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1, WINDOW_S + 1)
    again = [throttle.wait(f"11.0.{n >> 8}.{n & 255}", b"joe", WINDOW_S + 2) for n in range(300)]
    assert again.count(0.0) == int((WINDOW_S + 1) / SLOT_S) - 10, "a pause gives back one in 4 s, not the burst"


def test_who_waits_for_a_first_try_has_had_it_though_he_hangs_up() -> None:
    throttle = Throttle(Limits())
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    for number in range(BURST):
        throttle.wait(f"10.0.{number >> 8}.{number & 255}", b"joe", 1.0)
    waits = [throttle.wait("198.51.100.9", b"joe", 1.0) for _ in range(TRIES + 1)]
    assert waits == [SLOT_S, 2 * SLOT_S, 3 * SLOT_S, 0.0], "the fourth stands with those who have had their tries"


def test_an_ipv6_site_has_first_tries_once() -> None:
    throttle = Throttle(Limits())
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    for number in range(TRIES):
        throttle.failed(f"2001:db8:1:{number}::1", b"joe", 1.0)
    throttle.wait("192.0.2.1", b"joe", 1.0)
    assert throttle.wait("2001:db8:1:ffff::1", b"joe", 1.0) == SLOT_S
    assert throttle.wait("2001:db8:2::1", b"joe", 1.0) == 0.0


def test_a_good_pair_waits_in_its_own_queue_and_nowhere_else() -> None:
    throttle = Throttle(Limits())
    throttle.succeeded("203.0.113.4", b"joe", 0.0)
    for number in range(50):
        fail(throttle, f"192.0.2.{number}", b"joe", 10)  # the login
        throttle.failed("203.0.113.4", b"%d" % number, 0.0)  # the address
    assert [throttle.wait("203.0.113.4", b"joe", 1.0) for _ in range(9)] == [0.0] * 9
    fail(throttle, "203.0.113.4", b"joe", FREE_FAILURES + 1)
    assert [throttle.wait("203.0.113.4", b"joe", 1.0) for _ in range(3)] == [0.0, SLOT_S, 2 * SLOT_S], (
        "guesses from there"
    )
    assert throttle.wait("203.0.113.4", b"joe", GOOD_S) == 0.0, "no one has guessed for days"


def test_nothing_is_looked_up_while_no_client_is_throttled_and_all_workers_know_when_one_is() -> None:
    one, other = pair(Shared(2))
    fail(one, "192.0.2.1", b"joe", FREE_FAILURES)
    assert other.calm(1.0)
    one.failed("192.0.2.1", b"joe", 0.0)
    assert not other.calm(1.0)
    assert other.calm(WINDOW_S + 1)
    one.refused("192.0.2.1", b"joe", WINDOW_S + 2)
    assert not other.calm(WINDOW_S + 3)


def test_who_is_free_while_others_are_throttled() -> None:
    throttle = Throttle(Limits())
    assert throttle.free("203.0.113.4", b"joe", 0.0)
    throttle.succeeded("203.0.113.4", b"joe", 0.0)
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    assert throttle.free("203.0.113.4", b"joe", 1.0)
    assert not throttle.free("203.0.113.5", b"joe", 1.0)
    assert not throttle.free("203.0.113.4", b"ann", 1.0)
    fail(throttle, "203.0.113.4", b"joe", FREE_FAILURES + 1, 1.0)
    assert not throttle.free("203.0.113.4", b"joe", 2.0)


def test_a_client_told_to_come_back_stays_throttled_and_throttles_no_other() -> None:
    throttle = Throttle(Limits())
    for _ in range(100):
        throttle.refused("192.0.2.1", b"joe", 0.0)
    assert [throttle.wait("192.0.2.1", b"ann", 1.0) for _ in range(2)] == [0.0, SLOT_S]
    assert [throttle.wait("198.51.100.9", b"joe", 1.0) for _ in range(9)] == [0.0] * 9


def test_a_crowd_of_logins_does_not_make_a_throttled_one_forgotten() -> None:
    shared = Shared(1, buckets=1)
    throttle = Throttle(Limits(), shared=shared)
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    for number in range(200):
        throttle.failed(f"198.51.100.{number}", b"%d" % number, 1.0)
    assert [throttle.wait("192.0.2.1", b"ann", 2.0) for _ in range(2)] == [0.0, SLOT_S]
    for number in range(200):
        throttle.failed(f"198.51.100.{number}", b"%d" % number, WINDOW_S + 1)
    assert shared.addresses.find("192.0.2.1") is None, "it would be throttled no more, so its place is given away"


def test_how_many_claims_are_judged_at_once() -> None:
    for workers, most in ((1, 6), (2, 3), (4, 1), (8, 1)):
        throttle = Throttle(Limits(), shared=Shared(workers))
        assert throttle.turns("192.0.2.1", b"joe", 0.0) == (("192.0.2.1", most), (b"joe", 1))
        throttle.succeeded("192.0.2.1", b"joe", 0.0)
        assert throttle.turns("192.0.2.1", b"joe", 0.0) == ((("192.0.2.1", b"joe"), 1),)


def test_no_other_client_is_slowed_down() -> None:
    throttle = Throttle(Limits())
    throttle.succeeded("203.0.113.4", b"joe", 0.0)
    fail(throttle, "192.0.2.1", b"joe", 100)
    assert throttle.wait("203.0.113.4", b"joe", 1.0) == 0.0, "the owner's own way in stays open"
    assert throttle.wait("203.0.113.4", b"ann", 1.0) == 0.0


def test_failures_are_forgotten() -> None:
    throttle = Throttle(Limits())
    fail(throttle, "192.0.2.1", b"joe", 100)
    assert throttle.wait("192.0.2.1", b"joe", WINDOW_S + 1) == 0.0


def test_memory_is_bounded_and_whoever_shares_a_bucket_is_not_slowed_for_another() -> None:
    shared = Shared(1, buckets=1)
    throttle = Throttle(Limits(), shared=shared)
    for number in range(200):
        fail(throttle, f"192.0.2.{number}", b"%d" % number, 100, float(number))
        assert throttle.wait(f"198.51.100.{number}", b"other %d" % number, float(number)) == 0.0
        throttle.succeeded(f"192.0.2.{number}", b"%d" % number, float(number))
    for number in range(FREE_FAILURES + 1):
        throttle.failed("203.0.113.4", b"j%d" % number, 200.0)
    assert throttle.wait("203.0.113.4", b"ann", 200.0) == 0.0
    assert throttle.wait("203.0.113.4", b"bob", 200.0) == SLOT_S, "the newest is remembered in a full bucket"


def test_notes_of_good_pairs_are_bounded() -> None:
    throttle = Throttle(Limits())
    for number in range(REMEMBERED + 2):
        throttle.succeeded("192.0.2.1", b"%d" % number, 0.0)
    assert len(throttle._noted) <= REMEMBERED


def pair(shared: Shared | None, limits: Limits | None = None) -> tuple[Throttle, Throttle]:
    """The throttles of two workers; with None each for itself, to show that the tests below can fail."""
    one, other = (Throttle(limits or Limits(), None, shared or Shared(), worker if shared else 0) for worker in (0, 1))
    return one, other


@pytest.mark.parametrize(("shared", "waits"), [(True, SLOT_S), (False, 0.0)])
def test_failures_over_two_workers_are_throttled_as_one(shared: bool, waits: float) -> None:
    one, other = pair(Shared(2) if shared else None)
    for _ in range(FREE_FAILURES + 1):
        one.failed("192.0.2.1", b"joe", 0.0)
    assert one.wait("192.0.2.1", b"ann", 1.0) == 0.0
    assert other.wait("192.0.2.1", b"bob", 1.0) == waits


def test_a_good_pair_has_its_way_in_at_every_worker() -> None:
    one, other = pair(Shared(2))
    one.succeeded("203.0.113.4", b"joe", 0.0)
    for throttle in (one, other):
        fail(throttle, "192.0.2.1", b"joe", 20)
        fail(throttle, "203.0.113.4", b"ann", 20)
    assert [one.wait("203.0.113.4", b"bob", 1.0) for _ in range(2)] == [0.0, SLOT_S]
    assert other.wait("203.0.113.4", b"joe", 1.0) == 0.0


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


def test_processes_that_fail_at_once_lose_no_failure_and_give_no_slot_twice(tmp_path: Path) -> None:
    shared = Shared(4)
    children = []
    for worker in range(4):
        child = os.fork()
        if not child:
            throttle = Throttle(Limits(), None, shared, worker)
            fail(throttle, "192.0.2.1", b"%d" % worker, 500)
            slots = [throttle.wait("192.0.2.1", b"w%d %d" % (worker, n), 1.0) for n in range(2)]
            (tmp_path / str(worker)).write_text(" ".join(str(slot) for slot in slots))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    at = shared.addresses.find("192.0.2.1")
    assert at is not None
    assert shared.addresses.fields[at + 1] == 4 * 500
    slots = sorted(float(slot) for worker in range(4) for slot in (tmp_path / str(worker)).read_text().split())
    assert slots == [SLOT_S * n for n in range(8)]


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


def test_login_delay() -> None:
    throttle = Throttle(Limits(login_delay_s=60))
    assert not throttle.too_soon(b"joe", 0.0)
    assert throttle.too_soon(b"joe", 59.0)
    assert not throttle.too_soon(b"ann", 59.0)
    assert not throttle.too_soon(b"joe", 61.0)


def test_login_delay_holds_for_all_workers_together() -> None:
    shared = Counters(2).entered
    one, other = (Throttle(Limits(login_delay_s=60), shared) for _ in range(2))
    assert not one.too_soon(b"joe", 5.0)
    assert other.too_soon(b"joe", 64.9)
    assert not other.too_soon(b"joe", 65.1)


def test_whoever_shares_a_place_with_another_login_is_not_refused_for_it() -> None:
    throttle = Throttle(Limits(login_delay_s=60))
    logins = [b"%d" % n for n in range(3 * ENTRANCES)]
    assert not any(throttle.too_soon(login, 1.0) for login in logins)
    assert throttle.too_soon(logins[-1], 2.0)


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


def test_without_a_login_delay_nothing_is_forbidden_or_noted() -> None:
    entered = memoryview(bytearray(8 * ENTRANCES)).cast("Q")
    throttle = Throttle(Limits(login_delay_s=0), entered)
    assert not any(throttle.too_soon(b"joe", now) for now in (0.0, 0.0, 0.05))
    assert not any(entered)


def test_who_has_failed_as_often_as_is_free_stands_in_no_queue_while_others_do() -> None:
    throttle = Throttle(Limits())
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    fail(throttle, "198.51.100.9", b"ann", FREE_FAILURES)
    assert [throttle.wait("198.51.100.9", b"ann", 1.0) for _ in range(3)] == [0.0] * 3


def test_a_good_pair_is_noted_once_a_minute() -> None:
    throttle = Throttle(Limits())
    good = throttle._shared.good
    for now, noted in ((0.0, 0.0), (CONFIRM_S - 1, 0.0), (CONFIRM_S, CONFIRM_S)):
        throttle.succeeded("192.0.2.1", b"joe", now)
        at = good.find(("192.0.2.1", b"joe"))
        assert at is not None
        assert good.fields[at] == noted


def test_a_claim_writes_nothing_but_the_slots_of_its_own_queues() -> None:
    shared = Shared(1, buckets=1)  # all in one bucket, beside each other
    throttle = Throttle(Limits(), shared=shared)
    throttle.succeeded("203.0.113.4", b"joe", 0.0)
    for peer, login in (("203.0.113.4", b"joe"), ("192.0.2.1", b"joe"), ("192.0.2.2", b"ann"), ("192.0.2.3", b"bob")):
        fail(throttle, peer, login, FREE_FAILURES + 1)
    tables = {"addresses": shared.addresses, "logins": shared.logins, "pairs": shared.pairs}
    for peer, login, wanted in (
        ("203.0.113.4", b"joe", {("pairs", ("203.0.113.4", b"joe"), 2)}),
        ("192.0.2.2", b"ann", {("addresses", "192.0.2.2", 2), ("logins", b"ann", 2)}),
        ("198.51.100.7", b"ann", {("logins", b"ann", 3)}),
    ):
        before = {name: table._marks.tolist() for name, table in tables.items()}
        assert throttle.wait(peer, login, 1.0) == 0.0
        after = {name: table._marks.tolist() for name, table in tables.items()}
        changed = {(name, n) for name in tables for n, was in enumerate(before[name]) if after[name][n] != was}
        assert changed == {(name, (tables[name].find(key) or 0) + number) for name, key, number in wanted}


def test_a_right_password_clears_what_failed_at_its_own_login_from_its_own_address_only() -> None:
    throttle = Throttle(Limits())
    throttle.succeeded("192.0.2.1", b"joe", 0.0)
    for login in (b"joe", b"ann"):
        for _ in range(FREE_FAILURES + 1):
            throttle.failed("192.0.2.1", login, 1.0)
    assert throttle.wait("192.0.2.1", b"joe", 2.0) == 0.0
    assert throttle.wait("192.0.2.1", b"joe", 2.0) == SLOT_S, "so many failures make the next one wait"
    throttle.succeeded("192.0.2.1", b"joe", 3.0)
    assert [throttle.wait("192.0.2.1", b"joe", 4.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    waits = [throttle.wait("192.0.2.1", b"ann", 4.0) for _ in range(2)]
    assert waits[1], "the address still waits at other logins"
    assert [throttle.wait("192.0.2.2", b"joe", 4.0) for _ in range(2)] == [0.0, 0.0]
