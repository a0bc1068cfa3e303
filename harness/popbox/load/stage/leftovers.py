"""What a host still holds after the last fetch: unfinished deliveries, messages in the queue, and its logs."""

from __future__ import annotations

import shlex
from contextlib import suppress

from popbox.errors import PopboxError
from popbox.hosts.base import SERVICES, Ability, Host
from popbox.load.stage.mta_queue import depth


def leftovers(host: Host) -> dict[str, int]:
    """Their numbers; empty where the host cannot be looked at."""
    found = {}
    for service in () if host.cannot(Ability.LOG) else SERVICES:
        with suppress(PopboxError):
            found[f"KiB in the log of {service}"] = len(host.log(service)) >> 10
    for name, look in () if host.cannot(Ability.SHELL) else LOOKS.items():
        with suppress(PopboxError, ValueError):
            found[name] = look(host)
    return found


def _unfinished(host: Host) -> int:
    return int(host.shell(f"cd {shlex.quote(host.home())} && find popboxes -path '*/tmp/*' -type f | wc -l").stdout)


LOOKS = {"files in tmp/": _unfinished, "messages in the queue": depth}
