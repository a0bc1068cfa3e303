"""Breaking a mail host on purpose, by the names that scenarios and the API have for it, and mending it."""

from __future__ import annotations

import re
from collections.abc import Callable

from popbox.errors import HostError
from popbox.hosts.base import SERVICES, Host
from popbox.hosts.readiness import greets, wait_until

# fault -> what does it to the host, and what undoes it; stop and kill are undone by a start
SWITCHES: dict[str, Callable[[Host, str, bool], None]] = {
    "pause": lambda host, service, on: host.pause(service, on),  # type: ignore[arg-type]
    "partition": lambda host, service, on: host.cut(service, on),  # type: ignore[arg-type]
    "fill": lambda host, disk, on: host.fill(disk, on),  # type: ignore[arg-type]
    "read-only": lambda host, disk, on: host.read_only(disk, on),  # type: ignore[arg-type]
}


def place(host: Host) -> str:
    """A text that no other host has, the same for each popbox on this machine: its directory, or its container."""
    return re.sub(r"^\S*/", "", host.by_hand())  # without where popbox itself lies


def ill(host: Host, target: str) -> list[str]:
    """What the host sees that is wrong with a service or a disk.

    Raises:
        HostError: the host does not answer.
    """
    return [line for line in host.ailments() if line.startswith(f"{target}: ")]


def harm(host: Host, kind: str, target: str) -> None:
    """Break a service (``smtp``, ``pop3``) or a disk (``queue``, ``popboxes``).

    Raises:
        HostError: it could not be done, or a service runs on. Part of it may be done: ``mend`` undoes that.
    """
    if kind in SWITCHES:
        SWITCHES[kind](host, target, True)
        return
    service = next(one for one in SERVICES if one == target)
    (host.kill if kind == "kill" else host.stop)(service)
    if not host.alive(service):
        raise HostError(f"{service} still runs on {host.describe()}")


def mend(host: Host, kind: str, target: str, deadline: float) -> str:
    """Undo that, also where nothing or only a part was done, until a monotonic ``deadline``.

    Returns why a service does not answer yet; empty where it does, and for a disk.

    Raises:
        HostError: it could not be undone.
    """
    service = next((one for one in SERVICES if one == target), None)
    if kind in SWITCHES:
        try:
            SWITCHES[kind](host, target, False)
        except (HostError, OSError):
            # It was not done, or is undone. A disk shows that only while nothing keeps the host from looking at it.
            if ill(host, target) if service else host.ailments():
                raise
    elif service and host.alive(service):
        host.restart(service, deadline)
    if service is None or wait_until(lambda: not greets(host, service), deadline):
        return ""
    return greets(host, service)
