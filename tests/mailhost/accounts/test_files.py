"""Staging a text: it gets the mode and owner of the file it will replace, and nothing stays of one that failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailhost.accounts import files
from mailhost.accounts.errors import BusyError


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_new_text_has_the_mode_of_the_old_one(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "rcpthosts"
    path.write_text("old\n")
    path.chmod(mode)
    files.publish(files.stage(path, b"new\n", 0o644), path)
    assert (path.read_bytes(), path.stat().st_mode & 0o7777) == (b"new\n", mode)


def test_the_first_text_has_the_mode_that_is_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.publish(files.stage(tmp_path / "locals", b"x\n", 0o644), tmp_path / "locals")
    finally:
        os.umask(before)
    assert (tmp_path / "locals").stat().st_mode & 0o7777 == 0o644


@pytest.mark.needs("root")
def test_a_new_text_has_the_owner_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "poppasswd"
    path.write_text("old\n")
    os.chown(path, 888, 889)
    files.publish(files.stage(path, b"new\n", 0o600), path)
    assert (path.stat().st_uid, path.stat().st_gid) == (888, 889)


def broken(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def interrupted(_descriptor: int) -> None:
    raise KeyboardInterrupt


def test_nothing_stays_of_a_text_that_could_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(BusyError, match="locals: cannot be written: No space left on device"):
        files.stage(tmp_path / "locals", broken, 0o644)
    with pytest.raises(KeyboardInterrupt):
        files.stage(tmp_path / "locals", interrupted, 0o644)
    assert list(tmp_path.iterdir()) == []


def test_two_texts_of_one_change_lie_beside_each_other_and_are_found_again(tmp_path: Path) -> None:
    one, two = (files.stage(tmp_path / "locals", b"%d\n" % n, 0o644, number=n) for n in (0, 1))
    assert one != two
    (tmp_path / "other").write_text("stays\n")
    files.remove_staged(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    files.remove_staged(tmp_path / "missing")


def test_a_small_file_is_written_synced_and_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), sync(fd)))
    open_before = len(os.listdir("/proc/self/fd"))
    path = tmp_path / "note"
    for text in (b"one\n", b"a longer one\n"):
        files.put_small(path, text, 0o644)
        assert path.read_bytes() == text
        assert path.stat().st_ino in synced
        assert [found.name for found in tmp_path.iterdir()] == ["note"]
    assert len(os.listdir("/proc/self/fd")) == open_before
