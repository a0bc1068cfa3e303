"""Each thing that can go wrong in the demo makes it fail, with words that name the cause: on the real programs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.needs import lacks
from tests.popbox import ROOT

from popbox.hosts.base import closing
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
from popbox.report.text import step_lines
from popbox.result import Result, Verdict
from popbox.run.runner import run
from popbox.scenario.load import ScenarioFile, load

FAULTS = ROOT / "tests/popbox/faults"

DOWN = r"cannot connect to 127\.0\.0\.1:\d+|has no port"
FROZEN = r"(its process is stopped|its container is paused)[^\n]* and does not answer"
WRITABLE = r"ended in deferral: .*home directory is writable"
MAILDIR_ERROR = r"ended in deferral: Temporary error on maildir delivery\. \(#4\.3\.0\)"

# file -> what the failed step must say, and what the hint must say
CAUSES = {
    "wrong-password": (r"line 5: expected '\+OK\.\.\.', but the server said '-ERR", r"users/poppasswd.*password"),
    "maildir-not-writable": (r"ended in deferral: .*maildir", r"Maildir/tmp has mode 0500"),
    "not-in-rcpthosts": (r"refused at RCPT TO:<joe@domain\.com>: 553 ", r"control/rcpthosts"),
    "refused-not-delivered": (r"was never accepted", ""),
    "smtp-killed": (DOWN, r"smtp: .*(signal 9|exit code 137)"),
    "smtp-stopped": (DOWN, r"smtp: .*exit code 0"),
    "smtp-frozen": (r"waited [\d.]+ s for the greeting .* last seen: nothing", rf"smtp: {FROZEN}"),
    "smtp-cut-off": (r"smtp .* has no port: its container is on no network", r"smtp: its container is cut off"),
    "pop3-killed": (DOWN, r"pop3: .*(signal 9|exit code 137)"),
    "pop3-frozen": (r"waited [\d.]+ s for .* last seen: nothing", rf"pop3: {FROZEN}"),
    "pop3-cut-off": (r"pop3 .* has no port: its container is on no network", r"pop3: its container is cut off"),
    "session-cut-off": (r"waited [\d.]+ s for .* last seen: C: PASS \*{8}", rf"pop3: {FROZEN}"),
    "popboxes-full": (MAILDIR_ERROR, r"popboxes: the disk is full \(\d+ KiB, none free\)"),
    "popboxes-read-only": (MAILDIR_ERROR, r"popboxes: the disk is read-only"),
    "queue-full": (r"refused at DATA: 451 qq write error or disk full", r"queue: the disk is full"),
    "killed-with-mail-in-the-queue": (WRITABLE, r"smtp: .*(signal 9|exit code 137)"),
}
SAID_BY_PROGRAMS = {"wrong-password", "maildir-not-writable", "not-in-rcpthosts", "refused-not-delivered"}
BROKEN_HOSTS = set(CAUSES) - SAID_BY_PROGRAMS
NOT_HERE = {"smtp-cut-off", "pop3-cut-off"}  # host local cannot be cut off


def faulty(name: str) -> ScenarioFile:
    return load(FAULTS / f"{name}.toml")


def failed(result: Result) -> tuple[str, str]:
    """What the failed last step said, and its hint."""
    assert result.verdict is Verdict.FAILED
    assert [step.seen.passed for step in result.steps[:-1]] == [True] * (len(result.steps) - 1)
    assert result.logs, "a failed run keeps the logs"
    return result.steps[-1].seen.said, result.steps[-1].seen.hint


@pytest.mark.parametrize("fault", sorted(set(CAUSES) - NOT_HERE))
def test_a_fault_is_named(fault: str, tmp_path: Path) -> None:
    file = faulty(fault)
    with closing(LocalHost.start(Registry(tmp_path), own_disk=file.scenario.needs.own_disk)) as host:
        result = run(file, host)
    if result.verdict is Verdict.SKIPPED:
        lacks("own disks", result.reason)  # no right to mount a small file system
    said, hint = failed(result)
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


@pytest.mark.parametrize("fault", sorted(NOT_HERE))
def test_what_a_host_cannot_do_is_skipped_with_the_reason(fault: str, tmp_path: Path) -> None:
    with closing(LocalHost.start(Registry(tmp_path))) as host:
        result = run(faulty(fault), host)
    assert (result.verdict, result.steps) == (Verdict.SKIPPED, ())
    assert result.reason.startswith("step 1.break: host local cannot be cut off")


def test_a_host_without_a_small_disk_says_so(tmp_path: Path) -> None:
    with closing(LocalHost.start(Registry(tmp_path))) as host:
        result = run(faulty("queue-full"), host)
    assert result.reason == "needs.own-disk: this host was started without a disk of its own"


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
