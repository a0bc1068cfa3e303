"""Staging a text: it gets the mode and owner of the file it will replace, and nothing stays of one that failed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailhost.accounts.errors import BusyError, HostError
from mailhost.accounts.files import durable


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_new_text_has_the_mode_of_the_old_one(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "rcpthosts"
    path.write_text("old\n")
    path.chmod(mode)
    durable.publish(durable.stage(path, b"new\n", 0o644), path)
    assert (path.read_bytes(), path.stat().st_mode & 0o7777) == (b"new\n", mode)


def test_the_first_text_has_the_mode_that_is_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        durable.publish(durable.stage(tmp_path / "locals", b"x\n", 0o644), tmp_path / "locals")
    finally:
        os.umask(before)
    assert (tmp_path / "locals").stat().st_mode & 0o7777 == 0o644


@pytest.mark.needs("root")
def test_a_new_text_has_the_owner_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "poppasswd"
    path.write_text("old\n")
    os.chown(path, 888, 889)
    durable.publish(durable.stage(path, b"new\n", 0o600), path)
    assert (path.stat().st_uid, path.stat().st_gid) == (888, 889)


def broken(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def interrupted(_descriptor: int) -> None:
    raise KeyboardInterrupt


def test_nothing_stays_of_a_text_that_could_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(BusyError, match="locals: cannot be written: No space left on device"):
        durable.stage(tmp_path / "locals", broken, 0o644)
    with pytest.raises(KeyboardInterrupt):
        durable.stage(tmp_path / "locals", interrupted, 0o644)
    assert list(tmp_path.iterdir()) == []


def test_two_texts_of_one_change_lie_beside_each_other_and_are_found_again(tmp_path: Path) -> None:
    one, two = (durable.stage(tmp_path / "locals", b"%d\n" % n, 0o644, number=n) for n in (0, 1))
    assert one != two
    (tmp_path / "other").write_text("stays\n")
    durable.remove_staged(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    durable.remove_staged(tmp_path / "missing")


def test_a_small_file_is_written_synced_and_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), sync(fd)))
    open_before = len(os.listdir("/proc/self/fd"))
    path = tmp_path / "note"
    for text in (b"one\n", b"a longer one\n"):
        durable.put_small(path, text, 0o644)
        assert path.read_bytes() == text
        assert path.stat().st_ino in synced
        assert [found.name for found in tmp_path.iterdir()] == ["note"]
    assert len(os.listdir("/proc/self/fd")) == open_before


def full(_descriptor: int, _octets: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_small_file_on_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note"
    durable.put_small(path, b"old\n", 0o644)
    open_before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(BusyError, match="note: cannot be written: No space left on device"):
            durable.put_small(path, b"new\n", 0o644)
    assert path.read_bytes() == b"old\n"
    assert len(os.listdir("/proc/self/fd")) == open_before
    durable.put_small(path, b"new\n", 0o644)
    assert path.read_bytes() == b"new\n"


def test_what_belongs_to_whom_it_should_is_not_given_away_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system call that some file systems refuse, also where nothing would change."""
    path = tmp_path / "locals"
    path.write_text("old\n")
    monkeypatch.setattr(os, "fchown", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no")))
    durable.publish(durable.stage(path, b"new\n", 0o644), path)
    assert path.read_bytes() == b"new\n"


@pytest.mark.needs("root")
def test_an_owner_that_cannot_be_kept_is_an_error_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "locals"
    path.write_text("old\n")
    os.chown(path, 888, 889)
    monkeypatch.setattr(os, "fchown", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no")))
    with pytest.raises(HostError, match="locals: belongs to 888:889, which this user cannot keep"):
        durable.stage(path, b"new\n", 0o644)
    assert [found.name for found in tmp_path.iterdir()] == ["locals"]
    assert path.read_bytes() == b"old\n"


def test_a_text_in_the_place_of_a_link_has_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("stays\n")
    (tmp_path / "locals").symlink_to("target")  # a link's own mode is 0777
    durable.publish(durable.stage(tmp_path / "locals", b"new\n", 0o640), tmp_path / "locals")
    assert (tmp_path / "locals").lstat().st_mode & 0o7777 == 0o640
    assert (tmp_path / "target").read_text() == "stays\n"


def test_only_what_has_both_halves_of_a_staged_name_is_removed(tmp_path: Path) -> None:
    staged = durable.staged_name(tmp_path / "locals", 3)
    others = [".locals", staged.name.removeprefix("."), f".x{durable.SUFFIX}y"]
    for name in (staged.name, *others):
        (tmp_path / name).write_text("")
    durable.staged_name(tmp_path / "folder").mkdir()
    durable.remove_staged(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, f".folder{durable.SUFFIX}"])


def test_a_directory_has_its_mode_whatever_the_umask_and_whatever_a_crash_left(tmp_path: Path) -> None:
    left = durable.staged_name(tmp_path / "domains")
    left.mkdir(0o700)
    before = os.umask(0o077)
    try:
        durable.make_directory(tmp_path / "domains")
    finally:
        os.umask(before)
    assert (tmp_path / "domains").stat().st_mode & 0o7777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["domains"]


@pytest.mark.parametrize("in_kernel", [True, False])
def test_a_part_is_copied_and_no_more(in_kernel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not in_kernel:
        monkeypatch.setattr(os, "copy_file_range", lambda *_, **__: (_ for _ in ()).throw(OSError(18, "cross-device")))
    text = bytes(range(256)) * 16
    (tmp_path / "source").write_bytes(text)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        durable.write_all(target.fileno(), b"head")
        durable.copy_range(source.fileno(), target.fileno(), 1000, 1500)
        durable.copy_range(source.fileno(), target.fileno(), 7, 7)
        durable.copy_range(source.fileno(), target.fileno(), 4000, 5000)  # the file has become shorter: up to its end
    assert (tmp_path / "target").read_bytes() == b"head" + text[1000:1500] + text[4000:]


def test_what_the_kernel_copies_is_not_copied_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces as the kernel likes; where it stops early, the rest by hand."""
    text, real, pieces = b"0123456789" * 10, os.copy_file_range, [30, 20, 0]
    monkeypatch.setattr(
        os,
        "copy_file_range",
        lambda source, target, count, offset_src: (
            real(source, target, min(count, piece), offset_src=offset_src) if (piece := pieces.pop(0)) else 0
        ),
    )
    by_hand: list[int] = []
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: (by_hand.append(count), read(fd, count, at))[1])
    (tmp_path / "source").write_bytes(text)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        durable.copy_range(source.fileno(), target.fileno(), 10, 95)
    assert (tmp_path / "target").read_bytes() == text[10:95]
    assert by_hand == [35]


def test_a_text_is_for_its_writer_alone_until_it_is_whole(tmp_path: Path) -> None:
    def fill(descriptor: int) -> None:
        assert os.fstat(descriptor).st_mode & 0o7777 == 0o600
        durable.write_all(descriptor, b"x\n")

    before = os.umask(0)
    try:
        staged = durable.stage(tmp_path / "poppasswd", fill, 0o640)
    finally:
        os.umask(before)
    assert staged.stat().st_mode & 0o7777 == 0o640


def test_a_new_directory_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    durable.make_directory(tmp_path / "domains")
    durable.make_private(tmp_path / "kept")
    assert synced == [tmp_path.stat().st_ino] * 2


@pytest.mark.needs("root")
def test_a_new_directory_belongs_to_whom_it_is_made_for(tmp_path: Path) -> None:
    durable.make_directory(tmp_path / "alias", (888, 889))
    assert ((tmp_path / "alias").stat().st_uid, (tmp_path / "alias").stat().st_gid) == (888, 889)


def test_a_private_directory_is_ours_or_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        durable.make_private(tmp_path / "kept")
    assert (tmp_path / "kept").stat().st_mode & 0o7777 == 0o700
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "file").write_text("")
    for name in ("link", "file"):
        with pytest.raises(BusyError, match=f"{name}: is not a directory of uid"):
            durable.make_private(tmp_path / name)
    with pytest.raises(BusyError, match="b: cannot be made: No such file"):
        durable.make_private(tmp_path / "a" / "b")


@pytest.mark.needs("root")
def test_somebody_elses_directory_is_not_private(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    os.chown(tmp_path / "kept", 888, 889)
    with pytest.raises(BusyError, match="kept: is not a directory of uid 0"):
        durable.make_private(tmp_path / "kept")
