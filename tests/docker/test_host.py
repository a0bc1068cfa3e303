"""Host docker: the stack that users deploy starts, works, reports why if it does not, and leaves nothing."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.docker.conftest import Snapshot
from tests.popbox import ROOT
from tests.popbox.cli.test_demo_faults import BROKEN_HOSTS, CAUSES, FAULTS

from docker import DockerClient
from popbox.environment import handed_on
from popbox.errors import HostError
from popbox.hosts.base import closing
from popbox.hosts.choose import sweep
from popbox.hosts.docker import DockerHost, no_qmail
from popbox.hosts.docker.removal import of_run
from popbox.hosts.state import Registry
from popbox.report.text import step_lines
from popbox.result import Result, Verdict
from popbox.run.runner import run
from popbox.scenario.load import load
from popbox.settings import Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
TRIES = int(os.environ.get("POPBOX_INTERRUPTS", "4"))
LONGEST_S = 8.0  # about what the demo takes
pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.timeout(300)]
HOWTO = ROOT / "scenarios/howto-telnet.toml"


def story(result: Result) -> str:
    return "\n".join(line for step in result.steps for line in step_lines(step, transcripts=True))


def test_the_howto_works_and_nothing_is_left(
    mta: str, settings: Settings, lying_around: Snapshot, engine: DockerClient
) -> None:
    registry = Registry(settings.state)
    with closing(DockerHost.start(registry, settings, mta)) as host:
        projects = {record.place for record in registry.all()}
        result = run(load(HOWTO), host)
        assert lying_around(projects)
        found_beside_another(host, engine, *projects)
    assert result.verdict is Verdict.PASSED, story(result)
    by_qmail = re.search(r"Received: \(qmail \d+ invoked from network\)", story(result))
    assert bool(by_qmail) == (mta == "qmail"), "qmail signs what qmail carried, and nothing else does"
    assert not lying_around(projects)
    assert not registry.all()


def found_beside_another(host: DockerHost, engine: DockerClient, project: str) -> None:
    """A program beside a service is no part of the project, whatever its image says; where it is, the service is found.

    Of two labels of one name the last counts, and an image's before both: built ones say that they are that service.
    """
    label = f"com.docker.compose.project={project}"
    at, beside = host.address("smtp"), host.beside("-c", "print(flush=True); input()")
    service, pipe = f"com.docker.compose.service={host._compose_service('smtp')}", subprocess.PIPE
    run, labels = list(beside.argv), ["--label", label, "--label", service]
    for argv, taken in (([*run[:2], *labels, *run[2:]], False), ([*run[:-3], *labels, *run[-3:]], True)):
        with subprocess.Popen(argv, env=dict(beside.env), stdin=pipe, stdout=pipe) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"\n", "it does not run"
            found = host.address("smtp")
            there = engine.containers.list(filters={"label": label})
            program.communicate(b"\n")
        assert found == at
        assert any(not one.name.startswith(project) for one in there) == taken


@pytest.mark.parametrize("fault", sorted(set(CAUSES) - BROKEN_HOSTS))
def test_a_fault_is_named(fault: str, mta: str, settings: Settings) -> None:
    named(fault, mta, settings)


@pytest.mark.parametrize("fault", sorted(BROKEN_HOSTS))
def test_a_broken_host_is_named(fault: str, settings: Settings) -> None:
    """Cables pulled, disks filled, daemons killed: with qmail where it is available."""
    named(fault, "stand-in" if no_qmail(settings) else "qmail", settings)


def named(fault: str, mta: str, settings: Settings) -> None:
    file = load(FAULTS / f"{fault}.toml")
    own_disk, open_before = file.scenario.needs.own_disk, sockets()
    with closing(DockerHost.start(Registry(settings.state), settings, mta, own_disk=own_disk)) as host:
        result = run(file, host)
    want_said, want_hint = CAUSES[fault]
    assert sockets() <= open_before, "connections to the engine outlive the host"
    assert result.verdict is Verdict.FAILED
    assert re.search(want_said, result.steps[-1].seen.said), story(result)
    assert re.search(want_hint, result.steps[-1].seen.hint, re.DOTALL), story(result)


def sockets() -> set[Path]:
    """Those that this process has open."""
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found.add(fd.readlink())
    return {link for link in found if link.name.startswith("socket:")}


def test_a_container_that_dies_ends_the_wait_at_once_with_its_log(
    tmp_path: Path, lying_around: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = (
        "{image: 'debian:bookworm-slim', command: [sh, -c, 'echo broken on purpose; exit 7'], ports: ['127.0.0.1::%d']}"
    )
    living = "{image: 'debian:bookworm-slim', command: [sleep, '60'], ports: ['127.0.0.1::%d']}"
    (tmp_path / "compose.yaml").write_text(f"services:\n  standin: {dying % 25}\n  pop3: {living % 110}\n")
    broken = Settings(tmp_path, tmp_path / "state", None)
    monkeypatch.setattr("popbox.hosts.state.secrets.token_hex", lambda _octets: "dies")
    began = time.monotonic()
    with pytest.raises(HostError) as caught:
        DockerHost.start(Registry(broken.state), broken, "stand-in")
    assert "its container is exited, exit code 7" in str(caught.value)
    assert "broken on purpose" in str(caught.value)
    assert time.monotonic() - began < 60, "and not after 90 s"
    assert not lying_around({"popbox-dies"})


def popbox(state: Path, *argv: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "XDG_STATE_HOME": str(state)}
    command = [sys.executable, "-m", "popbox", *argv]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def projects_until(child: subprocess.Popen[str], state: Path, until: float) -> set[str]:
    """The compose projects that a popbox records, watched until it ends or the deadline."""
    projects = set()
    while child.poll() is None and time.monotonic() < until:
        projects |= {record.place for record in Registry(state / "popbox").all() if record.place}
        time.sleep(0.02)
    return projects


def test_two_demos_at_once_do_not_clash(mta: str, tmp_path: Path, lying_around: Snapshot) -> None:
    argv = ("demo", "--host", "docker", "--mta", mta.replace("-", ""))
    children = [popbox(tmp_path, *argv), popbox(tmp_path, *argv)]
    projects = projects_until(children[0], tmp_path, time.monotonic() + 200)
    for child in children:
        out, err = child.communicate(timeout=200)
        assert child.returncode == 0, out + err
        assert out.splitlines()[-1] == f"1 passed; host docker, MTA {mta}"
    assert len(projects) == 2
    assert not lying_around(projects)


@pytest.mark.parametrize("seed", range(TRIES))
def test_no_signal_leaves_anything(seed: int, tmp_path: Path, engine: DockerClient) -> None:
    """INT, TERM, HUP at random moments; after KILL nothing is left once the next host has started."""
    number, after_s = SIGNALS[seed % len(SIGNALS)], random.Random(seed).uniform(0.5, LONGEST_S)
    child = popbox(tmp_path, "demo", "--host", "docker", "--mta", "standin")
    runs = records_until(child, tmp_path, time.monotonic() + after_s)
    child.send_signal(number)
    child.communicate(timeout=100)
    assert child.returncode in (130, 0, -number), "the last: before popbox itself had begun"
    if number == signal.SIGKILL:
        sweep(Settings(ROOT, tmp_path / "popbox", None, handed_on(os.environ)))
    left = [one.name for run in runs for one in of_run(engine, run)]
    assert left == [], f"{number.name} after {after_s:.2f} s"
    assert not [path for folder in ("hosts", "compose") for path in (tmp_path / "popbox" / folder).glob("*")]


def records_until(child: subprocess.Popen[str], state: Path, until: float) -> set[str]:
    """The ids of the hosts that a popbox records, watched until it ends or the deadline."""
    found = set()
    while child.poll() is None and time.monotonic() < until:
        found |= {record.id for record in Registry(state / "popbox").all()}
        time.sleep(0.02)
    return found
