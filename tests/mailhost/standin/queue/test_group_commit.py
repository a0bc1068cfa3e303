"""The thread that makes messages durable: it finishes waiting drafts before it ends, and each gets its own result."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mailhost.standin.queue import store as queue
from mailhost.standin.queue.draft import Draft
from mailhost.standin.queue.format import QueueRecord
from mailhost.standin.queue.group_commit import BATCH, Committer
from mailhost.standin.queue.store import Queue, Trace


class Disk:
    """Replaces the queue: ``batches`` is what each commit got; the first waits until ``go``."""

    def __init__(self) -> None:
        self.batches, self.go = list[list[object]](), threading.Event()

    def commit(self, drafts: Iterable[object]) -> list[object]:
        self.batches.append(list(drafts))
        self.go.wait(60)
        time.sleep(0.05 if len(self.batches) == 4 else 0)  # the last: close has been called by now
        return self.batches[-1]


def test_what_waits_is_committed_in_batches_and_in_order_before_close_returns() -> None:
    disk: Any = Disk()
    committer, done = Committer(disk), list[object]()
    waiting: list[Any] = list(range(3 * BATCH))
    committer.submit(waiting[0], done.append)
    while not disk.batches:
        time.sleep(0.001)
    for one in waiting[1:]:
        committer.submit(one, done.append)
    disk.go.set()
    committer.close()
    assert done == waiting
    assert [len(batch) for batch in disk.batches] == [1, BATCH, BATCH, BATCH - 1]
    assert not committer._thread.is_alive()


def draft(store: Queue) -> Draft:
    return store.draft(b"s@x", (), Trace(b"x", 1))


def test_store_waits_for_its_own_message_and_says_what_the_disk_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Queue(queue.make(tmp_path))
    committer = Committer(store)
    try:
        kept = committer.store(draft(store))
        assert store.read(kept.number) == kept
        refusal = OSError(errno.ENOSPC, "full")
        monkeypatch.setattr(store, "commit", lambda drafts: [refusal for _ in drafts])
        with pytest.raises(OSError, match="full"):
            committer.store(draft(store))
        answers: list[QueueRecord | OSError] = []
        committer.submit(draft(store), answers.append)
    finally:
        committer.close()
        store.close()
    assert answers == [refusal]
