"""PROXY protocol, version 2: who the client behind a trusted load balancer is (haproxy's proxy-protocol.txt, §2.2)."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER_OCTETS = 16
MOST_OCTETS = 1024
"""Longest header taken, TLVs included; balancers send under 300."""


class ProxyError(ValueError):
    """Not a version 2 header."""


class Header:
    """The header as far as it has come.

    It is taken from the socket piece by piece. Left there until it is whole, it would wake the loop without end.
    """

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = b""

    def read(self, fd: int) -> tuple[str | None] | None:
        """Take what is there and not an octet more than the header has, for a TLS handshake may follow: what ``parse``
        says of the client; None while octets are missing.

        Raises:
            ProxyError: this is no PROXY v2 header, or the connection has ended.
            OSError: the connection was reset.
        """
        try:
            while True:
                data = os.read(fd, self._missing())
                if not data:
                    raise ProxyError("the connection has ended")
                self._data += data
                found = parse(self._data)
                if found is not None:
                    return (found[0],)
        except (BlockingIOError, InterruptedError):
            return None

    def _missing(self) -> int:
        """How many octets may be read next: the fixed part says how long the other is."""
        data = self._data
        if len(data) < HEADER_OCTETS:
            return HEADER_OCTETS - len(data)
        return HEADER_OCTETS + int.from_bytes(data[HEADER_OCTETS - 2 : HEADER_OCTETS], "big") - len(data)


def parse(data: bytes) -> tuple[str | None, int] | None:
    """(client address or None where the balancer speaks for itself, header length); None while octets are missing.

    Raises:
        ProxyError: this is no PROXY v2 header.
    """
    if not data or not data.startswith(SIGNATURE[: len(data)]):
        raise ProxyError("no PROXY v2 signature")
    if len(data) < HEADER_OCTETS:
        return None
    command, family, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
    if command not in (0x20, 0x21) or length > MOST_OCTETS - HEADER_OCTETS:
        raise ProxyError("unknown version or command, or too long")
    end = HEADER_OCTETS + length
    if len(data) < end:
        return None
    return (_address(family, data[HEADER_OCTETS:end]) if command == 0x21 else None), end


def _address(family: int, block: bytes) -> str | None:
    """The source address of a TCP connection; other families (UNIX, unspecified) carry none we could use."""
    if family == 0x11 and len(block) >= 12:
        return socket.inet_ntop(socket.AF_INET, block[:4])
    if family == 0x21 and len(block) >= 36:
        return socket.inet_ntop(socket.AF_INET6, block[:16])
    return None


class Trusted:
    """The networks whose PROXY headers are believed."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        """Each an address or ``ADDRESS/BITS``.

        Raises:
            ValueError: one is neither.
        """
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    def __contains__(self, peer: str) -> bool:
        return bool(self._networks) and any(ipaddress.ip_address(peer) in network for network in self._networks)
