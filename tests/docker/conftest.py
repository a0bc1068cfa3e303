"""What the Docker tests share: the engine, or the reason why there is none, and a list of what is in it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.needs import require

import docker
from popbox.environment import handed_on
from popbox.pytest_notes import note_exercised
from popbox.settings import Settings, find_assets

Snapshot = Callable[[set[str]], set[str]]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with the test's own state directory."""
    return Settings(
        find_assets(), tmp_path_factory.mktemp("state"), os.environ.get("QMAIL_BASE"), handed_on(os.environ)
    )


@pytest.fixture
def engine() -> docker.DockerClient:
    """The engine; without one the test is skipped, with the reason."""
    require("host docker")
    return docker.from_env()


@pytest.fixture(params=["stand-in", pytest.param("qmail", marks=pytest.mark.realqmail)])
def mta(request: pytest.FixtureRequest, engine: docker.DockerClient) -> str:
    """Each MTA in turn; real qmail only where an image of it is available."""
    wanted: str = request.param
    if wanted == "qmail":
        require("qmail image")
    note_exercised(request.node, f"host docker, MTA {wanted}")
    return wanted


@pytest.fixture
def lying_around(engine: docker.DockerClient) -> Snapshot:
    """A function that lists the containers, volumes and networks of some projects."""

    def snapshot(projects: set[str]) -> set[str]:
        found = [
            *engine.containers.list(all=True, ignore_removed=True),
            *engine.volumes.list(),
            *engine.networks.list(),
        ]
        return {one.name for one in found if any(one.name.startswith(project) for project in projects)}

    return snapshot
