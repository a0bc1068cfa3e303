"""This host's addresses: for address literals (Q-ADDR-7), and to find itself among the servers of a domain."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

_SIOCGIFADDR = 0x8915


def addresses() -> frozenset[str]:
    """The IPv4 addresses of all interfaces that are up, in dotted form."""
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


def v6_addresses(table: Path = Path("/proc/net/if_inet6")) -> frozenset[str]:
    """The IPv6 addresses of all interfaces; none where the kernel has no IPv6."""
    try:
        lines = table.read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(str(ipaddress.ip_address(bytes.fromhex(line.split()[0]))) for line in lines)
