"""What a host still holds after the last fetch: unfinished deliveries, messages in the queue, and its logs."""

from __future__ import annotations

import shlex
from contextlib import suppress

from popbox.errors import PopboxError
from popbox.hosts.base import SERVICES, Ability, Host

LOOKS = {
    "files in tmp/": "find popboxes -path '*/tmp/*' -type f",
    "messages in the queue": "find queue/mess -type f",
}


def leftovers(host: Host) -> dict[str, int]:
    """Their numbers; empty where the host cannot be looked at."""
    found = {}
    for service in () if host.cannot(Ability.LOG) else SERVICES:
        with suppress(PopboxError):
            found[f"KiB in the log of {service}"] = len(host.log(service)) >> 10
    for name, look in () if host.cannot(Ability.SHELL) else LOOKS.items():
        try:
            ran = host.shell(f"cd {shlex.quote(host.home())} && {look} | wc -l")
            found[name] = int(ran.stdout)
        except (PopboxError, ValueError):
            continue
    return found
