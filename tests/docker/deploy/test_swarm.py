"""The Swarm stack on one node: three replicas, a rolling update under load, and not one failed login.

This node's kernel may lack IPVS, which the routing mesh and virtual addresses need; so the test publishes no port
and has Swarm's own DNS name the replicas (endpoint_mode dnsrr). All else is ``images/deploy/swarm/stack.yaml``.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docker.stacks import names
from tests.popbox import ROOT

from popbox.hosts.docker import LOCAL_BASE
from popbox.pytest_notes import note_exercised

pytestmark = [pytest.mark.docker, pytest.mark.needs("qmail image"), pytest.mark.realqmail, pytest.mark.timeout(400)]

STACK = ROOT / "images/deploy/swarm/stack.yaml"
LOAD = ROOT / "tests/docker/deploy/pop3_load.py"
THREADS, BOXES = 4, 6
REPLICAS = 3
NAME = "popbox-swarmtest"


def docker(*argv: str, within_s: float = 120, **more: Any) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=within_s, check=False, **more)
    assert done.returncode == 0, f"docker {argv}: {done.stderr[-2000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def swarm() -> Iterator[None]:
    """One Swarm test at a time on this engine; a Swarm that existed before is kept."""
    with names(lost=True):
        ours = docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"
        if ours:
            docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
        try:
            yield
        finally:
            if ours:
                docker("swarm", "leave", "--force")


def accounts(folder: Path) -> Path:
    lines = ['[domains."domain.com"]']
    for number in range(THREADS * BOXES):
        lines += [f'[domains."domain.com".mailboxes.box{number}]', f'login = "box{number}"', 'crypt = "DmIMm9e5Hc8ic"']
    file = folder / "accounts.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def rendered(folder: Path) -> Path:
    """The stack as docker reads it, without ports and virtual addresses."""
    environ = {**os.environ, "POPBOX_ACCOUNTS_FILE": str(accounts(folder)), "POPBOX_STACK": NAME}
    read = yaml.safe_load(docker("stack", "config", "-c", str(STACK), env=environ))
    for service in read["services"].values():
        del service["ports"]
        service["deploy"]["endpoint_mode"] = "dnsrr"
        # No roll back: on a busy machine a slow start would be one, and failed sessions are what counts here.
        service["deploy"]["update_config"].update(delay="0s", monitor="1s", failure_action="continue")
    file = folder / "stack.json"
    file.write_text(json.dumps(read))
    return file


@pytest.fixture(scope="module")
def stack(swarm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stack, all replicas healthy."""
    environ = {**os.environ, "QMAIL_BASE": os.environ.get("QMAIL_BASE") or LOCAL_BASE, "COMPOSE_PROFILES": "qmail"}
    docker("compose", "build", "--quiet", cwd=ROOT, env=environ, within_s=300)
    try:
        file = rendered(tmp_path_factory.mktemp("swarm"))
        docker("stack", "deploy", "--detach=true", "--resolve-image", "never", "-c", str(file), NAME)
        wait_for("every replica healthy", lambda: len(healthy("pop3")) == REPLICAS and len(healthy("qmail")) == 1)
        yield NAME
    finally:
        docker("stack", "rm", NAME)
        wait_for("its containers to go", lambda: not docker("ps", "-aq", "-f", f"name={NAME}_"))
        for volume in docker("volume", "ls", "-q", "-f", f"name={NAME}_").split():
            docker("volume", "rm", volume)
        wait_for("its networks to go", lambda: not docker("network", "ls", "-q", "-f", f"name={NAME}_"))


def healthy(service: str) -> list[str]:
    """Containers of a service whose health check passes."""
    return docker("ps", "-q", "-f", f"name={NAME}_{service}", "-f", "health=healthy").split()


def running(service: str) -> list[str]:
    """All running containers of a service."""
    return docker("ps", "-q", "-f", f"name={NAME}_{service}").split()


