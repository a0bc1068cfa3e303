"""What is asked of the Docker engine itself: is it there, can its ports be reached, what runs on it."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing, suppress

from docker.errors import DockerException, NotFound

import docker
from popbox.clients.wire import Address
from popbox.environment import NOTHING, of_docker
from popbox.errors import HostError
from popbox.hosts.base import tail
from popbox.hosts.docker.api import reason
from popbox.hosts.docker.endpoint import ASK_S, Filters, beside_us, client, containers, endpoint, reached_at
from popbox.settings import Settings

LOCAL_BASE = "qmail-base:local"
PACKAGE_KEY = "https://download.opensuse.org/repositories/home:/notqmail/Debian_12/Release.key"
PROJECT_LABEL = "com.docker.compose.project"
OF_NO_PROJECT = ("--label", f"{PROJECT_LABEL}=")  # for what runs from an image: compose writes its project into that
RUN_LABEL = "popbox.run"  # on all that a host of popbox's consists of; its value is the id of that host's record
EVERYWHERE = ("", "0.0.0.0", "::")  # how a deployment publishes to the open net  # noqa: S104 - nothing is bound here
CONSOLE_PORT = "8025/tcp"  # of compose.yaml's service `console`
ANSWER_S = 5


def unavailable(environ: Mapping[str, str] = NOTHING) -> str:
    """Why no Docker engine with Compose v2 can be used from here; empty when one can."""
    try:
        reached_at(environ)
        with closing(client(environ, ANSWER_S)) as engine:
            engine.ping()
            if why := _not_docker(engine) or beside_us(engine):
                return why
    except HostError as error:
        return error.what
    except (DockerException, OSError) as error:
        return f"the engine cannot be asked ({reason(error)}): {endpoint(environ).host}"
    return _no_compose(environ)


def _no_compose(environ: Mapping[str, str]) -> str:
    """Compose asks that engine with the program's own settings, which the docker library does not all know."""
    argv = ["docker", "compose", "ls"]
    try:
        done = subprocess.run(
            argv,
            env=of_docker(environ),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=ASK_S,
        )
    except FileNotFoundError:
        return "the program `docker` is not installed"
    except subprocess.TimeoutExpired:
        return f"`{' '.join(argv)}` did not end within {ASK_S:.0f} s"
    if "is not a docker command" in done.stderr or "unknown command" in done.stderr:
        return "`docker compose` (Compose v2) is not installed"
    return "" if done.returncode == 0 else f"`{' '.join(argv)}`: {tail(done.stderr, 1).strip()}"


def _not_docker(engine: docker.DockerClient) -> str:
    """Podman answers Docker's API, but builds no image for `docker compose`."""
    parts = [part.get("Name", "") for part in engine.version().get("Components") or []]
    other = next((name for name in parts if "podman" in name.lower()), "")
    return f"what answers is {other}, which has no BuildKit for `docker compose build`" if other else ""


def projects(environ: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """Compose projects with a container that takes mail, those of popbox's own runs left out -> their MTA.

    Empty without an engine.
    """
    if unavailable(environ):
        return {}
    found = {}
    with closing(client(environ, ANSWER_S)) as engine:
        there = containers(engine, {"label": PROJECT_LABEL})
    for container in there:
        title = container.labels.get("org.opencontainers.image.title")
        if title in ("popbox/qmail", "popbox/standin") and RUN_LABEL not in container.labels:
            found[container.labels[PROJECT_LABEL]] = "qmail" if title == "popbox/qmail" else "stand-in"
    return found


def consoles(environ: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """Compose projects whose service ``console`` runs with a published port -> its address.

    Empty without an engine.
    """
    if unavailable(environ):
        return {}
    wanted: Filters = {"label": [PROJECT_LABEL, "com.docker.compose.service=console"], "status": "running"}
    found = {}
    with closing(client(environ, ANSWER_S)) as engine:
        there = engine.containers.list(filters=wanted, ignore_removed=True)
    for container in there:
        for at in container.attrs["NetworkSettings"]["Ports"].get(CONSOLE_PORT) or ():
            here = reached_at(environ) if at["HostIp"] in EVERYWHERE else at["HostIp"]
            found[container.labels[PROJECT_LABEL]] = f"http://{Address(here, int(at['HostPort']))}"
    return found


def no_qmail(settings: Settings) -> str:
    """Why no image with qmail is available; empty when one is."""
    base = settings.qmail_base or LOCAL_BASE
    try:
        with closing(client(settings.environ, ANSWER_S)) as engine:
            engine.images.get(base)
    except NotFound:
        return f"QMAIL_BASE names the image {base}, which is not here" if settings.qmail_base else _no_package()
    return ""


def _no_package() -> str:
    try:
        with urllib.request.urlopen(PACKAGE_KEY, timeout=3):
            return ""
    except (urllib.error.URLError, OSError):
        return f"there is no image {LOCAL_BASE}, and the notqmail package repository does not answer"


def qmail_base(engine: docker.DockerClient, settings: Settings) -> str:
    """The image with qmail that QMAIL_BASE of compose.yaml names; empty for the package."""
    if settings.qmail_base:
        return settings.qmail_base
    with suppress(NotFound):
        engine.images.get(LOCAL_BASE)
        return LOCAL_BASE
    return ""
