"""The recipes for GitHub Actions and GitLab CI: their services, variables and steps, carried out as these two do."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docker.boxes import Box, box, docker
from tests.docker.stacks import names, until
from tests.needs import BASE, ROOT, lacks

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker", "node", "curl"), pytest.mark.slow]

EXAMPLE = ROOT / "tests/example"
GREEN = re.compile(
    r"^# pass 1$.*^passed: code 482913, link https://shop\.example/reset\?t=1$", re.DOTALL | re.MULTILINE
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is a copy of the folder, as its README says."""
    return shutil.copytree(EXAMPLE, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def network() -> Iterator[str]:
    """One of the job's own, as both make it."""
    name = f"recipetest-{secrets.token_hex(4)}"
    with names():
        docker("network", "create", name)
        try:
            yield name
        finally:
            docker("network", "rm", name)


def environment(variables: Mapping[str, str]) -> list[str]:
    """Options of ``docker run``."""
    return [f"--env={name}={value}" for name, value in variables.items()]


@contextmanager
def github_service(job: Mapping[str, Any], network: str) -> Iterator[Box]:
    """The service ``popbox`` once it is healthy, as the runner starts it; the engine chooses the ports of this machine.

    A runner has ports 2525 and 8025 to itself, and this machine's may be in use.
    """
    service = job["services"]["popbox"]
    assert service["image"].endswith("/popbox-box"), "the name under which the recipe says that it was pushed"
    ports = [f"--publish=127.0.0.1::{inner_port(one)}" for one in service["ports"]]
    placed = ["--network", network, "--network-alias", "popbox"]
    with box(*placed, *ports, *environment(service["env"]), published=False) as up:
        until(lambda: up.state(".State.Health.Status") == "healthy", "a healthy service")
        yield up


def inner_port(mapping: str) -> int:
    return int(mapping.rpartition(":")[2])


def as_published(text: str, ports: list[str], up: Box) -> str:
    """A value of the recipe with this machine's ports in the place of those that its ``ports`` name."""
    for one in ports:
        at, _, inner = one.rpartition(":")
        text = text.replace(at, f"127.0.0.1:{up.port(int(inner))}")
    return text


def test_github_actions(project: Path, network: str) -> None:
    job = yaml.safe_load((EXAMPLE / "github-actions.yml").read_text())["jobs"]["mail"]
    steps = [one for one in job["steps"] if "run" in one]
    with github_service(job, network) as up:
        ports = job["services"]["popbox"]["ports"]
        env = {name: as_published(value, ports, up) for name, value in job["env"].items()}
        said = [on_the_runner(step, project, env) for step in steps]
    assert GREEN.search("".join(said)), said


def on_the_runner(step: Mapping[str, str], project: Path, env: Mapping[str, str]) -> str:
    """Output of a step without a shell of its own: bash -e, in its folder."""
    place, path = project / step.get("working-directory", "."), {"PATH": os.environ["PATH"]}
    argv = ["bash", "-e", "-c", step["run"]]
    done = subprocess.run(argv, cwd=place, env=path | env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_gitlab_ci(project: Path, network: str) -> None:
    job = yaml.safe_load((EXAMPLE / "gitlab-ci.yml").read_text())["mail"]
    [service] = job["services"]
    assert service["name"] == "$CI_REGISTRY_IMAGE/popbox-box"
    variables = environment(job["variables"])
    placed = ["--network", network, "--network-alias", service["alias"]]
    with box(*placed, *variables, published=False):
        said = in_the_job(job["script"], project, ["--network", network, *variables])
    assert GREEN.search(said), said


def in_the_job(script: list[str], project: Path, options: list[str]) -> str:
    """Output of the lines in one container, which has this machine's programs in the place of those of ``node:22``."""
    files = ["--volume", "/usr:/usr:ro", "--volume", f"{project}:/builds:ro", "--workdir", "/builds"]
    if (said := docker("run", "--rm", *files, BASE, "node", "--print", "1 + 1", check=False)) != "2":
        lacks("node", f"this machine's /usr does not run it in a container: {said[-200:]}")
    return docker("run", "--rm", *options, *files, BASE, "bash", "-e", "-c", "\n".join(script), within_s=120)