def wait_for(what: str, true: Any, within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"waited {within_s:.0f} s for {what}"
        time.sleep(0.5)


def updated() -> bool:
    """Whether the rolling update is done; a failed one ends the test."""
    state = docker("service", "inspect", f"{NAME}_pop3", "--format", "{{.UpdateStatus.State}}")
    assert state in ("updating", "completed"), state
    return state == "completed"


class Load:
    """Logins from a container on the replicas' network, because no other can reach them."""

    def __init__(self) -> None:
        image = f"popbox/pop3:{os.environ.get('POPBOX_TAG') or 'local'}"
        client = ["run", "--rm", "-i", "--name", f"{NAME}-load", "--network", f"{NAME}_pop", "--entrypoint", "python3"]
        with LOAD.open("rb") as program:
            argv = ["docker", *client, image, "-", "pop3", str(THREADS), str(BOXES), "0.02"]
            self._process = subprocess.Popen(argv, stdin=program, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._lines = self._process.stdout
        if (line := self._lines.readline()) != "loading\n":
            self.close()
            raise AssertionError(f"the load did not begin: {line!r}")

    def heard(self, word: str, times: int = 1) -> None:
        """Return once the load has told that so often; the test's time limit ends a wait in vain."""
        for _ in range(times):
            while not self._lines.readline().startswith(word):
                assert self._process.poll() is None, "the load has ended"

    def stopped(self) -> dict[str, Any]:
        """End the load; returns sessions by replica, and failures."""
        docker("kill", "--signal", "TERM", f"{NAME}-load")
        found: dict[str, Any] = json.loads(self._lines.read().splitlines()[-1])
        return found

    def close(self) -> None:
        subprocess.run(["docker", "rm", "-f", f"{NAME}-load"], capture_output=True, check=False)
        self._process.wait(30)


def test_a_rolling_update_under_load_fails_no_session(stack: str, request: pytest.FixtureRequest) -> None:
    note_exercised(request.node, "host docker, MTA qmail")
    before = set(healthy("pop3"))
    with closing(Load()) as load:
        load.heard("served", REPLICAS)
        docker("service", "update", "--detach", "--force", f"{NAME}_pop3")
        wait_for("the update", updated)
        wait_for("the old replicas to go", lambda: not before & set(running("pop3")))
        load.heard("served", REPLICAS)
        found = load.stopped()
    assert len(healthy("pop3")) == REPLICAS
    print(found)
    assert found["failures"] == []
    assert len(found["served"]) == 2 * REPLICAS, "old and new replicas have all been asked"
    assert sum(found["served"].values()) > 100


def test_a_replica_that_is_killed_fails_sessions(stack: str) -> None:
    """The broken peer: the same load must detect a replica that does not drain."""
    with closing(Load()) as load:
        load.heard("served", REPLICAS)
        docker("kill", *healthy("pop3")[:2])
        load.heard("failed")
        found = load.stopped()
    assert found["failures"]
    wait_for("every replica healthy again", lambda: len(healthy("pop3")) == REPLICAS)


def test_what_the_stack_may_do(stack: str) -> None:
    for number in healthy("pop3"):
        found = json.loads(docker("inspect", number))[0]["HostConfig"]
        assert (found["ReadonlyRootfs"], found["CapDrop"], found["CapAdd"]) == (True, ["ALL"], None)
        status = docker("exec", number, "sh", "-c", "cat $(grep -lsx mailhost /proc/[0-9]*/comm | sed s/comm/status/)")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["NoNewPrivs"] == "1", "security_opt is not Swarm's to give: the server sets it"
        assert fields["Uid"].split() == ["888"] * 4


def test_mail_for_one_box_is_seen_by_every_replica(stack: str) -> None:
    mail = (
        "import smtplib; s = smtplib.SMTP('127.0.0.1', 25, timeout=10); "
        "s.sendmail('a@b.example', ['box1@domain.com'], 'Subject: everywhere\\r\\n\\r\\nx\\r\\n')"
    )
    docker("exec", healthy("qmail")[0], "python3", "-c", mail)
    fetch = (
        "import poplib; c = poplib.POP3('127.0.0.1', 110, timeout=10); c.user('box1'); c.pass_('testpw'); "
        "print(b'Subject: everywhere' in c.top(1, 0)[1]); c.quit()"
    )
    wait_for("the delivery", lambda: docker("exec", healthy("pop3")[0], "python3", "-c", fetch) == "True")
    assert {docker("exec", number, "python3", "-c", fetch) for number in healthy("pop3")} == {"True"}
