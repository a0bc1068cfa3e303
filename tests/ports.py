"""Ports for programs that have to be told one: they take no 0, or do not say what they got."""

from __future__ import annotations

import random
import socket
from pathlib import Path

GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")  # ip(7)
LEAST = 10_000  # our choice: servers of this machine listen below


def free_port() -> int:
    """A port of 127.0.0.1 on which no one listens.

    The kernel gives it to none of the others that bind to 0 or connect, before the program that it is for has it.
    """
    first = int(GIVEN_OUT.read_text().split()[0]) if GIVEN_OUT.exists() else 0
    chance = random.SystemRandom()
    while True:
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", chance.randrange(LEAST, first) if first > 2 * LEAST else 0))
            except OSError:
                continue
            return int(one.getsockname()[1])
