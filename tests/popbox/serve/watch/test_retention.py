"""What leaves a store by age and size, what stays, and that passes go on in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click import BadParameter
from tests.popbox.serve.recorded import message

from popbox.cli.amounts import AGE, SIZE
from popbox.journey import retention as module
from popbox.journey.model import Event, Kind
from popbox.journey.retention import Kept, Retaining
from popbox.journey.store import Store
from popbox.journey.store.prune import FORETELLS

TRYING = {"delivery": 1, "channel": "local", "recipient": "r", "address": "joe@a.example"}


class Counting:
    """A recorder that counts its passes."""

    def __init__(self) -> None:
        self.passes, self.closed = 0, False

    def run_pass(self) -> int:
        self.passes += 1
        return self.passes

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "journeys") as store:
        yield store


def passed(store: Store, kept: Kept) -> Counting:
    """A recorder after enough passes to end whatever is to be done."""
    recorder = Counting()
    retaining = Retaining(recorder, store, kept)
    while retaining._look_at == 0.0:
        assert retaining.run_pass() == recorder.passes
    return recorder


def test_by_age_in_small_steps_with_a_pass_after_each(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    now = time.time()
    old = [message(store, int(now) - 10_000 + number, "joe@a.example") for number in range(7)]
    young = message(store, int(now) - 1_500, "joe@a.example")  # a message's time is 1,000 s behind its number
    assert passed(store, Kept(age_s=3_600.0)).passes >= 5
    assert [of for of in (*old, young) if store.journey(of)] == [young]


def test_by_size_the_oldest_go_and_a_live_space_stays_whole(store: Store) -> None:
    ids = [message(store, number, f"joe@{'space' if number < 30 else 'a'}.example") for number in range(100)]
    store.make_space("one", "space.example", 0.0)
    passed(store, Kept(most_octets=1))
    assert [of for of in ids if store.journey(of)] == ids[:30]
    store.end_space("one", 1.0)
    passed(store, Kept(most_octets=1))
    assert not [of for of in ids if store.journey(of)]


def test_nothing_goes_that_need_not(store: Store) -> None:
    ids = [message(store, number, "joe@a.example") for number in range(20)]
    recorder = passed(store, Kept(most_octets=2**31))
    assert [of for of in ids if store.journey(of)] == ids
    assert recorder.passes == 1, "a look, and none again for a while"


def test_what_is_young_is_looked_at_once_and_not_all_of_it(store: Store) -> None:
    for number in range(300):
        message(store, 10_000 + number, "joe@a.example")
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    assert store._writer
    store._writer.set_progress_handler(count, 100)
    assert store.prune_some(before=5.0) == 0
    assert steps < 5, "hundreds of SQLite's steps, not thousands"


def loose(store: Store, at: float, kind: Kind, **said: Any) -> int:
    return store.append([Event(at, kind, None, said, "test")])[0]


def there(store: Store, *seqs: int) -> list[bool]:
    return [store.event(seq) is not None for seq in seqs]


def test_events_of_no_message_go_by_age_too(store: Store) -> None:
    now = time.time()
    old = [loose(store, now - 10_000 + number, Kind.NOTE, what="send", space="") for number in range(1_200)]
    blind = [loose(store, now - 9_000, Kind.BLIND, why=why) for why in ("x", "", "y")]
    gap = loose(store, now - 9_000, Kind.GAP, why="rotated")
    young = loose(store, now - 10, Kind.NOTE, what="send", space="")
    assert store.pruned() == 0
    passed(store, Kept(age_s=3_600.0))
    assert not any(there(store, *old))
    assert there(store, gap, *blind, young) == [False, False, False, True, True]
    assert store.blind() == "y", "the last word stays"
    assert store.pruned() == gap
    assert store.cursor() == young, "numbers are never used again"


def test_what_was_foretold_stays_while_a_journey_refers_to_it(store: Store) -> None:
    now = time.time()
    told = [
        loose(store, now - age, Kind.FORETOLD, address="joe@a.example", outcome="x", why="") for age in (9e3, 8e3, 7e3)
    ]
    of = message(store, int(now) - 1_500, "joe@a.example")
    store.append([Event(now - 500, Kind.TRYING, of, {**TRYING, "foretold": told[0]})])
    passed(store, Kept(age_s=3_600.0))
    assert there(store, *told) == [True, False, True], "the last may be what the rules still say"
    assert store.prune(before=now) == 2, "the journey, and what was foretold of it"
    assert there(store, *told) == [False, False, True]


def test_of_a_live_space_no_event_goes(store: Store) -> None:
    store.make_space("mine", "space.example", 0.0)
    before = loose(store, 1.0, Kind.GAP, why="before")
    kept = [
        loose(store, 1.0, Kind.NOTE, what="make space", space="mine"),
        loose(store, 1.0, Kind.NOTE, what="send", space="", recipients=["a@b.example", "Joe@Space.Example"]),
        loose(store, 1.0, Kind.NOTE, what="make mailbox", space="", address="joe@space.example"),
        loose(store, 1.0, Kind.FORETOLD, address="any@space.example", outcome="x", why=""),
    ]
    gone = [
        loose(store, 1.0, Kind.NOTE, what="send", space="", recipients=["a@space.example.org"]),
        loose(store, 1.0, Kind.NOTE, what="make space", space="other"),
    ]
    gap = loose(store, 1.0, Kind.GAP, why="while it lives")
    passed(store, Kept(age_s=3_600.0, most_octets=1))
    assert there(store, *kept, gap) == [True] * 5
    assert there(store, *gone) == [False] * 2
    store.end_space("mine", 1.0)
    passed(store, Kept(age_s=3_600.0))
    assert not any(there(store, before, *kept, gap))


def test_by_size_events_go_with_the_journeys_of_their_age(store: Store) -> None:
    ids, notes = [], []
    for number in range(300):
        ids.append(message(store, number, "joe@a.example"))
        notes.append(loose(store, 1_000.0 + number, Kind.NOTE, what="send", space="", said="x" * 200))
    assert store.prune_some(most_octets=1, at_once=50) == 99, "50 journeys, and what is older than the last of them"
    assert there(store, *notes[:49]) == [False] * 49
    assert there(store, *notes[49:51], ids[50]) == [True, True, True]
    passed(store, Kept(most_octets=1))
    assert not any(there(store, *ids, *notes))


def test_a_store_of_before_has_the_index_too(tmp_path: Path) -> None:
    with Store.open(tmp_path / "old") as store:
        assert store._writer
        store._writer.execute("DROP INDEX events_foretold")
    with Store.open(tmp_path / "old") as store:
        assert store._writer
        plan = store._writer.execute(f"EXPLAIN QUERY PLAN {FORETELLS}", (1,)).fetchall()
        assert "events_foretold" in plan[0][3]


@pytest.mark.parametrize(("said", "amount"), [("30d", 2_592_000), ("90m", 5_400), ("1s", 1)])
def test_ages(said: str, amount: int) -> None:
    assert AGE.convert(said, None, None) == amount


@pytest.mark.parametrize("said", ["", "0d", "-1d", "30", "d", "1.5d", "30 d", "30D", "1" * 10 + "d", "2GiB", "\u0663d"])
def test_no_ages(said: str) -> None:
    with pytest.raises(BadParameter, match="a number and one of s, m, h, d is wanted"):
        AGE.convert(said, None, None)


def test_sizes() -> None:
    assert (SIZE.convert("2GiB", None, None), SIZE.convert("500MiB", None, None)) == (2 << 30, 500 << 20)
    with pytest.raises(BadParameter):
        SIZE.convert("2GB", None, None)
