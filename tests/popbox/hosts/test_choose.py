"""Which world a run takes: an explicit wish is met or refused with the reason, never replaced."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from popbox import hosts
from popbox.container import MailHostContainer
from popbox.errors import HostError, UnusableError
from popbox.hosts import docker
from popbox.hosts.choose import Choice, HostName, MtaName, choose
from popbox.hosts.docker.endpoint import CONTAINER
from popbox.settings import Settings

SETTINGS = Settings(assets=Path("/none"), state=Path("/none"), qmail_base=None)

# (host, mta, why no engine, why no qmail) -> host and MTA taken, and words of the reason
TAKEN = {
    ("auto", "auto", "", ""): ("docker", "qmail", "a Docker engine answers; an image with qmail is available"),
    ("auto", "auto", "", "NO IMAGE"): ("docker", "stand-in", "a Docker engine answers; no qmail: NO IMAGE"),
    ("auto", "auto", "NO ENGINE", ""): ("local", "stand-in", "no Docker engine: NO ENGINE"),
    ("auto", "standin", "", ""): ("docker", "stand-in", "a Docker engine answers"),
    ("auto", "standin", "NO ENGINE", ""): ("local", "stand-in", "no Docker engine: NO ENGINE"),
    ("auto", "qmail", "", ""): ("docker", "qmail", "a Docker engine answers"),
    ("docker", "auto", "", "NO IMAGE"): ("docker", "stand-in", "no qmail: NO IMAGE"),
    ("docker", "standin", "", "NO IMAGE"): ("docker", "stand-in", ""),
    ("docker", "qmail", "", ""): ("docker", "qmail", ""),
    ("local", "standin", "NO ENGINE", "NO IMAGE"): ("local", "stand-in", ""),
    ("local", "auto", "", ""): ("local", "stand-in", "host local runs the stand-in MTA"),
}
REFUSED = {
    ("docker", "auto", "NO ENGINE", ""): "host docker is not available: NO ENGINE",
    ("docker", "standin", "NO ENGINE", ""): "host docker is not available: NO ENGINE",
    ("docker", "qmail", "", "NO IMAGE"): "MTA qmail is not available: NO IMAGE",
    ("auto", "qmail", "", "NO IMAGE"): "MTA qmail is not available: NO IMAGE",
    ("auto", "qmail", "NO ENGINE", ""): "host docker is not available: NO ENGINE",
    ("local", "qmail", "", ""): "host local has no qmail",
}
Case = tuple[HostName, MtaName, str, str]


@pytest.mark.parametrize(("host", "mta"), [("auto", "auto"), ("docker", "auto"), ("docker", "qmail")])
def test_an_image_that_is_named_and_not_here_is_never_replaced_by_the_stand_in(
    host: HostName, mta: MtaName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "unavailable", lambda _environ: "")
    monkeypatch.setattr(docker, "no_qmail", lambda _settings: "QMAIL_BASE names the image x, which is not here")
    with pytest.raises(HostError, match="QMAIL_BASE names the image x, which is not here"):
        choose(host, mta, replace(SETTINGS, qmail_base="x"))
    assert choose(host, "standin", replace(SETTINGS, qmail_base="x")).mta == "stand-in"
    with pytest.raises(UnusableError, match="has no qmail"):
        MailHostContainer("standin").with_qmail_base("x")


def decide(case: Case, monkeypatch: pytest.MonkeyPatch) -> Choice:
    host, mta, no_engine, no_qmail = case
    monkeypatch.setattr(docker, "unavailable", lambda _environ: no_engine)
    monkeypatch.setattr(docker, "no_qmail", lambda _settings: no_qmail)
    return choose(host, mta, SETTINGS)


def test_without_the_package_docker_auto_takes_local_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(hosts, "docker")
    for name in [one for one in sys.modules if one.startswith("popbox.hosts.docker")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "docker", None)  # what an import of it then says is that it is not there
    monkeypatch.setitem(sys.modules, "docker.errors", None)
    why = "the Python package docker is not installed"
    assert choose("auto", "auto", SETTINGS) == Choice("local", "stand-in", f"no Docker engine: {why}")
    with pytest.raises(HostError, match=f"host docker is not available: {why}"):
        choose("docker", "auto", SETTINGS)


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_taken_and_why(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    host, mta, why = TAKEN[case]
    assert decide(case, monkeypatch) == Choice(host, mta, why)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match=REFUSED[case]):
        decide(case, monkeypatch)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("unix:///nonexistent/docker.sock", "No such file or directory"),
    ],
)
def test_why_no_engine_answers_is_what_the_system_says(engine: str, said: str) -> None:
    assert docker.unavailable({"DOCKER_HOST": engine}) == f"the engine does not answer ({said}): {engine}"


def test_a_container_is_known_by_its_own_hosts_file_and_not_by_the_engines_mounts() -> None:
    """The machine of the engine mounts each container's shared memory below that same path: it is in none of them."""
    number = "a1" * 32
    engines = f"812 28 0:71 / /var/lib/docker/containers/{number}/mounts/shm rw,nosuid - tmpfs shm rw\n"
    ours = f"97 81 254:0 /var/lib/docker/containers/{number}/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw\n"
    assert CONTAINER.search(engines) is None
    found = CONTAINER.search(engines + ours)
    assert found is not None
    assert found.group(1) == number
