"""roomy, part of every health check: which file system is full or read-only; needs no engine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.popbox import ROOT

ROOMY = str(ROOT / "images/mailhost/roomy")
SPACE, INODES = "full: under 16 MiB and under 5 %", "full: under 64 and under 5 %"


def look(tmp_path: Path, *disks: str, options: str = "rw,relatime") -> subprocess.CompletedProcess[str]:
    """With programs that say what ``stat -f`` and ``findmnt`` would: free, blocks, octets, free inodes, inodes."""
    for name, said in (("stat", "\n".join(disks)), ("findmnt", options)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run(["sh", ROOMY, "/a"], env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        ("1000000 2000000 4096 900 999", ""),
        ("0 2000000 4096 900 999", f"/a: disk full, 0 KiB left of 8000000 ({SPACE})"),
        ("4095 2000000 4096 900 999", f"/a: disk full, 16380 KiB left of 8000000 ({SPACE})"),
        ("4096 2000000 4096 900 999", ""),
        ("300 1000 4096 900 999", ""),
        ("1000000 2000000 4096 0 20", f"/a: disk full, 0 inodes left of 20 ({INODES})"),
        ("1000000 2000000 4096 63 9999", f"/a: disk full, 63 inodes left of 9999 ({INODES})"),
        ("1000000 2000000 4096 64 9999", ""),
        ("1000000 2000000 4096 2 20", ""),  # a small one may have few left
        ("1000000 2000000 4096 0 0", ""),  # btrfs counts none
    ],
)
def test_full(tmp_path: Path, disk: str, said: str) -> None:
    done = look(tmp_path, disk)
    assert done.stdout.strip() == said
    assert done.returncode == bool(said)


@pytest.mark.parametrize(("options", "fails"), [("ro,relatime", True), ("rw,errors=remount-ro", False), ("", False)])
def test_read_only(tmp_path: Path, options: str, fails: bool) -> None:
    done = look(tmp_path, "1000000 2000000 4096 900 999", options=options)
    assert ("/a: read-only file system" in done.stdout) == fails
    assert done.returncode == fails


def test_a_folder_of_this_machine(tmp_path: Path) -> None:
    done = subprocess.run(["sh", ROOMY, str(tmp_path), "/none"], capture_output=True, text=True, check=False)
    assert str(tmp_path) not in done.stdout
    assert done.returncode == 1, "a folder that is not there is not well"
