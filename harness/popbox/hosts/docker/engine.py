"""What is asked of the Docker engine itself: is it there, what runs, what lies around."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress

from docker.errors import APIError, DockerException, ImageNotFound, NotFound

import docker
from popbox.settings import Settings

LOCAL_BASE = "qmail-base:local"
PACKAGE_KEY = "https://download.opensuse.org/repositories/home:/notqmail/Debian_12/Release.key"
PROJECT_LABEL = "com.docker.compose.project"
OUR_LABEL = "org.opencontainers.image.vendor=popbox"  # images/*/Dockerfile
SWEEP_S = 10.0  # our choice: a pile of hundreds goes over several builds and holds none of them up
ASK_S = 60.0  # our choice: about ten times what a small machine needs


def unavailable() -> str:
    """Why no Docker engine with Compose v2 can be used from here; empty when one can."""
    try:
        docker.from_env(timeout=5).ping()
    except (DockerException, OSError) as error:
        return f"the engine does not answer ({_reason(error)})"
    if not shutil.which("docker"):
        return "the program `docker` is not installed"
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False, timeout=ASK_S)
    return "" if done.returncode == 0 else "`docker compose` (Compose v2) is not installed"


def projects() -> dict[str, str]:
    """Compose projects with a container that takes mail, whoever started them -> their MTA. Empty without an engine."""
    if unavailable():
        return {}
    found = {}
    for container in docker.from_env(timeout=5).containers.list(all=True, filters={"label": PROJECT_LABEL}):
        title = container.labels.get("org.opencontainers.image.title")
        if title in ("popbox/qmail", "popbox/standin"):
            found[container.labels[PROJECT_LABEL]] = "qmail" if title == "popbox/qmail" else "stand-in"
    return found


def _reason(error: BaseException) -> str:
    """What the system said at the bottom of the libraries' errors, which hold one another as arguments and reasons."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    inner = [one for one in (*error.args, getattr(error, "reason", None)) if isinstance(one, BaseException)]
    inner += [one for arg in error.args if isinstance(arg, tuple) for one in arg if isinstance(one, BaseException)]
    found = inner or [one for one in (error.__cause__, error.__context__) if one is not None]
    return _reason(found[0]) if found else (str(error).splitlines() or [type(error).__name__])[0][:120]


def no_qmail(settings: Settings) -> str:
    """Why no image with qmail can be had; empty when one can."""
    base = settings.qmail_base or LOCAL_BASE
    try:
        docker.from_env(timeout=5).images.get(base)
    except ImageNotFound:
        return f"QMAIL_BASE names the image {base}, which is not here" if settings.qmail_base else _no_package()
    return ""


def _no_package() -> str:
    try:
        with urllib.request.urlopen(PACKAGE_KEY, timeout=3):
            return ""
    except (urllib.error.URLError, OSError):
        return f"there is no image {LOCAL_BASE}, and the notqmail package repository does not answer"


def qmail_base(settings: Settings) -> str:
    """The image with qmail that QMAIL_BASE of compose.yaml names; empty for the package."""
    if settings.qmail_base:
        return settings.qmail_base
    with suppress(ImageNotFound):
        docker.from_env(timeout=5).images.get(LOCAL_BASE)
        return LOCAL_BASE
    return ""


def thaw(engine: docker.DockerClient, project: str) -> None:
    """A paused container can neither be stopped nor removed."""
    mine: dict[str, str | list[str] | bool] = {"label": f"{PROJECT_LABEL}={project}", "status": "paused"}
    with suppress(NotFound, APIError):
        for container in engine.containers.list(all=True, filters=mine):
            container.unpause()


def reap(engine: docker.DockerClient, project: str) -> None:
    """Remove by label whatever ``down`` missed: an interrupted ``up`` may have created it meanwhile."""
    mine: dict[str, str | list[str] | bool] = {"label": f"{PROJECT_LABEL}={project}"}
    with suppress(NotFound, APIError):
        for container in engine.containers.list(all=True, filters=mine):
            container.remove(force=True, v=True)
        for volume in engine.volumes.list(filters=mine):
            volume.remove(force=True)
        for network in engine.networks.list(filters=mine):
            network.remove()


def sweep(engine: docker.DockerClient) -> None:
    """Remove images of ours that have no tag and that no container uses, the newest first, for at most SWEEP_S.

    Compose writes the project's name into each image it builds, so that every run un-tags the images of the one before.
    What is in use the engine refuses to remove; what another popbox removed meanwhile is gone. Neither is an error.
    """
    deadline = time.monotonic() + SWEEP_S
    with suppress(APIError, OSError):  # tidying never fails a build
        dangling = engine.api.images(filters={"dangling": True, "label": OUR_LABEL})
        for image in sorted(dangling, key=lambda one: -one["Created"]):
            if time.monotonic() > deadline:
                return
            with suppress(APIError):
                engine.api.remove_image(image["Id"], noprune=True)  # an untagged parent may be somebody else's
