"""Each thing that can go wrong in the demo makes it fail, with words that name the cause: on the real programs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.popbox import ROOT

from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
from popbox.model import Result, Verdict
from popbox.report.text import step_lines
from popbox.runner import run
from popbox.scenario import load

FAULTS = Path(__file__).parent / "faults"

# file -> what the failed step must say, and what the hint must say
CAUSES = {
    "wrong-password": (r"line 5: expected '\+OK\.\.\.', but the server said '-ERR", r"users/poppasswd.*password"),
    "maildir-not-writable": (r"ended in deferral: .*maildir", r"Maildir/tmp has mode 0500"),
    "smtp-killed": (r"cannot connect to 127\.0\.0\.1:\d+|has no port", r"smtp: .*(signal 9|exit code 137)"),
    "not-in-rcpthosts": (r"refused at RCPT TO:<joe@domain\.com>: 553 ", r"control/rcpthosts"),
    "refused-not-delivered": (r"was never accepted", ""),
}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LocalHost]:
    up = LocalHost.start(Registry(tmp_path))
    yield up
    up.close()


def failed(result: Result) -> tuple[str, str]:
    """What the failed last step said, and its hint."""
    assert result.verdict is Verdict.FAILED
    assert [step.seen.passed for step in result.steps[:-1]] == [True] * (len(result.steps) - 1)
    assert result.logs, "a failed run keeps the logs"
    return result.steps[-1].seen.said, result.steps[-1].seen.hint


@pytest.mark.parametrize("fault", CAUSES)
def test_a_fault_is_named(fault: str, host: LocalHost) -> None:
    said, hint = failed(run(load(FAULTS / f"{fault}.toml"), host))
    want_said, want_hint = CAUSES[fault]
    assert re.search(want_said, said), said
    assert re.search(want_hint, hint, re.DOTALL), hint


@pytest.mark.parametrize("fault", ["wrong-password", "maildir-not-writable", "smtp-killed", "not-in-rcpthosts"])
def test_the_command_line_names_it_too_and_exits_1(fault: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "popbox", "run", str(FAULTS / f"{fault}.toml"), "--host", "local"]
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    want_said, want_hint = CAUSES[fault]
    assert done.returncode == 1, done.stderr
    assert re.search(want_said, done.stdout), done.stdout
    assert re.search(want_hint, done.stdout, re.DOTALL), done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed; host local, MTA stand-in"


def test_every_fault_file_is_run() -> None:
    assert {path.stem for path in FAULTS.glob("*.toml")} == set(CAUSES)


def test_the_demo_passes_and_leaves_nothing(tmp_path: Path) -> None:
    up = LocalHost.start(Registry(tmp_path))
    place = Path(up.home()).parent
    result = run(load(ROOT / "scenarios/howto-telnet.toml"), up)
    up.close()
    assert result.verdict is Verdict.PASSED, [line for step in result.steps for line in step_lines(step)]
    assert not place.exists()
    assert not Registry(tmp_path).all()
