"""However a run ends, it says how far it has judged; a generator that dies is never a pass."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import signal
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
from tests.popbox.load.broken import BOXES, Peered, Screen, children, expected, peered, said_of, staged
from tests.popbox.serve.mailing import until
from tests.ports import free_port

from popbox.clients.wire import Address
from popbox.load.books.journal import unfinished
from popbox.load.stage import run as stage
from popbox.load.stage.interrupts import Interrupts

PLAN = """
title = "until something happens"
for = "120s"
users = 3
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


def command(place: Path, peer: Peered, plan: str) -> list[str]:
    """`popbox load` on a host that is there already."""
    (place / "plan.toml").write_text(plan)
    rows = ["address,login,password", *(f"{box},{box},pw" for box in BOXES)]
    (place / "boxes.csv").write_text("\n".join([*rows, ""]))
    where = ["--host", "remote", "--allow-writes", "--smtp", str(peer.smtp), "--pop3", str(peer.pop3)]
    words = [str(place / "plan.toml"), *where, "--accounts", str(place / "boxes.csv"), "--report", str(place / "out")]
    return [sys.executable, "-m", "popbox", "load", *words]


@contextmanager
def under_way(place: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A run that has told of its first message."""
    environ, pipe = {**os.environ, "XDG_STATE_HOME": str(place)}, subprocess.PIPE
    with peered() as peer:
        argv = [*command(place, peer, PLAN), *options]
        with subprocess.Popen(argv, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environ) as program:
            assert program.stdout is not None
            try:
                assert any(re.search("accepted [1-9]", line) for line in program.stdout), "it ended before"
                yield program
            finally:
                program.kill()


def ended(program: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = program.communicate(timeout=WITHIN_S)
    return program.returncode, said


def judged_so_far(place: Path, why: str) -> dict[str, int]:
    """The report says that much, and that the run was not judged; its counts."""
    table = json.loads((place / "out/load.json").read_text())
    assert why in table["world"]["interrupted"]
    assert table["world"]["interrupted"].endswith("judged so far")
    assert table["verdict"]["counts"]["lost"] == 0
    return {"accepted": table["verdict"]["accepted"], **table["verdict"]["counts"]}


@pytest.mark.slow
def test_an_interrupted_load_leaves_a_report_of_what_was_judged_so_far(tmp_path: Path) -> None:
    """As a user does it; ``test_interrupts.py`` has the other stages."""
    with under_way(tmp_path) as program:
        program.send_signal(signal.SIGINT)
        code, said = ended(program)
    assert code == 3, said
    assert "not judged: interrupted: judged so far" in said
    assert judged_so_far(tmp_path, "interrupted")["accepted"] > 0
    assert "not judged" in (tmp_path / "out/load.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("part", "workers"), [("worker", 2), ("master", 1)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_generator_that_ends_before_its_time_ends_the_run_and_is_named(
    tmp_path: Path, part: str, workers: int, number: signal.Signals
) -> None:
    def kill() -> None:
        [pid, *_] = parts = [pid for pid, words in children(os.getpid()).items() if part in words]
        assert len(parts) == workers
        os.kill(pid, number)

    with peered() as peer:
        judged = staged(peer, PLAN, tmp_path / "out", Screen(begun=kill), processes=workers)
    said = said_of(judged)
    assert judged.exit_code == 3, said
    if number == signal.SIGTERM:
        assert "by a signal, or because a worker left" in judged.world.interrupted
        return
    assert f"{part} {'1 ' if part == 'worker' else ''}was killed by signal 9 at" in said
    assert ("has no end: its process was killed" in said) == (part == "worker")
    if part == "master":
        assert judged_so_far(tmp_path, "Locust's master was killed by signal 9")["once"] > 0


@pytest.mark.slow
def test_a_load_that_was_stopped_on_locusts_page_is_no_pass(tmp_path: Path) -> None:
    at = f"127.0.0.1:{free_port()}"

    def methods() -> set[str]:
        with urlopen(f"http://{at}/stats/requests", timeout=60) as page:
            return {one["method"] for one in json.load(page)["stats"]}

    def stop() -> None:
        until(lambda: {"SMTP", "POP3"} <= methods())
        with suppress(RemoteDisconnected):  # the page may end before it has answered
            urlopen(Request(f"http://{at}/stop", method="POST"), timeout=60).close()

    with peered() as peer:
        judged = staged(peer, PLAN, tmp_path / "out", Screen(begun=stop), web=at)
    assert judged.exit_code == 3, said_of(judged)
    assert judged_so_far(tmp_path, "the load was stopped at")["once"] > 0
    [writer] = (tmp_path / "out/writers").read_text().split()
    events = [line.split("\t")[2] for line in (tmp_path / f"out/{writer}.journal").read_text().splitlines()]
    idle = itertools.takewhile(lambda event: event in ("lag", "end"), reversed(events))
    assert len(list(idle)) < 60  # seconds without a user, of 120


class Elsewhere:
    """Workers of other machines: `popbox load SPEC --worker`, each with its own session and folder."""

    def __init__(self, place: Path, at: Address) -> None:
        self.places, self._at, self._place = list[Path](), at, place
        self._programs = list[subprocess.Popen[str]]()

    def begin(self) -> subprocess.Popen[str]:
        """One more."""
        self.places.append(place := self._place / f"elsewhere {len(self.places)}")
        words = [str(self._place / "out/spec.json"), "--worker", str(self._at), "--report", str(place)]
        argv = [sys.executable, "-m", "popbox", "load", *words]
        environ = {**os.environ, "XDG_STATE_HOME": str(self._place)}
        one = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environ, start_new_session=True)
        self._programs.append(one)
        return one

    def ended(self) -> list[tuple[int, str]]:
        """Exit code and output of each."""
        said = [one.communicate(timeout=WITHIN_S)[0] for one in self._programs]
        return [(one.returncode, text) for one, text in zip(self._programs, said, strict=True)]


@pytest.mark.slow
def test_workers_of_other_machines_write_journals_that_are_copied_and_then_judged(tmp_path: Path) -> None:
    workers, waits = Elsewhere(tmp_path, at := Address("127.0.0.1", free_port())), list[str]()

    def heard(line: str) -> None:
        if line.endswith("mailboxes"):
            workers.begin()
            workers.begin()
        elif "waiting for journals" in line:
            waits.append(line)
            assert [code for code, _ in workers.ended()] == [0, 0]
            for place in workers.places:
                for journal in place.glob("*.journal"):
                    journal.rename(tmp_path / "out" / journal.name)

    with peered() as peer:
        judged = staged(peer, PLAN.replace("120s", "5s"), tmp_path / "out", Screen(heard), processes=2, listen=at)
    assert waits[0].count(".journal is not here") == 2
    assert judged.exit_code == expected(0, said_of(judged)), said_of(judged)
    assert judged.verdict.counts["once"] == judged.verdict.accepted > 5


@pytest.mark.slow
def test_an_interrupted_worker_of_another_machine_ends_its_journal(tmp_path: Path) -> None:
    workers, begun = Elsewhere(tmp_path, at := Address("127.0.0.1", free_port())), list[subprocess.Popen[str]]()

    def heard(line: str) -> None:
        if line.endswith("mailboxes"):
            begun.append(workers.begin())

    def interrupt() -> None:
        os.killpg(begun[0].pid, signal.SIGINT)  # as a terminal sends it

    with peered() as peer:
        judged = staged(peer, PLAN, tmp_path / "out", Screen(heard, interrupt), listen=at)
    [(code, said)] = workers.ended()
    (journal,) = workers.places[0].glob("*.journal")
    assert (code, "popbox load judge DIR" in said) == (130, True)
    assert unfinished(journal) == ""
    assert "because a worker left" in judged.world.interrupted


@pytest.mark.slow
def test_a_full_disk_under_the_journals_is_said_and_is_no_verdict(tmp_path: Path) -> None:
    """`ulimit -f` ends each write behind 64 KiB as a full disk does, in all processes of the run."""
    plan, environ = PLAN.replace("120s", "6s").replace("5.0", "40.0"), {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    with peered() as peer:
        script = f"trap '' XFSZ; ulimit -f 64; exec {shlex.join(command(tmp_path, peer, plan))}"
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
        declared=True,
    )  # fmt: skip
    stage._drain(cast(Any, one))
    assert (one.interrupted, hurried) == (stage.INTERRUPTED, [True])
