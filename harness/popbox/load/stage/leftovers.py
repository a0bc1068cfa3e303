"""What a host still holds after the last fetch: unfinished deliveries, and messages in the queue."""

from __future__ import annotations

import shlex

from popbox.errors import PopboxError
from popbox.hosts.base import Ability, Host

LOOKS = {
    "files in tmp/": "find popboxes -path '*/tmp/*' -type f",
    "messages in the queue": "find queue/mess -type f",
}


def leftovers(host: Host) -> dict[str, int]:
    """Their numbers; empty where the host cannot be looked at."""
    if host.cannot(Ability.SHELL):
        return {}
    found = {}
    for name, look in LOOKS.items():
        try:
            ran = host.shell(f"cd {shlex.quote(host.home())} && {look} | wc -l")
            found[name] = int(ran.stdout)
        except (PopboxError, ValueError):
            continue
    return found
