"""Taking a host away: only containers, networks and volumes whose label says that they are that very host's.

Never by the project's name: a name may be another's by accident, or by what a shell has exported.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from docker.errors import APIError

import docker
from popbox.hosts.docker.api import Refused
from popbox.hosts.docker.endpoint import Filters, containers
from popbox.hosts.docker.engine import PROJECT_LABEL, RUN_LABEL

SETTLE_S = 1.0  # our choice: how long the engine may still be making what a `docker compose up` cut short has asked for
STUCK_S = 5.0  # our choice: what is still there after this time is in use by another program
PAUSE_S = 0.05


def remove(engine: docker.DockerClient, run: str, *, cut_short: bool = False) -> list[str]:
    """Remove what carries the label of the run; returns the names of what cannot be removed.

    ``cut_short``: its start did not end in order, so that more may appear for a moment.
    """
    settled_at = time.monotonic() + (SETTLE_S if cut_short else 0)
    stuck_at, before = time.monotonic() + STUCK_S, list[str]()
    while True:
        left = of_run(engine, run)
        for one in left:
            _remove(one)
        names = [str(one.name) for one in left]
        if names != before:
            stuck_at, before = time.monotonic() + STUCK_S, names
        if time.monotonic() > (stuck_at if left else settled_at):
            return names
        time.sleep(PAUSE_S)


def of_run(engine: docker.DockerClient, run: str) -> list[Any]:
    """Containers, networks and volumes that carry the label of the run."""
    return list(_objects(engine, RUN_LABEL, run))


def strangers(engine: docker.DockerClient, project: str, run: str) -> list[str]:
    """Containers, networks and volumes of a compose project that are not that run's, by name."""
    found = _objects(engine, PROJECT_LABEL, project)
    return [str(one.name) for one in found if _labels(one).get(RUN_LABEL) != run]


def _objects(engine: docker.DockerClient, label: str, value: str) -> Iterator[Any]:
    """In the order in which they can be removed."""
    mine: Filters = {"label": f"{label}={value}"}
    yield from containers(engine, mine)
    yield from engine.networks.list(filters=mine)
    yield from engine.volumes.list(filters=mine)


def _labels(one: Any) -> dict[str, str]:
    attrs = one.attrs
    return (attrs.get("Config") or {}).get("Labels") or attrs.get("Labels") or {}


def _remove(one: Any) -> None:
    """What another process removed is gone; what is in use for a moment more is left to the next round."""
    with suppress(APIError, Refused):
        if hasattr(one, "unpause"):  # a paused container cannot be removed by every engine
            with suppress(APIError, Refused):
                if one.status == "paused":
                    one.unpause()
            one.remove(force=True, v=True)
        else:
            one.remove()
