"""Order and number: against slow, plain statements of the same."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from popbox.migrate.verify.judge.order import by_number, moved


@given(st.permutations(range(1, 8)))
def test_the_fewest_are_called_moved(numbers: list[int]) -> None:
    out = moved(numbers)
    rest = [number for number in numbers if number not in out]
    assert rest == sorted(rest)
    longer = combinations(numbers, len(rest) + 1)
    assert not any(list(some) == sorted(some) for some in longer)


def test_nothing_moved() -> None:
    assert moved([]) == set()
    assert moved([2, 5, 9]) == set()
    assert moved([9, 2, 5]) == {9}


@given(st.lists(st.integers(1, 9), unique=True, max_size=7), st.randoms(use_true_random=False), st.integers(0, 2))
def test_clients_that_count(kept: list[int], random: object, extra: int) -> None:
    """A client that has fetched k messages goes on at k + 1, tried for each k."""
    new: list[int | None] = [*kept, *[None] * extra]
    random.shuffle(new)  # type: ignore[attr-defined]
    had = 9
    pairs = [(old, place) for place, old in enumerate(new, 1) if old is not None]
    again, missed = by_number(pairs, [place for place, old in enumerate(new, 1) if old is None], had)
    for k in range(had + 1):
        assert again[k] == sum(old is not None and old <= k for old in new[k:])
        assert missed[k] == sum(old is None or old > k for old in new[:k])
