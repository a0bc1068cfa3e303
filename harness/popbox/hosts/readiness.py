"""Waiting until a service answers its protocol; a published port is not readiness."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from popbox.clients.wire import Wire, readable
from popbox.errors import ConnectionFailed, HostError, PopboxError, StepTimeout
from popbox.hosts.base import Host, Service, tail

GREETING: dict[Service, bytes] = {"smtp": b"220 ", "pop3": b"+OK"}
PAUSE_S = 0.25  # our choice: the longest between two looks; on a host of docker each asks the engine


def wait_ready(host: Host, service: Service, deadline: float, longest_s: float = PAUSE_S) -> None:
    """Wait for ``220`` or ``+OK`` until the monotonic ``deadline``. ``longest_s``: the longest between two looks.

    Raises:
        HostError: the service's process has ended, or the deadline has passed; carries the end of the log.
    """
    wait_for(
        lambda: greets(host, service),
        lambda: host.alive(service),
        deadline,
        what=f"{service} on {host.describe()}",
        log=lambda: host.log(service),
        longest_s=longest_s,
    )


def greets(host: Host, service: Service) -> str:
    """Empty when the service greets; otherwise what happened instead."""
    try:
        with Wire(host.address(service), timeout_s=2.0) as wire:
            line = wire.read_line("the greeting")
            wire.send_line(b"QUIT")
            return "" if line.startswith(GREETING[service]) else f"it says {readable(line)!r}"
    except (ConnectionFailed, StepTimeout) as error:
        return str(error)


MACHINE = ("disk-full", "disk-read-only", "sender-frozen", "certificate-late", "certificate-missing")
"""The rules of `mailhost lint` that are about the machine and not about accounts."""


def machine(host: Host) -> tuple[list[str], list[str]]:
    """What `mailhost lint` says of disks, sender and certificate: what is wrong, and what will be.

    Both are empty where the host does not answer: then there is more to say than this. What is mounted here is mounted
    read-only on purpose, which says nothing of the host itself.
    """
    wrong, late = list[str](), list[str]()
    try:
        ran = host.run("lint", "--machine", "--json")
        said = json.loads(ran.stdout)["findings"] if ran.code in (0, 1) else []
        for one in said:
            if one["rule"] in MACHINE and not (host.name == "mounted" and one["rule"] == "disk-read-only"):
                (wrong if one["level"] == "error" else late).append(f"{one['file']}: {one['text']}")
    except (PopboxError, ValueError, KeyError, TypeError):
        pass
    return wrong, late


def wait_for(
    pending: Callable[[], str],
    dead: Callable[[], str],
    deadline: float,
    *,
    what: str,
    log: Callable[[], str],
    longest_s: float = PAUSE_S,
) -> None:
    """Poll until ``pending`` returns an empty string. ``longest_s``: the longest between two looks.

    Raises:
        HostError: ``dead`` returned a reason, or the deadline has passed; carries the end of the log.
    """
    pause_s = 0.01
    while seen := pending():
        if how := dead():
            raise HostError(f"{what}: {how} before it was ready", tail(log()))
        if time.monotonic() >= deadline:
            raise HostError(f"{what}: not ready in time; {seen}", tail(log()))
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, longest_s)


def left(deadline: float) -> float:
    """Seconds until a monotonic deadline; at least 0.1, so that one check is always possible."""
    return max(0.1, deadline - time.monotonic())


def wait_until(reached: Callable[[], bool], deadline: float) -> bool:
    """Poll until ``reached`` holds or the deadline has passed; returns whether it holds."""
    pause_s = 0.02
    while not reached():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, PAUSE_S)
    return True
