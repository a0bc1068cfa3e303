"""Which client addresses count as one, for limits and throttling."""

from __future__ import annotations

import socket


def network(peer: str) -> str:
    """One client: an IPv4 address, or the /64 from which an IPv6 customer chooses freely (RFC 6177 §2)."""
    return peer if ":" not in peer else _prefix(peer, 8)


def block(peer: str) -> str:
    """One site: an IPv4 address, or the /48 of an IPv6 site, which may have 65,536 /64s (RFC 6177 §2)."""
    return peer if ":" not in peer else _prefix(peer, 6)


def _prefix(peer: str, octets: int) -> str:
    address = socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])
    return f"{socket.inet_ntop(socket.AF_INET6, address[:octets] + bytes(16 - octets))}/{8 * octets}"
