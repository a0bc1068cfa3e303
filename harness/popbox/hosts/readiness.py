"""Waiting until a service answers its protocol; a published port is not readiness."""

from __future__ import annotations

import time
from collections.abc import Callable

from popbox.clients.wire import Wire, readable
from popbox.errors import ConnectionFailed, HostError, StepTimeout
from popbox.hosts.base import Host, Service, tail

GREETING: dict[Service, bytes] = {"smtp": b"220 ", "pop3": b"+OK"}


def wait_ready(host: Host, service: Service, deadline: float) -> None:
    """Wait for ``220`` or ``+OK`` until the monotonic ``deadline``.

    Raises:
        HostError: the service's process has ended, or the deadline has passed; carries the end of the log.
    """
    wait_for(
        lambda: greets(host, service),
        lambda: host.alive(service),
        deadline,
        what=f"{service} on {host.describe()}",
        log=lambda: host.log(service),
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


def wait_for(
    pending: Callable[[], str], dead: Callable[[], str], deadline: float, *, what: str, log: Callable[[], str]
) -> None:
    """Poll until ``pending`` returns an empty string.

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
        pause_s = min(pause_s * 1.5, 0.25)


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
        pause_s = min(pause_s * 1.5, 0.25)
    return True
