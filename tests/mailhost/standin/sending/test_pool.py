"""The threads of deliveries."""

from __future__ import annotations

import threading

import pytest
from tests.mailhost.standin.support import wait_for

from mailhost.standin.sending.pool import Pool


def test_a_thread_that_is_not_granted_now_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, done = Pool(4), threading.Event()
    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", refused)
        pool.submit(done.set)
        assert pool.stretch(), "the job waits"
    assert not done.is_set()
    wait_for(lambda: not pool.stretch() and done.wait(0), "the job done")
    pool.close()


def refused(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
