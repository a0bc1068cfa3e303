"""Octets and names on the disk when a call returns: short writes, errors that name their file, closed descriptors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mailhost.system.durable import naming, shut, sync_directory, write_all


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_all_is_written_also_by_a_system_that_takes_three_octets_at_once(
    monkeypatch: pytest.MonkeyPatch, kind: type[bytes]
) -> None:
    taken: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda _, view: taken.append(bytes(view[:3])) or len(taken[-1]))
    write_all(9, kind(b"10 octets."))
    assert taken == [b"10 ", b"oct", b"ets", b"."]
    taken.clear()
    write_all(9, kind(b""))
    assert taken == []


def test_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [4]

    def write(_: int, view: memoryview) -> int:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        return left.pop()

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        write_all(9, b"10 octets.")


def test_a_directory_is_synced_and_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((fd, os.fstat(fd).st_ino)))
    sync_directory(tmp_path)
    ((fd, inode),) = synced
    assert inode == tmp_path.stat().st_ino
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_directory_that_cannot_be_synced_is_named_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fds: list[int] = []

    def fsync(fd: int) -> None:
        fds.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error") as error:
        sync_directory(tmp_path)
    assert error.value.filename == str(tmp_path)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fds[0])
    with pytest.raises(NotADirectoryError):
        sync_directory(__file__)


def test_an_error_that_names_a_file_keeps_its_name() -> None:
    with pytest.raises(OSError, match="no") as error, naming("/outer"):
        raise OSError(errno.EIO, "no", "/inner")
    assert error.value.filename == "/inner"


def test_closing_what_is_closed_already_is_no_error(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    shut(fd)
    shut(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
