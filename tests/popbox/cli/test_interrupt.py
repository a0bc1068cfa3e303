"""Ctrl-C, TERM and HUP at random moments of a run with shared, own and small-disk hosts: nothing is left behind.

After KILL nothing is left when the next host has been started. One moment each; POPBOX_INTERRUPTS=100 for more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.popbox import ROOT

from popbox.hosts import process
from popbox.hosts.choose import sweep
from popbox.hosts.state import Process, Record, Registry
from popbox.settings import Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
TRIES = int(os.environ.get("POPBOX_INTERRUPTS", "4"))
LONGEST_S = 6.0  # about what the run takes
WAITS = ROOT / "tests/popbox/waits.toml"  # a run that goes on until it is ended
FILES = ("disk-popboxes-full", "mta-paused", "session-later-mail", "smtp-dialogue")


@pytest.mark.parametrize("seed", range(TRIES))
def test_nothing_is_left_behind(seed: int, open_tmp: Path) -> None:
    after_s, number = random.Random(seed).uniform(0.05, LONGEST_S), SIGNALS[seed % len(SIGNALS)]
    child = popbox(open_tmp, "run", *(str(ROOT / f"scenarios/{name}.toml") for name in FILES), "--host", "local")
    time.sleep(after_s)
    child.send_signal(number)
    said, _ = child.communicate(timeout=60)
    assert child.returncode in (130, 0, -number), f"{number.name} after {after_s:.2f} s: {said}"
    if number == signal.SIGKILL:
        sweep(Settings(ROOT, open_tmp / "popbox", None))
    assert left(open_tmp) == [], f"{number.name} after {after_s:.2f} s: {said}"


def test_the_next_start_takes_away_what_a_killed_one_left_and_nothing_that_is_in_use(open_tmp: Path) -> None:
    dead, alive = (popbox(open_tmp, "run", str(WAITS), "--host", "local") for _ in range(2))
    try:
        records = {record.owner.pid: record for record in until_up(open_tmp, 2)}
        dead.kill()
        dead.wait()
        (status,) = [one for one in json.loads(said_by(open_tmp, "status", "--json")) if one["left_behind"]]
        assert status["name"] == records[dead.pid].id
        said_by(open_tmp, "demo", "--host", "local")
        assert Registry(open_tmp / "popbox").all() == [records[alive.pid]]
        assert not Path(records[dead.pid].place).exists()
        assert not any(one.lives() for one in records[dead.pid].processes.values())
        assert all(one.lives() for one in records[alive.pid].processes.values())
        assert said_by(open_tmp, "down") == "no host is up\n"
        name = records[alive.pid].id
        assert f"{name}: host local, MTA stand-in, {records[alive.pid].place} (in use" in said_by(
            open_tmp, "down", name
        )
    finally:
        for child in (dead, alive):
            child.terminate()
            child.communicate(timeout=60)
    assert left(open_tmp) == []


AT_WORK = """
import sys
from pathlib import Path
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
host = LocalHost.start(Registry(Path(sys.argv[1])))
print(host.home(), flush=True)
sys.stdin.readline()
host.run("domain", "add", "late.example")
"""


def test_a_command_that_was_at_work_ends_before_its_home_goes(open_tmp: Path) -> None:
    """It is run by a mailhost that several hosts share, and made the directory again when that had been removed."""
    argv, env = [sys.executable, "-c", AT_WORK, str(open_tmp / "popbox")], {**os.environ, "TMPDIR": str(open_tmp)}
    child = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    home = Path(child.stdout.readline().strip())
    with (home / "users/.mailhost/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child.stdin.write("\n")
        child.stdin.flush()
        deadline = time.monotonic() + 60
        while not (waits := who_has(Path(lock.name))) and time.monotonic() < deadline:
            time.sleep(0.01)
        child.kill()
        child.communicate()
        sweep(Settings(ROOT, open_tmp / "popbox", None))
    assert waits
    assert not any(one.lives() for one in waits)
    assert left(open_tmp) == []


def who_has(path: Path) -> list[Process]:
    """The processes, but for ours, that have a file open."""
    found = []
    for each in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it has ended since
            if each.readlink() == path and each.parts[2] != str(os.getpid()):
                found.append(Process.of(int(each.parts[2])))
    return found


def test_down_by_name_takes_that_one_and_says_so_first(open_tmp: Path) -> None:
    for _ in range(2):
        said_by(open_tmp, "up", "--host", "local")
    one, other = Registry(open_tmp / "popbox").all()
    said = said_by(open_tmp, "down", one.id).splitlines()
    assert said == [
        f"removing {one.id}: host local, MTA stand-in, {one.place} (kept)",
        f"removed host local, MTA stand-in: {one.place}",
    ]
    assert Registry(open_tmp / "popbox").all() == [other]
    assert "no host has the name 'x'" in said_by(open_tmp, "down", "x")
    assert other.place in said_by(open_tmp, "down")
    assert left(open_tmp) == []


def test_what_is_said_of_hosts_is_true(open_tmp: Path) -> None:
    """`logs --follow` has started none, and the host that it shows goes on; a run takes its own away."""
    up = said_by(open_tmp, "up", "--host", "local")
    try:
        said_by(open_tmp, "exec", "domain", "add", "d.example")
        with smtplib.SMTP("127.0.0.1", int(up.partition("SMTP 127.0.0.1:")[2].partition(",")[0])) as smtp:
            smtp.sendmail("", ["joe@d.example"], "Subject: a line to follow\n\n")
        follows = popbox(open_tmp, "logs", "--follow")
        assert follows.stdout is not None
        first = follows.stdout.readline()
        follows.send_signal(signal.SIGINT)
        rest, _ = follows.communicate(timeout=60)
        assert (first[:6], rest.splitlines()[-1]) == ("smtp |", "popbox: interrupted")
        assert follows.returncode == 130
    finally:
        said_by(open_tmp, "down")
    runs = popbox(open_tmp, "run", str(WAITS), "--host", "local")
    until_up(open_tmp, 1)
    runs.send_signal(signal.SIGINT)
    assert runs.communicate(timeout=60)[0].splitlines()[-1] == "popbox: interrupted; nothing was left behind"


def test_that_it_was_interrupted_is_the_last_word_in_a_log_of_both_outputs() -> None:
    """Also where the signal came between a line's writing and its way out."""
    code = """if True:
        import popbox.__main__ as program, popbox.cli.main as cli
        def run():
            print("a line that waits", end="")
            raise KeyboardInterrupt
        cli.main = run
        program.main()"""
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (ran.returncode, ran.stdout) == (130, "a line that waitspopbox: interrupted\n")


