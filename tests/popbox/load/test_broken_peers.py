"""Each kind of broken mail host is caught, and named as what it is; a good one is not accused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.needs import ROOT
from tests.popbox.cli.test_cli import popbox

BOXES = 9
PLAN = """
title = "a peer"
for = "5s"
drain = "3s"
users = 7
[user.office]
kind = "sender"
count = 3
rate = 25.0
sizes = ["2KiB", "2KiB", "2KiB", "80KiB"]
[user.clients]
kind = "fetcher"
count = 3
every = "500ms"
share = 2
[user.keepers]
kind = "hoarder"
count = 1
every = "500ms"
"""
# fault, how seldom -> the verdict that must be given; all others must not be
CAUGHT = [
    ("", 1, ""),
    ("drop", 150, "lost"),
    ("double", 150, "doubled"),
    ("swap", 150, "altered"),
    ("cut", 1, "altered"),
    ("neighbour", 150, "misdelivered"),
    ("crash", 150, "lost"),
    ("forget", 7, "returned"),
    ("other box", 40, "misdelivered"),
    ("renumber", 40, "renumbered"),
]
# A message that is in the wrong box is lost to its own; one that is handed out as another hides that one.
BESIDE = {"neighbour": {"lost"}, "other box": {"lost", "doubled", "renumbered", "stranger"}, "renumber": {"doubled"}}


@contextmanager
def peer(fault: str, every: int) -> Iterator[tuple[str, str]]:
    """SMTP and POP3 of a broken host."""
    argv = [sys.executable, "-m", "tests.popbox.load.peer", fault, str(every), str(BOXES)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
        assert program.stdout is not None
        smtp, pop3 = program.stdout.readline().split()
        try:
            yield f"127.0.0.1:{smtp}", f"127.0.0.1:{pop3}"
        finally:
            program.kill()


@pytest.mark.parametrize(("fault", "every", "verdict"), CAUGHT, ids=[fault or "good" for fault, _, _ in CAUGHT])
def test_a_broken_host_is_named(tmp_path: Path, fault: str, every: int, verdict: str) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    rows = [f"b{number}@peer.example,b{number}@peer.example,pw" for number in range(BOXES)]
    (tmp_path / "boxes.csv").write_text("\n".join(["address,login,password", *rows, ""]))
    with peer(fault, every) as (smtp, pop3):
        words = ("load", str(tmp_path / "plan.toml"), "--accounts", str(tmp_path / "boxes.csv"))
        where = ("--host", "remote", "--allow-writes", "--smtp", smtp, "--pop3", pop3)
        done = popbox(*words, *where, "--report", str(tmp_path / "out"), state=tmp_path)
    counts = {n: c for n, c in json.loads((tmp_path / "out/load.json").read_text())["verdict"]["counts"].items() if c}
    good = {"once", "not yet", "explained"}
    assert counts["once"] > 100, done.stdout
    assert set(counts) - good - BESIDE.get(fault, set()) == ({verdict} if verdict else set()), done.stdout
    assert done.returncode == (1 if verdict else 0), done.stdout
