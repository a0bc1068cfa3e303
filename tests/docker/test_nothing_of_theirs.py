"""With every documented variable exported, popbox does not touch a live deployment or another application."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docker.stacks import Stack
from tests.popbox.exported import unwanted

import docker
from popbox.hosts.docker.engine import RUN_LABEL
from popbox.hosts.docker.removal import remove

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.timeout(600)]
APPLICATION = """
services:
  standin:
    image: debian:bookworm-slim
    command: [sleep, "600"]
    init: true
    volumes: ["users:/data", "control:/control"]
volumes: {users: {}, control: {}}
"""
ACCOUNTS = '[domains."customer.example".mailboxes.joe]\nlogin = "customer"\ncrypt = "DmIMm9e5Hc8ic"\n'


class Application:
    """Another application, whose service and volumes happen to have our names."""

    def __init__(self, folder: Path) -> None:
        self.project, self.file = f"stranger-{secrets.token_hex(4)}", folder / "theirs.yaml"
        self.file.write_text(APPLICATION)

    def compose(self, *argv: str) -> str:
        command = ["docker", "compose", "-p", self.project, "-f", str(self.file), *argv]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Application]:
    one = Application(tmp_path)
    try:
        one.compose("up", "--detach")
        one.compose("exec", "-T", "standin", "sh", "-c", "echo mine > /data/marker")
        yield one
    finally:
        one.compose("down", "--volumes", "--timeout", "1")


@pytest.fixture
def deployment() -> Iterator[Stack]:
    """A deployment made by hand, with images under its own tag."""
    tag = f"theirs-{secrets.token_hex(4)}"
    stack = Stack("standin", POPBOX_TAG=tag)
    try:
        stack.compose("up", "--detach", "--build", "--wait", within_s=600)
        stack.compose("exec", "-T", "standin", "mailhost", "domain", "add", "customer.example")
        stack.sh("standin", "echo mine > /var/qmail/popboxes/marker")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5", check=False)
        for name in ("standin", "pop3"):
            subprocess.run(["docker", "rmi", f"popbox/{name}:{tag}"], capture_output=True, check=False, timeout=60)


def state_of(engine: docker.DockerClient, tag: str, *projects: str) -> dict[str, object]:
    """Containers with their start times, volumes, networks, and the ids of the images of a tag."""
    label: dict[str, str | list[str] | bool] = {}
    found: dict[str, object] = {}
    for project in projects:
        label = {"label": f"com.docker.compose.project={project}"}
        for one in engine.containers.list(all=True, filters=label, ignore_removed=True):
            found[f"container {one.name}"] = (one.id, one.attrs["State"]["StartedAt"], one.status)
        found |= {f"volume {one.name}": one.attrs["CreatedAt"] for one in engine.volumes.list(filters=label)}
        found |= {f"network {one.name}": one.id for one in engine.networks.list(filters=label)}
    return found | {name: engine.images.get(f"popbox/{name}:{tag}").id for name in ("standin", "pop3")}


def test_what_is_theirs_stays_as_it_was(
    stranger: Application, deployment: Stack, engine: docker.DockerClient, tmp_path: Path
) -> None:
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    exported = dict.fromkeys(unwanted(), "1") | {
        "COMPOSE_FILE": str(stranger.file), "COMPOSE_PROFILES": "debug", "COMPOSE_ENV_FILES": "/nowhere",
        "POPBOX_TAG": deployment.variables["POPBOX_TAG"], "POPBOX_ACCOUNTS": str(tmp_path),
        "POPBOX_REQUIRE_TLS": "yes", "POPBOX_SMTP_PORT": "127.0.0.1:1:25", "MAILHOST_HOME": str(tmp_path),
    }  # fmt: skip
    theirs = (stranger.project, deployment.project)
    tag = deployment.variables["POPBOX_TAG"]
    before = state_of(engine, tag, *theirs)

    def popbox(project: str, *argv: str) -> str:
        """Its output when the shell exports all of that, and that project's name."""
        environ = {**os.environ, **exported, "COMPOSE_PROJECT_NAME": project, "XDG_STATE_HOME": str(tmp_path / "state")}
        command = [sys.executable, "-m", "popbox", *argv]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        assert "1 passed" in popbox(stranger.project, "demo", "--keep", "--host", "docker", "--mta", "standin")
        assert "customer.example" in popbox(stranger.project, "exec", "--on", deployment.project, "domain", "list")
    finally:
        gone = popbox(deployment.project, "down")
    assert gone.count("removed host docker") == 1
    now = state_of(engine, tag, *theirs)
    assert {name: one for name, one in now.items() if before.get(name) != one} == {}
    assert before.keys() == now.keys()
    assert stranger.compose("exec", "-T", "standin", "cat", "/data/marker") == "mine\n"
    assert deployment.sh("standin", "cat /var/qmail/popboxes/marker") == "mine\n"
    assert [path.name for path in tmp_path.iterdir()].count("accounts.toml") == 1


def test_only_what_carries_the_label_is_removed(engine: docker.DockerClient) -> None:
    run, project = secrets.token_hex(4), f"popboxtest-{secrets.token_hex(4)}"
    theirs = {"com.docker.compose.project": project}
    kept = engine.volumes.create(f"{project}_users", labels=theirs)
    other = engine.volumes.create(f"{project}_other", labels={**theirs, RUN_LABEL: f"{run}0"})
    ours = engine.volumes.create(f"{project}_ours", labels={**theirs, RUN_LABEL: run})
    network = engine.networks.create(f"{project}_smtp", labels={RUN_LABEL: run})
    try:
        assert remove(engine, run) == []
        names = {one.name for one in engine.volumes.list()}
        assert {kept.name, other.name} <= names
        assert ours.name not in names
        assert not engine.networks.list(ids=[network.id])
    finally:
        for one in (kept, other):
            one.remove()


def test_what_somebody_else_uses_is_named_and_stays(engine: docker.DockerClient) -> None:
    run = secrets.token_hex(4)
    volume = engine.volumes.create(f"popboxtest-{run}", labels={RUN_LABEL: run})
    user = engine.containers.create("debian:bookworm-slim", ["true"], volumes={volume.name: {"bind": "/data"}})
    try:
        assert remove(engine, run) == [volume.name]
    finally:
        user.remove()
        volume.remove()
