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


def test_who_is_told_to_come_back_has_had_a_try_there() -> None:
    throttle = Throttle(Limits())
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    peers = [f"198.51.{n}.1" for n in range(3)]
    for peer in peers:
        for _ in range(TRIES):
            throttle.refused(peer, b"joe", 0.0)
    assert [throttle.wait(peer, b"joe", 1.0) for peer in peers] == [0.0, SLOT_S, 2 * SLOT_S], "no longer a first try"


def test_a_right_password_gives_all_free_failures_back() -> None:
    throttle = Throttle(Limits())
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    throttle.succeeded("192.0.2.1", b"joe", 1.0)
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES, 2.0)
    assert [throttle.wait("192.0.2.1", b"joe", 3.0) for _ in range(3)] == [0.0] * 3


def test_failures_are_forgotten_when_their_window_is_over_to_the_second() -> None:
    throttle = Throttle(Limits())
    fail(throttle, "192.0.2.1", b"joe", FREE_FAILURES + 1)
    fail(throttle, "198.51.100.9", b"ann", FREE_FAILURES + 1, 1.0)  # so that someone must wait then
    assert [throttle.wait("192.0.2.1", b"joe", WINDOW_S - 0.5) for _ in range(2)] == [0.0, SLOT_S]
    assert [throttle.wait("192.0.2.1", b"joe", WINDOW_S) for _ in range(2)] == [0.0] * 2


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
