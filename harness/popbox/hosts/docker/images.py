"""The images that popbox's hosts run on: built once for each tree, under tags that no deployment uses.

The tag is made from all that the build reads, so the same tree is not built twice. A deployment's
``popbox/...:local`` is neither overwritten nor removed.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from docker.errors import APIError, DockerException, NotFound

import docker
from popbox.errors import HostError
from popbox.hosts.docker.api import Refused

OUR_LABEL = "popbox.images=harness"  # on each image that is built here; the Dockerfiles do not have it
NAME = re.compile(r"popbox/(qmail|standin|pop3):run-[0-9a-f]{12}")
BASE = "debian:bookworm-slim"  # what compose.yaml builds on
UNSENT = ("__pycache__", "README.md")  # images/.dockerignore
SWEEP_S = 10.0  # our choice: a pile of hundreds goes over several builds and holds none of them up
YOUNG_S = 3600.0  # our choice: four times what a build and a start may take together


def tag(engine: docker.DockerClient, assets: Path, qmail_base: str, environ: Mapping[str, str]) -> str:
    """``run-`` and the start of a digest over the build context, its recipe, and what it is built on."""
    digest = hashlib.sha256()
    for path in [assets / "compose.yaml", *_context(assets / "images")]:
        octets = path.read_bytes()
        digest.update(f"{path.relative_to(assets)} {path.stat().st_mode & 0o100} {len(octets)}\n".encode() + octets)
    for image in filter(None, (BASE, qmail_base)):
        with suppress(NotFound):
            image += f" {engine.images.get(image).id}"
        digest.update(f"on {image}\n".encode())
    for name in ("NOTQMAIL_KEY_FINGERPRINT", "DOCKER_DEFAULT_PLATFORM"):
        digest.update(f"{name}={environ.get(name, '')}\n".encode())
    return f"run-{digest.hexdigest()[:12]}"


def _context(images: Path) -> Iterator[Path]:
    for path in sorted(images.rglob("*")):
        if path.is_file() and not set(UNSENT) & set(path.relative_to(images).parts) and path.suffix != ".pyc":
            yield path


def here(engine: docker.DockerClient, names: list[str]) -> bool:
    """Whether all of them are here; each is tagged once more, which tells ``sweep`` that it is in use."""
    try:
        for name in names:
            repository, _, version = name.partition(":")
            engine.images.get(name).tag(repository, version)
    except NotFound:
        return False
    return True


def sweep(engine: docker.DockerClient) -> None:
    """Remove images that popbox built for earlier trees and that no container uses, for at most SWEEP_S.

    These are the images with our label that have no tag, or only tags of ours that no host has started from for an
    hour. The engine refuses to remove an image in use, and another popbox may remove one first: neither is an error.
    """
    deadline = time.monotonic() + SWEEP_S
    with suppress(DockerException, OSError, HostError):  # tidying never fails a start
        found = engine.api.images(filters={"label": OUR_LABEL})
        for image in sorted(found, key=lambda one: -one["Created"]):
            names = [name for name in image["RepoTags"] or [] if name != "<none>:<none>"]
            for name in names or [image["Id"]]:
                if time.monotonic() > deadline:
                    return
                with suppress(APIError, Refused):
                    if not names or (_all_ours(names) and _old(engine, image["Id"])):
                        engine.api.remove_image(name, noprune=True)  # an untagged parent may belong to another image


def _all_ours(names: list[str]) -> bool:
    return all(NAME.fullmatch(name) for name in names)


def _old(engine: docker.DockerClient, image: str) -> bool:
    """By the time when it was last tagged, as the engine's clock has it; a build alone leaves that at the year 1."""
    tagged = datetime.fromisoformat(engine.images.get(image).attrs["Metadata"]["LastTagTime"])
    if tagged.year == 1:
        return False
    return (datetime.fromisoformat(engine.api.info()["SystemTime"]) - tagged).total_seconds() > YOUNG_S
