"""The record of the file that governs a host: two who change it at once."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from mailhost.accounts import governed
from mailhost.accounts.errors import BusyError
from mailhost.accounts.files import durable
from mailhost.accounts.governed import Governed
from mailhost.accounts.layout import Layout, layout

FILE = Path("/etc/popbox/accounts.toml")


@pytest.fixture
def home(tmp_path: Path) -> Layout:
    (tmp_path / "users").mkdir()
    return layout(tmp_path)


def taken(path: Path) -> bool:
    """Whether a process holds this lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_two_notes_at_once_are_both_kept(home: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes when the first has read the record and not yet written it."""
    put = durable.put_small
    second = threading.Thread(target=governed.note, args=(home, FILE), kwargs={"waits": "for a person"}, daemon=True)

    def late(path: Path, text: bytes, mode: int) -> None:
        if threading.current_thread() is not second:
            second.start()
            if not taken(home.work / "governed.lock"):
                second.join(60)
        put(path, text, mode)

    monkeypatch.setattr(durable, "put_small", late)
    governed.note(home, FILE, applied="abc", at="2026-11-27T00:00:00Z")
    second.join(60)
    assert governed.read(home) == Governed(str(FILE), "abc", "2026-11-27T00:00:00Z", waits="for a person")


def test_a_note_does_not_wait_for_ever(home: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(governed, "LOCK_WAIT_S", 0.0)
    governed.note(home, FILE)
    held = durable.take_lock(home.work / "governed.lock", 0.0)
    with pytest.raises(BusyError, match=r"governed\.lock for 0 s; try again"):
        governed.note(home, FILE, waits="x")
    with pytest.raises(BusyError):
        governed.release(home)
    os.close(held)
    governed.release(home)
    assert governed.read(home) is None
