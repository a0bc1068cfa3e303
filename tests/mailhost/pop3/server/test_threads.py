"""Threads that wait hold on to nothing: what a session had listed may be a hundred megabytes."""

from __future__ import annotations

import threading
import weakref

from mailhost.pop3.server.threads import Threads


def test_work_that_is_done_is_forgotten_before_the_next_comes() -> None:
    gone = threading.Event()

    class Work:
        def __call__(self) -> None:
            pass

    work = Work()
    watched = weakref.ref(work, lambda _: gone.set())
    Threads(1).run(work)
    del work
    assert gone.wait(60)
    assert watched() is None