def test_a_host_that_stays_up_is_not_said_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ours", "_ever", "_kept"):
        monkeypatch.setattr(process, name, set())
    assert process.left_behind() == ""
    process.owned("a", True)
    assert process.left_behind() == "a host may be left; `popbox down` removes it"
    process.kept("a")
    assert process.left_behind() == "the host stays up; `popbox down` removes it"


def test_a_record_cannot_make_popbox_remove_a_folder_that_is_not_a_hosts(open_tmp: Path) -> None:
    registry = Registry(open_tmp / "popbox")
    theirs = open_tmp / "theirs"
    theirs.mkdir()
    registry.save(replace(registry.new("local", "stand-in", str(theirs)), kept=True))
    said_by(open_tmp, "down")
    assert theirs.is_dir()


def popbox(place: Path, *argv: str) -> subprocess.Popen[str]:
    """One whose state and hosts lie below that place."""
    environ = {**os.environ, "XDG_STATE_HOME": str(place), "TMPDIR": str(place), "DOCKER_HOST": "unix:///nowhere.sock"}
    command, pipe = [sys.executable, "-m", "popbox", *argv], subprocess.PIPE
    return subprocess.Popen(command, env=environ, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def said_by(place: Path, *argv: str) -> str:
    """What such a popbox prints."""
    return popbox(place, *argv).communicate(timeout=60)[0]


def until_up(place: Path, count: int) -> list[Record]:
    """The records of so many hosts, each with both of its daemons."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        records = Registry(place / "popbox").all()
        if len([one for one in records if len(one.processes) == 2]) == count:
            return records
        time.sleep(0.05)
    pytest.fail(f"{count} hosts did not come up")


def left(place: Path) -> list[str]:
    """Directories, records, mounts and processes that name the place."""
    found = [str(path) for path in [*place.glob("popbox-*"), *place.glob("popbox/hosts/*")]]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if str(place) in line]
    return found + [line for line in command_lines() if str(place) in line]


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it has ended since
            continue
