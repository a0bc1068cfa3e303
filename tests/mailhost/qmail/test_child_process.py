"""Work shared with a child process: order, a child that fails, threads, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import threading
from contextlib import closing

import pytest

from mailhost.qmail.child_process import Work, in_two

HERE = os.getpid()


def odd(index: int) -> bool:
    return index % 2 == 1


def who(item: int) -> bytes:
    return b"%d %s" % (item, b"here" if os.getpid() == HERE else b"beside")


two_processors = pytest.mark.needs("two processors")


@two_processors
def test_results_come_in_order_from_both_processes() -> None:
    with closing(in_two(Work(who, bytes, bytes), range(5), odd)) as made:
        assert list(made) == [b"0 beside", b"1 here", b"2 beside", b"3 here", b"4 beside"]
    assert multiprocessing.active_children() == []


@two_processors
def test_what_a_failing_child_owes_is_made_here() -> None:
    def only_here(item: int) -> bytes:
        if os.getpid() != HERE and item > 1:
            raise ValueError("in the child")
        return who(item)

    with closing(in_two(Work(only_here, bytes, bytes), range(5), odd)) as made:
        assert list(made) == [b"0 beside", b"1 here", b"2 here", b"3 here", b"4 here"]


def test_an_error_in_an_item_is_met_here() -> None:
    def wrong(item: int) -> bytes:
        raise ValueError(f"item {item}")

    with closing(in_two(Work(wrong, bytes, bytes), range(5), odd)) as made, pytest.raises(ValueError, match="item 0"):
        list(made)


def test_with_another_thread_about_nothing_is_forked() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert list(in_two(Work(who, bytes, bytes), range(3), odd)) == [b"0 here", b"1 here", b"2 here"]
    finally:
        done.set()
        thread.join()


@two_processors
def test_a_reader_that_stops_early_leaves_no_child() -> None:
    with closing(in_two(Work(lambda item: bytes(1 << 20), bytes, bytes), range(100), odd)) as made:
        assert len(next(made)) == 1 << 20
    assert multiprocessing.active_children() == []
