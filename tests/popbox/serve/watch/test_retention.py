"""What leaves a store by age and size, what stays, and that passes go on in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import BadParameter
from tests.popbox.serve.recorded import message

from popbox.cli.amounts import AGE, SIZE
from popbox.journey import retention as module
from popbox.journey.retention import Kept, Retaining
from popbox.journey.store import Store


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
