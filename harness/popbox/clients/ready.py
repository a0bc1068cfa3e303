"""Waiting for a descriptor. ``select`` cannot: it refuses numbers above 1023, which a server with many clients has."""

from __future__ import annotations

import select


def comes(fd: int, within_s: float) -> bool:
    """Whether there are octets to read from ``fd``, or its end, within so many seconds (poll(2))."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, within_s) * 1e3))
