"""What the workers share: which entry gives its place to a new one, and what a worker that died leaves."""

from __future__ import annotations

import fcntl
import os

from mailhost.pop3.auth.shared_tables import BUCKET, WAYS, Shared, Table
from mailhost.pop3.auth.throttle import GOOD_S, Throttle, network
from mailhost.pop3.options import Limits

KEYS = tuple(range(1, BUCKET + 1))  # all of one bucket, as there is only one


def full(counts: dict[int, float], times: dict[int, float]) -> Table:
    """A table of one bucket, which the keys fill; heavy is more than 5 within 100 s."""
    table = Table(1, heavy=5.0, kept_s=100.0)
    for key in KEYS:
        at = table.place(key, 0.0)
        table.fields[at], table.fields[at + 1] = times.get(key, 1000.0 + key), counts.get(key, 0.0)
        table.fields[at + 2] = table.fields[at + 3] = -9.0
    return table


def given_up(table: Table, now: float) -> int:
    """Which key a new one replaces; all its fields are 0 then."""
    at = table.place(99, now)
    assert table.fields[at : at + 4].tolist() == [0.0] * 4
    [gone] = [key for key in KEYS if table.find(key) is None]
    return gone


def test_the_one_used_longest_ago_gives_its_place() -> None:
    assert given_up(full({}, {5: 900.0, 6: 950.0}), 1010.0) == 5


def test_no_light_one_drives_a_heavy_one_out_that_was_used_lately() -> None:
    heavy = {5: 6.0}
    assert given_up(full(heavy, {5: 911.0}), 1010.0) == 1, "it was used 99 s ago"
    assert given_up(full(heavy, {5: 910.0}), 1010.0) == 5, "100 s ago"
    assert given_up(full({5: 5.0}, {5: 911.0}), 1010.0) == 5, "it is not heavy"


def test_of_two_workers_one_has_the_lock() -> None:
    shared = Shared(workers=2, places=1, buckets=1)

    def free() -> bool:
        child = os.fork()
        if child == 0:
            try:
                fcntl.lockf(shared._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os._exit(1)
            os._exit(0)
        return os.waitpid(child, 0)[1] == 0

    with shared.locked():
        assert not free()
    assert free()


def test_a_worker_that_died_leaves_its_cells_and_no_others() -> None:
    shared = Shared(workers=3, places=2, buckets=1)
    assert min(shared.claim(worker, "192.0.2.1") for worker in (0, 2)) >= 0
    for _ in range(WAYS + 1):  # a cell that is not free again would be missing in the end
        assert shared.claim(1, "192.0.2.1") >= 0
        shared.totals[1] = shared.waiting[1] = 1
        assert shared.address("192.0.2.1") == 3
        shared.give_back(1)
        assert shared.address("192.0.2.1") == 2
        assert shared.totals[1] == shared.waiting[1] == 0


def test_what_a_worker_notes_ends_to_the_second() -> None:
    throttle, now = Throttle(Limits(login_delay_s=60)), 1e7
    throttle.succeeded("192.0.2.1", b"joe", now)
    key = network("192.0.2.1")
    assert throttle.is_good(key, b"joe", now + GOOD_S - 1)
    assert not throttle.is_good(key, b"joe", now + GOOD_S)
    assert not throttle.too_soon(b"joe", now)
    assert throttle.too_soon(b"joe", now + 59)
    assert not throttle.too_soon(b"joe", now + 60)


def test_who_has_left_and_who_was_refused_leaves_nothing() -> None:
    shared = Shared(workers=2, places=2, buckets=1)
    throttle = Throttle(Limits(per_address=1), shared=shared)
    assert throttle.admit("192.0.2.1", 0) is None
    assert throttle.admit("192.0.2.1", 1) is not None
    assert shared.waiting[0] == 1, "of the two one waits"
    throttle.leave("192.0.2.1")
    assert (throttle._open, shared.totals[0]) == ({}, 0)
