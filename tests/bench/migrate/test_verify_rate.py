"""What `popbox migrate verify` costs beside a program that does the least it must do (``verify_floor.c``), in turns.

`pytest -s -m slow tests/bench/migrate/test_verify_rate.py`. Both hosts are `mailhost serve pop3`, on this machine, each
run with fresh ones. `POPBOX_BOXES=300` makes it shorter, `POPBOX_OLD_PROFILE=qmail` makes the old host one that
announces no PIPELINING, `POPBOX_TREE=DIR` adds another commit, unpacked there: its popbox against its mailhost.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.needs import ROOT, program
from tests.popbox.conformance.servers import child, wait_for
from tests.popbox.migrate.houses import box, csv, logins, moved, poppasswd

BOXES, MESSAGES = int(os.environ.get("POPBOX_BOXES", "1000")), 100
OLD_PROFILE = os.environ.get("POPBOX_OLD_PROFILE", "rfc1939")
OTHER = os.environ.get("POPBOX_TREE")
TURNS = 3
JOBS, AHEAD = 8, 100  # as verify has them
TICKS_S = os.sysconf("SC_CLK_TCK")
Argv = Callable[[int, int], list[str]]


class Cost(NamedTuple):
    """Seconds of one run: on the clock, of processor time of the client and of both servers."""

    wall: float
    client: float
    servers: float

    @property
    def cpu(self) -> float:
        """All of it."""
        return self.client + self.servers


def _server_s(pid: int) -> float:
    """Processor time of a process and its children."""
    pids = [str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    fields = (Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in pids)
    return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS_S


@contextmanager
def served(place: Path, tree: Path, name: str, profile: str) -> Iterator[tuple[int, int]]:
    """A host of one commit on the boxes of ``name``; its pid and port."""
    home, log = place / f"{name}.qmail", place / f"{name}.log"
    if not home.exists():
        (home / "users").mkdir(parents=True)
        (home / "control").mkdir()
        (home / "control/me").write_text("mail.popbox.invalid\n")
        poppasswd(home / "users/poppasswd", place / name)
    argv = [sys.executable, "-m", "mailhost", "--home", str(home), "serve", "pop3", "--listen", "127.0.0.1:0"]
    with child([*argv, "--profile", profile], log, env=_env(tree)) as process:
        yield process.pid, int(wait_for(r"listening pop3 127\.0\.0\.1:(\d+)", log)[1])


def _env(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{tree / 'harness'}:{tree / 'images/mailhost'}"}


def measured(place: Path, tree: Path, argv: Argv) -> Cost:
    """One run against two fresh hosts."""
    with served(place, tree, "old", OLD_PROFILE) as old, served(place, tree, "new", "rfc1939") as new:
        before, began = _server_s(old[0]) + _server_s(new[0]), time.monotonic()
        run = subprocess.Popen(argv(old[1], new[1]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_env(tree))
        assert run.stdout is not None
        said = run.stdout.read()
        _, status, used = os.wait4(run.pid, 0)
        wall = time.monotonic() - began
        servers = _server_s(old[0]) + _server_s(new[0]) - before
    assert os.waitstatus_to_exitcode(status) == 0, said.decode()
    return Cost(wall, used.ru_utime + used.ru_stime, servers)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that popuser may enter."""
    with tempfile.TemporaryDirectory(prefix="popbox-verify-", dir=os.environ.get("POPBOX_HOSTS_IN")) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_verify_beside_its_floor(place: Path) -> None:
    for number in range(BOXES):
        box(place / "old", f"b{number:04}", MESSAGES)
    moved(place / "old", place / "new")
    accounts, report = csv(place / "a.csv", logins(place / "old")), place / "report.json"
    floor = place / "floor"
    source = str(Path(__file__).parent / "verify_floor.c")
    subprocess.run([program("C compiler"), "-O2", "-pthread", "-o", str(floor), source], check=True)

    def verify(old: int, new: int) -> list[str]:
        hosts = ["--old", f"127.0.0.1:{old}", "--new", f"127.0.0.1:{new}", "--accounts", str(accounts)]
        return [sys.executable, "-m", "popbox", "migrate", "verify", *hosts, "--jobs", str(JOBS), "--json", str(report)]

    def bare(old: int, new: int) -> list[str]:
        return [str(floor), *map(str, (old, new, BOXES, MESSAGES, AHEAD, 2 * JOBS))]

    runs: dict[str, tuple[Path, Argv]] = {"floor": (ROOT, bare), "verify": (ROOT, verify)}
    runs |= {"verify, the other tree": (Path(OTHER), verify)} if OTHER else {}
    took: dict[str, list[Cost]] = {name: [] for name in runs}
    for _ in range(TURNS):
        for name, (tree, argv) in runs.items():
            took[name].append(measured(place, tree, argv))
        said = json.loads(report.read_text())
        assert said["totals"]["equal"] == BOXES
    load = os.getloadavg()[0]
    print(f"\n{BOXES} boxes of {MESSAGES}, old host {OLD_PROFILE}, medians of {TURNS} (least to most), load {load:.0f}")
    least = _middle(took["floor"])
    for name, costs in took.items():
        one = _middle(costs)
        spread = f"{min(cost.cpu for cost in costs):.2f} to {max(cost.cpu for cost in costs):.2f}"
        ratio = f"{one.wall / least.wall:.1f}x, {one.cpu / least.cpu:.1f}x the floor"
        print(f"  {name:22} {one.wall:6.2f} s, CPU {one.cpu:6.2f} s ({spread}): client {one.client:.2f}, {ratio}")


def _middle(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))
