"""The queue's directories and its lock: for whom they are, whose they are, and links in their place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailhost.standin.queue import format
from mailhost.standin.queue import store as queue
from mailhost.standin.queue.format import QueueRecord, Recipient
from mailhost.standin.queue.store import Queue, Trace


def test_what_is_made_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = Queue(queue.make(tmp_path))
        os.close(queue.open_lock(tmp_path))
        (kept,) = store.commit([store.draft(b"s@x", (Recipient(True, b"p-joe@d.com"),), Trace(b"x", 1))])
        assert isinstance(kept, QueueRecord)
        store.add_to_journal(kept.number, format.record_done(0))
    finally:
        os.umask(before)
    for name in ("msg", "state"):
        assert (store.root / name / str(kept.number)).stat().st_mode & 0o7777 == 0o600
    made = [path for path in (tmp_path / "queue").rglob("*") if path.is_dir()]
    assert {path.name for path in made} == {"lock", "standin", *queue.DIRECTORIES}
    assert {path.stat().st_mode & 0o7777 for path in [tmp_path / "queue", *made]} == {0o700}
    assert (tmp_path / "queue/lock/sendmutex").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("link", ["queue", "queue/lock", "queue/standin", "queue/standin/msg"])
def test_a_link_in_the_place_of_a_directory_of_the_queue_is_refused(tmp_path: Path, link: str) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (home / link).parent.mkdir(parents=True)
    (home / link).symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        queue.make(home)
    assert not list(elsewhere.iterdir())


def test_a_home_that_is_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to("real")
    Queue(queue.make(tmp_path / "home")).close()
    os.close(queue.open_lock(tmp_path / "home"))
    assert (tmp_path / "real/queue/lock/sendmutex").is_file()


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        queue.make(tmp_path / "mistyped")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    queue.make(tmp_path)
    (tmp_path / "queue/lock/sendmutex").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        queue.open_lock(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.needs("root")
def test_what_root_makes_belongs_to_the_queues_owner_and_what_is_somebody_elses_stays_so(tmp_path: Path) -> None:
    (tmp_path / "queue").mkdir()
    os.chown(tmp_path / "queue", 777, 778)
    root = queue.make(tmp_path, (888, 889))
    os.close(queue.open_lock(tmp_path, (888, 889)))
    lock = tmp_path / "queue/lock/sendmutex"
    made = [tmp_path / "queue/lock", root, *(root / name for name in queue.DIRECTORIES), lock]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(888, 889)}
    assert ((tmp_path / "queue").stat().st_uid, tmp_path.stat().st_uid) == (777, 0)
    os.chown(lock, 777, 778)
    os.close(queue.open_lock(tmp_path, (888, 889)))
    assert lock.stat().st_uid == 777


@pytest.mark.needs("root")
def test_a_second_name_of_roots_file_is_not_given_away(tmp_path: Path) -> None:
    queue.make(tmp_path, (888, 889))
    (tmp_path / "secret").write_text("root's\n")
    (tmp_path / "queue/lock/sendmutex").hardlink_to(tmp_path / "secret")
    os.close(queue.open_lock(tmp_path, (888, 889)))
    assert ((tmp_path / "secret").stat().st_uid, (tmp_path / "secret").read_text()) == (0, "root's\n")
