"""The queue on disk: forms, what a crash leaves, errors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mailhost.standin import entry, queue
from mailhost.standin.entry import Damaged, Entry, Recipient
from mailhost.standin.queue import Queue, Trace

RECIPIENTS = (Recipient(True, b"p-joe@d.com"), Recipient(False, b"x@y"))


@pytest.fixture
def store(tmp_path: Path) -> Queue:
    return Queue(queue.make(tmp_path))


def put(store: Queue, text: bytes = b"hello\n") -> Entry:
    draft = store.draft(b"s@x", RECIPIENTS, Trace(b"from network", 888, b"Below: y\n"))
    draft.write(text)
    (result,) = store.commit([draft])
    assert isinstance(result, Entry)
    return result


def test_q_queue_4_an_entry_comes_back_as_it_went(store: Queue) -> None:
    kept = put(store)
    assert store.read(kept.number) == kept
    fd = store.open(kept.number)
    text = b"".join(queue.message_pieces(fd, kept.offset))
    os.close(fd)
    assert text.startswith(b"Received: (popbox stand-in %d invoked from network); " % kept.number)
    assert text.endswith(b"-0000\nBelow: y\nhello\n")
    assert kept.size == len(text)


def test_a_large_message_is_spooled_and_whole(store: Queue) -> None:
    draft = store.draft(b"", RECIPIENTS, Trace(b"x", 1))
    for _ in range(30):
        draft.write(b"y" * 100_000)
    assert list((store.root / "tmp").iterdir()), "nothing was spooled"
    (kept,) = store.commit([draft])
    assert isinstance(kept, Entry)
    assert store.read(kept.number) == kept
    assert kept.size > 3_000_000


def test_numbers_grow_and_are_never_used_twice(store: Queue) -> None:
    numbers = [store.draft(b"", (), Trace(b"", 1)).number for _ in range(1000)]
    assert sorted(set(numbers)) == numbers
    late = put(store).number
    assert Queue(store.root).draft(b"", (), Trace(b"", 1)).number > late


def test_sweep_clears_what_a_crash_left_and_nothing_else(store: Queue) -> None:
    kept = put(store)
    store.record(kept.number, entry.record_done(0))
    (store.root / "tmp/123").write_bytes(b"half")
    (store.root / "state/123").write_bytes(b"K 0\n")
    assert store.sweep() == 2
    assert store.journal(kept.number).done == {0}
    assert store.numbers() == [kept.number]


def test_the_journal_ignores_a_line_cut_by_a_crash(store: Queue) -> None:
    for line in (entry.record_done(1), entry.record_failed(0, b"a b\n%\xff\n"), entry.record_due(True, 77)):
        store.record(5, line)
    (store.root / "state/5").open("ab").write(b"K 2")
    journal = store.journal(5)
    assert (journal.done, journal.failed, journal.due) == ({0, 1}, {0: b"a b\n%\xff\n"}, {b"L": 77})


@pytest.mark.parametrize("text", [b"", b"popbox-queue 2 x", b"popbox-queue 1 00000040 8\nFs\0Lx\0", b"x" * 100])
def test_a_damaged_entry_is_told_and_stays(store: Queue, text: bytes) -> None:
    kept = put(store)
    (store.root / "msg/7").write_bytes(text)
    found = dict(store.load())
    assert isinstance(found[7], Damaged)
    assert not isinstance(found[kept.number], Exception)
    assert (store.root / "msg/7").exists()


def test_q_queue_2_a_full_disk_leaves_nothing(store: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    drafts = [store.draft(b"s", RECIPIENTS, Trace(b"x", 1)) for _ in range(2)]
    drafts[0].write(b"good")
    drafts[1].write(b"bad")

    def full(fd: int, octets: bytes) -> int:
        if bytes(octets).endswith(b"bad"):
            raise OSError(errno.ENOSPC, "full")
        return real(fd, octets)

    monkeypatch.setattr(os, "write", full)
    good, bad = store.commit(drafts)
    assert isinstance(good, Entry)
    assert isinstance(bad, OSError)
    assert store.numbers() == [good.number]
    assert not list((store.root / "tmp").iterdir())


def test_a_directory_that_cannot_be_synced_takes_the_message_back(
    store: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = store.draft(b"s", RECIPIENTS, Trace(b"x", 1))
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: real(fd) if fd == draft.fd else (_ for _ in ()).throw(OSError(5, "io")))
    (result,) = store.commit([draft])
    assert isinstance(result, OSError)
    assert store.numbers() == []


def test_what_was_refused_and_could_not_be_removed_is_removed_by_the_next_commit(
    store: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = store.draft(b"s", RECIPIENTS, Trace(b"x", 1))
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", lambda fd: None if fd == draft.fd else _raise(OSError(errno.EIO, "io")))
        failing.setattr(os, "unlink", lambda *_args, **_kwargs: _raise(OSError(errno.EROFS, "read-only")))
        (result,) = store.commit([draft])
    assert isinstance(result, OSError)
    assert store.numbers() == [draft.number]
    kept = put(store)
    assert store.numbers() == [kept.number]


def _raise(error: Exception) -> None:
    raise error


def test_a_journal_line_that_was_cut_short_spoils_no_line_after_it(store: Queue) -> None:
    kept = put(store)
    store.record(kept.number, entry.record_done(0))
    with (store.root / "state" / str(kept.number)).open("ab") as cut:
        cut.write(b"Z L 17")
    store.record(kept.number, entry.record_failed(1, b"no\n"))
    assert list(store.load()) == [(kept.number, (kept, entry.Journal({0, 1}, {1: b"no\n"}, {})))]


def test_a_full_disk_while_the_journal_is_written_spoils_no_line_after_it(
    store: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, real = put(store), os.write
    with monkeypatch.context() as full:
        full.setattr(
            os, "write", lambda fd, octets: real(fd, octets[:2]) if len(octets) > 2 else _raise(OSError(28, ""))
        )
        with pytest.raises(OSError):
            store.record(kept.number, entry.record_done(0))
    store.record(kept.number, entry.record_done(1))
    assert store.journal(kept.number).done == {1}


def test_sweep_tries_all_before_it_complains(store: Queue) -> None:
    (store.root / "tmp/1").mkdir()
    (store.root / "tmp/2").write_bytes(b"")
    with pytest.raises(OSError):
        store.sweep()
    assert [path.name for path in (store.root / "tmp").iterdir()] == ["1"]


def test_remove_takes_the_journal_last(store: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = put(store)
    store.record(kept.number, entry.record_done(0))
    order: list[str] = []
    real = Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda self, missing_ok=False: (order.append(self.parent.name), real(self, missing_ok))[1]
    )
    store.remove(kept.number)
    assert order == ["msg", "state"]
