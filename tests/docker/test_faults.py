"""Faults over HTTP on host docker: each breaks what it says and is healed, also after a kill -9 of serve."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docker.stacks import until
from tests.needs import lacks, require
from tests.popbox.serve.api import TOKEN, Api
from tests.popbox.serve.served import post, serving

from popbox.environment import handed_on
from popbox.hosts.base import SERVICES, closing
from popbox.hosts.breaking import harm, mend
from popbox.hosts.choose import attach
from popbox.hosts.docker import DockerHost
from popbox.hosts.readiness import greets
from popbox.hosts.state import Registry
from popbox.settings import Settings, find_assets

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.slow, pytest.mark.timeout(600)]

ALL = [
    ("stop", "smtp"), ("kill", "pop3"), ("pause", "smtp"), ("pause", "pop3"), ("partition", "smtp"),
    ("partition", "pop3"), ("fill", "queue"), ("fill", "popboxes"), ("read-only", "popboxes"),
]  # fmt: skip
SERVING = {"said": "writes with the token of POPBOX_TOKEN", "world": "host docker, MTA stand-in"}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def settings(state: Path) -> Settings:
    return Settings(find_assets(), state / "popbox", None, handed_on(os.environ))


@pytest.fixture(scope="module")
def host(settings: Settings) -> Iterator[DockerHost]:
    """With small disks of its own; kept, so that `popbox serve` finds it."""
    require("host docker")
    with closing(DockerHost.start(Registry(settings.state), settings, "stand-in", own_disk=True)) as up:
        up.keep()
        yield up


@pytest.fixture
def api(host: DockerHost, tmp_path: Path) -> Iterator[Api]:
    with Api(host, tmp_path) as api:
        yield api
    assert host.ailments() == [], "the end heals"


def begun(api: Api, fault: str, on: str, **more: str) -> Any:
    status, made = api.post("/v1/faults", {"fault": fault, "on": on, **more})
    if status == 409 and fault in ("pause", "read-only"):
        lacks("host docker", f"{fault}: {made['evidence']}")  # an engine without a freezer, a rootless one
    assert status == 201, made
    return made


@pytest.mark.parametrize(("fault", "on"), ALL)
def test_a_fault_breaks_its_target_and_delete_heals_it(api: Api, fault: str, on: str) -> None:
    made = begun(api, fault, on)
    assert {one.partition(":")[0] for one in api.host.ailments()} == {on}
    status, ready = api.get("/readyz")
    assert (status, {one.partition(":")[0] for one in ready["evidence"]}) == (503, {on})
    status, healed = api.delete(f"/v1/faults/{made['id']}")
    assert (status, healed["answers"], api.host.ailments()) == (200, True, [])
    assert (api.get("/readyz")[0], api.get("/v1/faults")[1]["faults"]) == (200, [])


def test_what_the_queue_holds_outlives_a_kill_of_the_mta(host: DockerHost) -> None:
    """A load run fills disks and kills services: with the last container of a tmpfs, its files would end."""
    host.shell(f"echo kept > {host.home()}/queue/kept")
    harm(host, "kill", "smtp")
    assert mend(host, "kill", "smtp", time.monotonic() + 60) == ""
    assert host.shell(f"cat {host.home()}/queue/kept").stdout == "kept\n"
    host.shell(f"rm {host.home()}/queue/kept")


def test_faults_heal_by_themselves_and_at_the_end_of_serve(host: DockerHost, tmp_path: Path) -> None:
    with Api(host, tmp_path) as api:
        for fault, on in (("stop", "smtp"), ("partition", "pop3"), ("fill", "popboxes")):
            begun(api, fault, on, **{"for": "1s"})
        until(lambda: api.get("/v1/faults")[1]["faults"] == [], "the end of the faults")
        assert (host.ailments(), api.get("/readyz")[0]) == ([], 200)
        for fault, on in (("fill", "queue"), ("fill", "popboxes"), ("kill", "smtp"), ("partition", "pop3")):
            begun(api, fault, on)  # a disk is reached through its service
    assert host.ailments() == []
    assert [greets(host, service) for service in SERVICES] == ["", ""]


def test_what_the_host_cannot_do_is_told(settings: Settings, host: DockerHost, tmp_path: Path) -> None:
    registry = Registry(settings.state)
    [record] = registry.all()
    with Api(attach(record, settings, registry), tmp_path) as api:  # it was made by another: its disks are not ours
        for fault, on in (("fill", "queue"), ("read-only", "popboxes")):
            status, said = api.post("/v1/faults", {"fault": fault, "on": on})
            why = "this host was started without a disk of its own"
            assert (status, said["error"], said["evidence"]) == (409, "this host cannot do that", [why])


def test_the_next_start_of_serve_heals_what_a_kill_left(
    host: DockerHost, settings: Settings, state: Path, tmp_path: Path
) -> None:
    [record] = Registry(settings.state).all()
    store = ("--on", record.id, "--store", str(tmp_path / "journeys"))
    engine = os.environ.get("DOCKER_HOST", "")
    with serving(state, *store, "--allow-writes", **SERVING, POPBOX_TOKEN=TOKEN, DOCKER_HOST=engine) as (port, program):
        for fault, on in (("partition", "smtp"), ("stop", "pop3")):
            status, said = post(port, "/v1/faults", {"fault": fault, "on": on}, popbox_token=TOKEN)
            assert status == 201, said
        program.send_signal(signal.SIGKILL)
        program.wait(timeout=60)
    assert all(greets(host, service) for service in SERVICES)
    with serving(state, *store, world=SERVING["world"], DOCKER_HOST=engine):  # read-only: it heals as well
        until(lambda: not any(greets(host, service) for service in SERVICES), "both services")
    assert host.ailments() == []
