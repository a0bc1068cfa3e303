"""The queue on disk: format, what a crash leaves, errors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mailhost.standin.queue import format
from mailhost.standin.queue import store as queue
from mailhost.standin.queue.format import Damaged, QueueRecord, Recipient
from mailhost.standin.queue.store import Queue, Trace
from mailhost.system.durable import sync_directory

RECIPIENTS = (Recipient(True, b"p-joe@d.com"), Recipient(False, b"x@y"))


@pytest.fixture
def store(tmp_path: Path) -> Queue:
    return Queue(queue.make(tmp_path))


def put(store: Queue, text: bytes = b"hello\n") -> QueueRecord:
    draft = store.draft(b"s@x", RECIPIENTS, Trace(b"from network", 888, b"Below: y\n"))
    draft.write(text)
    (result,) = store.commit([draft])
    assert isinstance(result, QueueRecord)
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


def test_all_messages_are_loaded_or_those_that_are_asked_for_oldest_first(store: Queue) -> None:
    one, two, three = (put(store).number for _ in range(3))
    assert [number for number, _ in store.load()] == [one, two, three]
    assert [number for number, _ in store.load([three, one, 7])] == [one, three]


def test_a_large_message_is_spooled_and_whole(store: Queue) -> None:
    draft = store.draft(b"", RECIPIENTS, Trace(b"x", 1))
    for _ in range(30):
        draft.write(b"y" * 100_000)
    assert list((store.root / "tmp").iterdir()), "nothing was spooled"
    (kept,) = store.commit([draft])
    assert isinstance(kept, QueueRecord)
    assert store.read(kept.number) == kept
    assert kept.size > 3_000_000


def test_of_a_message_that_is_given_up_neither_file_nor_descriptor_stays(store: Queue) -> None:
    draft = store.draft(b"", RECIPIENTS, Trace(b"x", 1))
    draft.write(b"y" * 300_000)
    fd = draft.fd
    os.fstat(fd)
    draft.discard()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert not list((store.root / "tmp").iterdir())


def test_after_an_error_a_message_makes_no_file_and_takes_none_away(store: Queue) -> None:
    draft, folder = store.draft(b"", RECIPIENTS, Trace(b"x", 1)), store.root / "tmp"
    other = folder / str(draft.number)
    other.write_bytes(b"another's")
    draft.write(b"y" * 300_000)
    assert other.read_bytes() == b"another's"
    other.unlink()
    draft.write(b"y" * 300_000)
    assert not list(folder.iterdir())
    (result,) = store.commit([draft])
    assert isinstance(result, FileExistsError)


def test_a_large_message_that_fails_frees_its_space_at_once(store: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = store.draft(b"", RECIPIENTS, Trace(b"x", 1))
    draft.write(b"y" * 300_000)
    assert list((store.root / "tmp").iterdir())

    def full(_fd: int, _octets: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    draft.write(b"y" * 300_000)
    assert not list((store.root / "tmp").iterdir()), "and not only when the client has sent the rest"


def open_files() -> set[str]:
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}  # noqa: PTH110


def test_what_is_read_and_made_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = open_files()
    store = Queue(queue.make(tmp_path))
    kept = put(store)
    assert store.read(kept.number) == kept
    store.add_to_journal(kept.number, format.record_done(0))
    store.journal(kept.number)
    with pytest.raises(FileNotFoundError):
        store.read(7)
    os.close(queue.open_lock(tmp_path))
    store.close()
    assert open_files() == before


def test_numbers_grow_though_the_clock_stands_or_goes_back(store: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([5_000_000, 5_000_000, 5_000_000, 3_000_000, 9_000_000])
    monkeypatch.setattr(queue.time, "time_ns", lambda: next(clock))
    numbers = [store.draft(b"", (), Trace(b"", 1)).number for _ in range(5)]
    assert numbers == [5_000, 5_001, 5_002, 5_003, 9_000]


def test_of_a_fault_of_our_own_everybody_hears_and_nothing_stays(store: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    drafts = [store.draft(b"s@x", RECIPIENTS, Trace(b"x", 1)) for _ in range(2)]
    place = store._place
    with monkeypatch.context() as broken:
        broken.setattr(
            store, "_place", lambda one: place(one) if one is drafts[0] else _raise(MemoryError("none left"))
        )
        results = store.commit(drafts)
    assert [str(result) for result in results] == ["[Errno 5] internal trouble: MemoryError('none left')"] * 2
    assert not list((store.root / "tmp").iterdir())
    kept = put(store)
    assert store.numbers() == [kept.number], "the one that was placed is taken back"
    assert store._refused == set(), "once"


def test_a_directory_that_was_synced_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda *words: (opened.append(real(*words)), opened[-1])[1])
    sync_directory(tmp_path)
    (fd,) = opened
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_numbers_grow_and_are_never_used_twice(store: Queue) -> None:
    numbers = [store.draft(b"", (), Trace(b"", 1)).number for _ in range(1000)]
    assert sorted(set(numbers)) == numbers
    late = put(store).number
    assert Queue(store.root).draft(b"", (), Trace(b"", 1)).number > late


def test_sweep_clears_what_a_crash_left_and_nothing_else(store: Queue) -> None:
    kept = put(store)
    store.add_to_journal(kept.number, format.record_done(0))
    (store.root / "tmp/123").write_bytes(b"half")
    (store.root / "state/123").write_bytes(b"K 0\n")
    assert store.sweep() == 2
    assert store.journal(kept.number).done == {0}
    assert store.numbers() == [kept.number]


def test_the_journal_ignores_a_line_cut_by_a_crash(store: Queue) -> None:
    for line in (format.record_done(1), format.record_failed(0, b"a b\n%\xff\n"), format.record_due(True, 77)):
        store.add_to_journal(5, line)
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
    assert isinstance(good, QueueRecord)
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
    store.add_to_journal(kept.number, format.record_done(0))
    with (store.root / "state" / str(kept.number)).open("ab") as cut:
        cut.write(b"Z L 17")
    store.add_to_journal(kept.number, format.record_failed(1, b"no\n"))
    assert list(store.load()) == [(kept.number, (kept, format.Journal({0, 1}, {1: b"no\n"}, {})))]


def test_a_full_disk_while_the_journal_is_written_spoils_no_line_after_it(
    store: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, real = put(store), os.write
    with monkeypatch.context() as full:
        full.setattr(
            os, "write", lambda fd, octets: real(fd, octets[:2]) if len(octets) > 2 else _raise(OSError(28, ""))
        )
        with pytest.raises(OSError):
            store.add_to_journal(kept.number, format.record_done(0))
    store.add_to_journal(kept.number, format.record_done(1))
    assert store.journal(kept.number).done == {1}


def test_sweep_tries_all_before_it_complains(store: Queue) -> None:
    (store.root / "tmp/1").mkdir()
    (store.root / "tmp/2").write_bytes(b"")
    with pytest.raises(OSError):
        store.sweep()
    assert [path.name for path in (store.root / "tmp").iterdir()] == ["1"]


def test_remove_takes_the_journal_last(store: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = put(store)
    store.add_to_journal(kept.number, format.record_done(0))
    order: list[str] = []
    real = Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda self, missing_ok=False: (order.append(self.parent.name), real(self, missing_ok))[1]
    )
    store.remove(kept.number)
    assert order == ["msg", "state"]


def test_of_a_batch_that_is_refused_each_message_hears_of_its_own_trouble(
    store: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = [store.draft(b"s", RECIPIENTS, Trace(b"x", 1)) for _ in range(2)]
    full = drafts[0].path
    move = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda path, to: _raise(OSError(errno.EDQUOT, "quota")) if path == full else move(path, to)
    )
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: _raise(OSError(errno.EIO, "io")) if fd == store._msg_fd else real(fd))
    results = store.commit(drafts)
    assert [result.errno for result in results if isinstance(result, OSError)] == [errno.EDQUOT, errno.EIO]
    assert store.numbers() == []
    assert not list((store.root / "tmp").iterdir())


def test_a_journal_line_of_which_one_octet_was_written_spoils_no_line_after_it(store: Queue) -> None:
    kept = put(store)
    store.add_to_journal(kept.number, format.record_done(0))
    with (store.root / "state" / str(kept.number)).open("ab") as cut:
        cut.write(b"D")
    store.add_to_journal(kept.number, format.record_due(True, 77))
    assert store.journal(kept.number) == format.Journal({0}, {}, {b"L": 77})


def test_a_journal_line_of_no_known_kind_delivers_nobody() -> None:
    for line in (b"KK 1\n", b" 1\n", b"\0 1\n", b"K x\n", b"K \n", b"D 1\n", b"D x y\n", b"Z L\n", b"Z L x\n"):
        with pytest.raises(Damaged):
            format.read_journal(format.record_done(0) + line)


def test_q_queue_2_a_message_is_synced_before_it_gets_its_place_and_then_its_name_is(
    store: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    sync, move = os.fsync, Path.rename

    def synced(fd: int) -> None:
        seen.append(f"sync {Path(f'/proc/self/fd/{fd}').readlink().relative_to(store.root)}")
        sync(fd)

    def moved(path: Path, target: Path) -> Path:
        seen.append(f"move {target.relative_to(store.root)}")
        return move(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", moved)
    kept = put(store)
    assert seen == [f"sync tmp/{kept.number}", f"move msg/{kept.number}", "sync msg"]


def test_of_a_message_without_a_journal_nothing_is_on_record(store: Queue) -> None:
    assert store.journal(put(store).number) == format.Journal()


def test_a_recipient_of_no_channel_is_damage() -> None:
    text = format.encode(b"s@x", RECIPIENTS, 8)
    assert format.decode(1, text, len(text)).recipients == RECIPIENTS
    for channel in (b"\0L", b"\0R"):
        with pytest.raises(Damaged, match="a recipient has no channel"):
            format.decode(1, text.replace(channel, b"\0X"), len(text))


def test_what_an_entry_and_its_journal_say_of_time() -> None:
    assert QueueRecord(1_700_000_000_250_000, b"", (), 0, 0, 0).birth == 1_700_000_000.25
    assert [format.record_due(local, 77) for local in (True, False)] == [b"Z L 77\n", b"Z R 77\n"]
