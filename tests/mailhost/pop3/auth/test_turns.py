"""How many claims are judged at once: pure bookkeeping."""

from __future__ import annotations

from mailhost.pop3.auth.turns import Turns


def test_one_key_at_a_time_and_in_order() -> None:
    turns, seen = Turns(), list[str]()

    def ask(name: str) -> None:
        if turns.take([("a", 1)], lambda: ask(name)):
            seen.append(name)

    assert turns.idle()
    for name in ("one", "two", "three"):
        ask(name)
    assert seen == ["one"]
    assert not turns.idle()
    turns.give_back([("a", 1)])
    assert seen == ["one", "two"]
    turns.give_back([("a", 1)])
    turns.give_back([("a", 1)])
    assert seen == ["one", "two", "three"]
    assert turns.idle()


def test_others_do_not_wait() -> None:
    turns = Turns()
    assert turns.take([("a", 2), ("x", 1)], lambda: None)
    assert not turns.take([("a", 2), ("x", 1)], lambda: None)
    assert turns.take([("a", 2), ("y", 1)], lambda: None)
    assert not turns.take([("a", 2), ("z", 1)], lambda: None)
    assert turns.take([("b", 2), ("z", 1)], lambda: None)


def test_each_of_two_gives_its_own_turn_back() -> None:
    turns, two = Turns(), [("a", 2)]
    assert turns.take(two, lambda: None)
    assert turns.take(two, lambda: None)
    turns.give_back(two)
    assert turns.take(two, lambda: None)
    assert not turns.take(two, lambda: None)


def test_who_is_refused_holds_nothing() -> None:
    turns = Turns()
    assert turns.take([("x", 1)], lambda: None)
    assert not turns.take([("a", 1), ("x", 1)], lambda: None)
    assert turns.take([("a", 1)], lambda: None)


def test_thousands_that_are_judged_at_once_one_after_the_other() -> None:
    """Each gives its turn back in the call that gave it: no call within a call, which Python ends at a thousand."""
    turns, done = Turns(), list[int]()

    def ask(number: int) -> None:
        if turns.take([("a", 1), (number % 3, 1)], lambda: ask(number)):
            done.append(number)
            turns.give_back([("a", 1), (number % 3, 1)])

    assert turns.take([("a", 1)], lambda: None)
    for number in range(5_000):
        ask(number)
    assert done == []
    turns.give_back([("a", 1)])
    assert done == list(range(5_000))
    assert turns.idle()
    assert not turns._held
