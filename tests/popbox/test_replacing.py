"""A rename removes what stands at the new name: no command replaces a device, a FIFO or a link by a file."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from popbox.cli.moving.verify_merge import _opened
from popbox.cli.probe import _replace
from popbox.migrate.pop3.accounts import Unusable
from popbox.migrate.verify.state import State
from popbox.migrate.verify.watch.memory import Memory

ABOUT = {"run": "one"}
OPENERS: dict[str, Callable[[Path], object]] = {
    "verify --state": lambda path: State(path, ABOUT, 1),
    "verify --watch": lambda path: Memory(path, ABOUT),
}


@pytest.mark.parametrize("opener", OPENERS)
def test_a_device_is_no_state_file(opener: str, tmp_path: Path) -> None:
    """By a link: where it were replaced, this machine would keep its device."""
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    with pytest.raises(Unusable, match=f"^{link}: is no regular file"):
        OPENERS[opener](link)
    assert stat.S_ISCHR(link.stat().st_mode)


@pytest.mark.parametrize("opener", OPENERS)
def test_a_link_stays_and_its_file_is_written(opener: str, tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    OPENERS[opener](link)
    assert link.is_symlink()
    assert file.read_text().startswith('{"run": "one", "schema": ')


def test_a_report_goes_into_a_device_and_not_into_its_place(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to(tmp_path / "fifo")
    os.mkfifo(tmp_path / "fifo")
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "fifo").read_text()), daemon=True)
    heard: list[str] = []
    reader.start()
    with _opened(str(link)) as file:
        file.write("login\n")
    reader.join(60)
    assert stat.S_ISFIFO(link.stat().st_mode)
    assert heard == ["login\n"]


def test_a_probe_writes_to_a_fifo_and_through_a_link(tmp_path: Path) -> None:
    fifo, link, file = tmp_path / "fifo", tmp_path / "link", tmp_path / "file"
    os.mkfifo(fifo)
    link.symlink_to(file)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(fifo.read_text()), daemon=True)
    reader.start()
    for place in (fifo, link):
        _replace(place, "said\n")
    reader.join(60)
    assert heard == ["said\n"]
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    assert link.is_symlink()
    assert file.read_text() == "said\n"
