"""What a restart resumes when the disk cannot read all of it at once."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from mailhost.standin.log import Log
from mailhost.standin.queue import store as queue
from mailhost.standin.queue.format import Journal, QueueRecord, Recipient
from mailhost.standin.queue.store import Queue, Trace
from mailhost.standin.sending import resume
from mailhost.standin.sending.resume import Resumption


class Taken(list[QueueRecord]):
    """Replaces the sender."""

    def resume(self, record: QueueRecord, _journal: Journal) -> None:
        self.append(record)


def test_a_message_that_cannot_be_read_at_start_is_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, taken = Queue(queue.make(tmp_path)), Taken()
    drafts = [store.draft(b"s@x", (Recipient(True, b"j@d"),), Trace(b"x", 1)) for _ in range(3)]
    records = store.commit(drafts)
    (store.root / "tmp/9").mkdir()
    monkeypatch.setattr(resume, "RETRY_S", 0.05)
    real, tries = os.open, iter([True] * 2 + [False] * 9)

    def failing(path: Path, *args: int) -> int:
        if path.name == str(drafts[1].number) and next(tries):
            raise OSError(errno.EIO, "Input/output error", path)
        return real(path, *args)

    async def run() -> None:
        Resumption(store, taken, Log(log.fileno())).begin()  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            while len(taken) < 3:
                await asyncio.sleep(0.01)

    with (tmp_path / "log").open("wb") as log, monkeypatch.context() as disk:
        disk.setattr(os, "open", failing)
        asyncio.run(run())
    assert taken == [records[0], records[2], records[1]]
    said = (tmp_path / "log").read_text().splitlines()
    assert said[0].startswith("warning: unable to clear unfinished files of an earlier run: ")
    assert said[1:] == [said[1]] * 2
    assert said[1].startswith(f"alert: msg {drafts[1].number} cannot be read now, trying later: ")
