"""Verbs that break the mail host and mend it: break, restart, hup."""

from __future__ import annotations

from typing import Literal

from popbox.hosts.base import Service
from popbox.model import Observation
from popbox.steps import Break
from popbox.verbs.context import Context


def break_(context: Context, spec: Break, _deadline: float) -> Observation:
    """Break the host as told; it fails when there is nothing to break."""
    host = context.host
    if spec.kill:
        host.kill(spec.kill)
        return Observation(passed=bool(host.alive(spec.kill)), said=f"killed {spec.kill}")
    if spec.remove:
        host.remove(spec.remove)
    for path, mode in (spec.chmod or {}).items():
        host.chmod(path, int(mode, 8))
    for path, line in (spec.drop_line or {}).items():
        lines = host.read(path).splitlines(keepends=True)
        left = [one for one in lines if one.rstrip(b"\n") != line.encode()]
        if len(left) == len(lines):
            return Observation(passed=False, said=f"{path} has no line {line!r}")
        host.write(path, b"".join(left))
    changed = spec.remove or ", ".join({**(spec.chmod or {}), **(spec.drop_line or {})})
    return Observation(passed=True, said=f"changed {changed}")


def restart(context: Context, service: Service, deadline: float) -> Observation:
    """Start a service again and wait until it answers."""
    context.host.restart(service, deadline)
    return Observation(passed=True, said=f"{service} answers again at {context.host.address(service)}")


def hup(context: Context, _service: Literal["smtp"], _deadline: float) -> Observation:
    """Have the MTA read control/virtualdomains and control/locals anew (H-3)."""
    context.host.hup()
    return Observation(passed=True, said="sent HUP to the MTA")
