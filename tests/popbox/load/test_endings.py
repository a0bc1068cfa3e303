"""However a run ends, it says how far it has judged; a generator that dies is never a pass."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PLAN = """
title = "until something happens"
for = "120s"
users = 3
[accounts]
mailboxes = 4
[user.office]
kind = "sender"
count = 2
rate = 5.0
[user.clients]
kind = "fetcher"
count = 1
every = "1s"
"""
WITHIN_S = 90


@contextmanager
def under_way(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has sent something."""
    (place / "plan.toml").write_text(PLAN)
    argv = [sys.executable, "-m", "popbox", "load", str(place / "plan.toml"), "--host", "local", "--processes", "2"]
    environ = {**os.environ, "XDG_STATE_HOME": str(place)}
    pipe = subprocess.PIPE
    out = ["--report", str(place / "out")]
    with subprocess.Popen([*argv, *out], stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environ) as program:
        assert program.stdout is not None
        try:
            for line in program.stdout:
                if (found := re.search(r"users, (\d+) requests", line)) and int(found[1]) > 0:
                    break
            yield program
        finally:
            program.kill()


def children(pid: int) -> dict[int, list[str]]:
    """Processes of a process, with their words."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(stat.parent.name)] = (stat.parent / "cmdline").read_text().split("\0")
        except OSError:
            continue
    return found


def ended(program: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = program.communicate(timeout=WITHIN_S)
    return program.returncode, said


@pytest.mark.slow
def test_an_interrupt_leaves_a_report_of_what_was_judged_so_far(tmp_path: Path) -> None:
    with under_way(tmp_path) as program:
        program.send_signal(signal.SIGINT)
        code, said = ended(program)
    assert code == 3, said
    assert "not judged: interrupted: judged so far" in said
    table = json.loads((tmp_path / "out/load.json").read_text())
    assert table["verdict"]["accepted"] > 0
    assert table["verdict"]["counts"]["lost"] == 0


@pytest.mark.slow
def test_a_generator_that_dies_is_no_verdict(tmp_path: Path) -> None:
    with under_way(tmp_path) as program:
        workers = [pid for pid, words in children(program.pid).items() if "worker" in words]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        program.send_signal(signal.SIGINT)
        code, said = ended(program)
    assert code == 3, said
    assert "has no end: its process was killed" in said


def test_workers_of_other_machines_write_journals_that_are_copied_and_then_judged(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN.replace("120s", "5s"))
    out, environ = tmp_path / "out", {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    popbox = [sys.executable, "-m", "popbox", "load"]
    at = f"127.0.0.1:{free_port()}"
    master = [*popbox, str(tmp_path / "plan.toml"), "--host", "local", "--master", at, "--processes", "2"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*master, "--report", str(out)], stdout=pipe, text=True, env=environ) as program:
        assert program.stdout is not None
        assert any("mailboxes" in line for line in program.stdout)
        places = [tmp_path / "one", tmp_path / "two"]
        works = [[*popbox, str(out / "spec.json"), "--worker", at, "--report", str(place)] for place in places]
        workers = [subprocess.Popen(words, stdout=pipe, text=True, env=environ) for words in works]
        assert [one.wait(WITHIN_S) for one in workers] == [0, 0]
        waits = next(line for line in program.stdout if "waiting for journals" in line)
        assert waits.count(".journal is not here") == 2
        for place in places:
            for journal in place.glob("*.journal"):
                journal.rename(out / journal.name)
        code, said = ended(program)
        for one in workers:
            one.communicate()
    assert code == 0, said
    table = json.loads((out / "load.json").read_text())
    assert table["verdict"]["counts"]["once"] == table["verdict"]["accepted"] > 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
