"""This host's IPv4 addresses, for address literals (Q-ADDR-7)."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGIFADDR = 0x8915


def addresses() -> frozenset[str]:
    """The addresses of all interfaces that are up, in dotted form."""

    found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue
            found.add(socket.inet_ntoa(answer[20:24]))
    return frozenset(found)
