"""What host local sees in folders that change while it looks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from popbox.hosts.local_files import LocalReading


class Files(LocalReading):
    def __init__(self, home: Path) -> None:
        self._home = home

    def home(self) -> str:
        return str(self._home)


@pytest.mark.parametrize("gone", ["popboxes/a/.eve.mailhost-new", "popboxes/a/joe/new", "popboxes/a/joe/cur"])
def test_a_folder_that_vanishes_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    """A new box is renamed into its place: a whole `popbox run` ended with 1 where mail was looked for then."""
    for folder in ("joe/new", "joe/cur", ".eve.mailhost-new"):
        (tmp_path / "popboxes/a" / folder).mkdir(parents=True)
    for name in ("new/1", "cur/2:2,"):
        (tmp_path / "popboxes/a/joe" / name).write_text("needle")
    scandir = os.scandir

    def vanishing(path: Any = ".") -> Any:
        if os.fspath(path) == str(tmp_path / gone):
            raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    mail = [f"popboxes/a/joe/{name}" for name in ("cur/2:2,", "new/1")]
    wanted = [path for path in mail if not path.startswith(gone)]
    files = Files(tmp_path)
    assert [one.entry.path for one in files.search(("needle",))] == wanted
    found = [one.entry.path for one in files.find("popboxes/a/joe", "needle")]
    assert [f"popboxes/a/joe/{name}" for name in found] == wanted
