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
from contextlib import contextmanager, suppress
from http.client import RemoteDisconnected
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.request import Request, urlopen

import pytest
from tests.popbox.load.broken import expected

from popbox.load.books.journal import unfinished
from popbox.load.stage import run as stage
from popbox.load.stage.interrupts import Interrupts

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
def under_way(place: Path, until: str = r"accepted [1-9]", **how: str) -> Iterator[subprocess.Popen[str]]:
    """A run that has said a line like that; ``how``: options, ``lasts`` and ``boxes`` for those of the plan."""
    plan = PLAN.replace("120s", how.pop("lasts", "120s")).replace("mailboxes = 4", how.pop("boxes", "mailboxes = 4"))
    (place / "plan.toml").write_text(plan)
    argv = [sys.executable, "-m", "popbox", "load", str(place / "plan.toml"), "--host", "local"]
    argv += [word for name, value in how.items() for word in (f"--{name}", value)]
    environ = {**os.environ, "XDG_STATE_HOME": str(place)}
    pipe = subprocess.PIPE
    out = ["--report", str(place / "out")]
    with subprocess.Popen([*argv, *out], stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environ) as program:
        assert program.stdout is not None
        try:
            assert any(re.search(until, line) for line in program.stdout), "it ended before"
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


def judged_so_far(place: Path, why: str) -> dict[str, int]:
    """The report says that much, and that the run was not judged; its counts."""
    table = json.loads((place / "out/load.json").read_text())
    assert why in table["world"]["interrupted"]
    assert table["world"]["interrupted"].endswith("judged so far")
    assert table["verdict"]["counts"]["lost"] == 0
    assert "not judged" in (place / "out/load.html").read_text()
    return {"accepted": table["verdict"]["accepted"], **table["verdict"]["counts"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("until", "lasts"), [("mailboxes", "120s"), ("accepted [1-9]", "120s"), ("reading all boxes", "4s")]
)
def test_an_interrupt_at_any_time_leaves_a_report_of_what_was_judged_so_far(
    tmp_path: Path, until: str, lasts: str
) -> None:
    boxes = "mailboxes = 100" if until == "reading all boxes" else "mailboxes = 4"  # so that it takes its time
    with under_way(tmp_path, until, lasts=lasts, boxes=boxes) as program:
        program.send_signal(signal.SIGINT)
        code, said = ended(program)
    assert code == 3, said
    assert "not judged: interrupted: judged so far" in said
    assert judged_so_far(tmp_path, "interrupted")["accepted"] > 0 or until == "mailboxes"


@pytest.mark.slow
@pytest.mark.parametrize("part", ["worker", "master"])
def test_a_generator_that_dies_ends_the_run_and_is_named(tmp_path: Path, part: str) -> None:
    with under_way(tmp_path, processes="2") as program:
        parts = [pid for pid, words in children(program.pid).items() if part in words]
        assert len(parts) == {"worker": 2, "master": 1}[part]
        os.kill(parts[0], signal.SIGKILL)
        code, said = ended(program)
    assert code == 3, said
    assert f"{part} {'1 ' if part == 'worker' else ''}was killed by signal 9 at" in said
    assert ("has no end: its process was killed" in said) == (part == "worker")
    if part == "master":
        assert judged_so_far(tmp_path, "Locust's master was killed by signal 9")["once"] > 0


@pytest.mark.slow
def test_a_load_that_was_stopped_on_locusts_page_is_no_pass(tmp_path: Path) -> None:
    at = f"127.0.0.1:{free_port()}"
    with under_way(tmp_path, web=at) as program:
        with urlopen(f"http://{at}/stats/requests", timeout=30) as page:
            assert {"SMTP", "POP3"} <= {one["method"] for one in json.load(page)["stats"]}
        with suppress(RemoteDisconnected):  # the page may end before it has answered
            urlopen(Request(f"http://{at}/stop", method="POST"), timeout=30).close()
        code, said = ended(program)
    assert code == 3, said
    assert judged_so_far(tmp_path, "the load was stopped at")["once"] > 0


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
    assert code == expected(0, said), said
    table = json.loads((out / "load.json").read_text())
    assert table["verdict"]["counts"]["once"] == table["verdict"]["accepted"] > 20


def test_an_interrupted_worker_of_another_machine_ends_its_journal(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    out, place, environ = tmp_path / "out", tmp_path / "one", {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    popbox = [sys.executable, "-m", "popbox", "load"]
    at, pipe = f"127.0.0.1:{free_port()}", subprocess.PIPE
    master = [*popbox, str(tmp_path / "plan.toml"), "--host", "local", "--master", at, "--processes", "1"]
    with subprocess.Popen([*master, "--report", str(out)], stdout=pipe, text=True, env=environ) as program:
        assert program.stdout is not None
        assert any("mailboxes" in line for line in program.stdout)
        words = [*popbox, str(out / "spec.json"), "--worker", at, "--report", str(place)]
        worker = subprocess.Popen(words, stdout=pipe, text=True, env=environ, start_new_session=True)
        assert any(re.search(r"accepted [1-9]", line) for line in program.stdout)
        os.killpg(worker.pid, signal.SIGINT)  # as a terminal sends it
        said, _ = worker.communicate(timeout=WITHIN_S)
        program.send_signal(signal.SIGINT)
        ended(program)
    (journal,) = place.glob("*.journal")
    assert (worker.returncode, "popbox load judge DIR" in said) == (130, True)
    assert unfinished(journal) == ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_full_disk_under_the_journals_is_said_and_is_no_verdict(tmp_path: Path) -> None:
    """`ulimit -f` ends each write behind 64 KiB as a full disk does, in all processes of the run."""
    (tmp_path / "plan.toml").write_text(PLAN.replace("120s", "6s").replace("5.0", "40.0"))
    words = f"{sys.executable} -m popbox load {tmp_path}/plan.toml --host local --report {tmp_path}/out"
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    script = f"trap '' XFSZ; ulimit -f 64; exec {words}"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, env=environ, timeout=WITHIN_S, check=False
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "not judged" in done.stderr
    assert "File too large" in done.stderr


def test_an_interrupt_before_the_first_box_is_read_is_one_of_the_last_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurried: list[bool] = []

    class Read:
        def __init__(self, *_: object) -> None:
            pass

        def run(self, *_: object, **said: bool) -> list[str]:
            hurried.append(said["hurried"])
            return []

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "Drain", Read)
    one = SimpleNamespace(
        screen=SimpleNamespace(say=interrupt), folder=tmp_path, spec=SimpleNamespace(run="l1"), interrupted="",
        heard=Interrupts(), wish=SimpleNamespace(listen=""), plan=SimpleNamespace(drain=60.0), troubles=[], host=None,
    )  # fmt: skip
    stage._drain(cast(Any, one))
    assert (one.interrupted, hurried) == (stage.INTERRUPTED, [True])
