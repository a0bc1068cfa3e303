"""Hosts that the processes of one run share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from popbox.errors import HostError
from popbox.hosts.choose import Choice
from popbox.hosts.shared_hosts import SharedHosts
from popbox.hosts.state import Process, Registry
from popbox.settings import Settings, find_assets

LOCAL = Choice("local", "stand-in", "")
WORKER = """
import sys
from pathlib import Path
from popbox.hosts.choose import Choice
from popbox.hosts.state import Process
from popbox.settings import Settings, find_assets
from popbox.hosts.shared_hosts import SharedHosts

settings = Settings(find_assets(), Path(sys.argv[1]), None)
print(SharedHosts(settings, Process.of(int(sys.argv[2]))).host(Choice("local", "stand-in", "")).address("smtp"))
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(find_assets(), tmp_path, None)


def workers(settings: Settings, count: int) -> set[str]:
    """Where each of so many processes, started at once, finds the host of this process's run."""
    argv = [sys.executable, "-c", WORKER, str(settings.state), str(os.getpid())]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    said = {one.communicate(timeout=60)[0].strip() for one in running}
    assert [one.returncode for one in running] == [0] * count
    return said


def test_processes_that_start_at_once_share_one_host_and_the_owner_takes_it_away(settings: Settings) -> None:
    owner = SharedHosts(settings, Process.of(os.getpid()))
    try:
        said = workers(settings, 3)
        assert said == {str(owner.host(LOCAL).address("smtp"))}
        assert len(Registry(settings.state).all()) == 1
        assert Registry(settings.state).removable() == [], "it outlives the workers, and popbox down leaves it alone"
    finally:
        owner.end()
    assert Registry(settings.state).all() == []
    assert list(settings.state.glob("*.lock")) == []


def test_a_host_that_died_is_named_not_started_anew(settings: Settings) -> None:
    owner = SharedHosts(settings, Process.of(os.getpid()))
    try:
        owner.host(LOCAL).kill("smtp")
        with pytest.raises(HostError, match="smtp on host local, MTA stand-in: its process is gone"):
            SharedHosts(settings, Process.of(os.getpid())).host(LOCAL)
    finally:
        owner.end()


def test_another_run_has_another_host(settings: Settings) -> None:
    mine, other = SharedHosts(settings, Process.of(os.getpid())), SharedHosts(settings, Process.of(os.getppid()))
    try:
        assert mine.host(LOCAL).address("smtp") != other.host(LOCAL).address("smtp")
        assert other.end(keep=True), "kept hosts are given back"
        assert [record.kept for record in Registry(settings.state).removable()] == [True]
    finally:
        mine.end()
        other.end()
