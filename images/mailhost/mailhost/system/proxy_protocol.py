"""PROXY protocol, versions 1 and 2: who the client behind a trusted balancer is (haproxy's proxy-protocol.txt).

For connections of stream sockets. Nothing is read but the header: behind it SMTP, POP3 or a TLS handshake begins.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from typing import NamedTuple

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER_OCTETS = 16
"""The fixed part of a version 2 header."""

MOST_OCTETS = 1024
"""Longest version 2 header taken, TLVs included; balancers send under 300."""

V1 = b"PROXY "
V1_OCTETS = 107
"""Longest version 1 header, its CR LF included (§2.1)."""

HEADER_S = 10.0
"""How long a header may take (§2 asks for at least 3 s: one lost packet)."""

NEVER_BEGAN = "the connection ended before the PROXY header"
"""What a balancer's check does that only wants to know whether the port is open."""

_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9.]{7,15}|[0-9A-Fa-f:.]{2,45}) (\S{2,45}) (\d{1,5}) (\d{1,5})\r\n")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN( [^\r\n]*)?\r\n")
_IPV4, _IPV6 = 0x11, 0x21  # over TCP


class ProxyError(ValueError):
    """No header that can be understood; the text is for a log and holds nothing that the peer sent."""


class Client(NamedTuple):
    """The two ends of the connection that the balancer took."""

    ip: str
    port: int
    local_ip: str
    local_port: int


class Found(NamedTuple):
    """A whole header; ``octets`` is its length.

    ``client`` is None where the balancer speaks for itself (LOCAL, a health check) or does not know the client
    (UNKNOWN, a UNIX socket): then the connection is the balancer's own.
    """

    client: Client | None
    octets: int


class Header:
    """The header as far as it has come.

    It is taken from the socket piece by piece. Left there until it is whole, it would wake a loop without end.
    """

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = b""

    def read(self, fd: int) -> Found | None:
        """Take what is there and not an octet more than the header has; None while octets are missing.

        Raises:
            ProxyError: this is no PROXY header, or the connection has ended.
            OSError: the connection was reset.
        """
        try:
            while True:
                data = os.read(fd, self._missing())
                if not data:
                    raise ProxyError("the connection ended in the PROXY header" if self.data else NEVER_BEGAN)
                self.data += data
                found = parse(self.data)
                if found is not None:
                    return found
        except (BlockingIOError, InterruptedError):
            return None

    def _missing(self) -> int:
        """How many octets may be read next.

        The fixed part of version 2 tells the length of the rest. The end of a version 1 line is known only once it
        was read; the shortest such line is longer than the signature.
        """
        data = self.data
        if len(data) < len(SIGNATURE):
            return len(SIGNATURE) - len(data)
        if data.startswith(V1):
            return 1
        if len(data) < HEADER_OCTETS:
            return HEADER_OCTETS - len(data)
        return HEADER_OCTETS + int.from_bytes(data[HEADER_OCTETS - 2 : HEADER_OCTETS], "big") - len(data)


def parse(data: bytes) -> Found | None:
    """The header at the beginning of ``data``; None while octets are missing.

    Raises:
        ProxyError: it begins with no valid header.
    """
    if data and data.startswith(V1[: len(data)]):
        return _parse_v1(data)
    if not data or not data.startswith(SIGNATURE[: len(data)]):
        raise ProxyError("no PROXY header, neither version 1 nor 2")
    if len(data) < HEADER_OCTETS:
        return None
    command, family, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
    if command >> 4 != 2 or command & 15 > 1:
        raise ProxyError("PROXY v2 header of an unknown version or command")
    if length > MOST_OCTETS - HEADER_OCTETS:
        raise ProxyError(f"PROXY v2 header longer than {MOST_OCTETS} octets")
    end = HEADER_OCTETS + length
    if len(data) < end:
        return None
    return Found(_addresses(family, data[HEADER_OCTETS:end]) if command & 1 else None, end)


def _parse_v1(data: bytes) -> Found | None:
    """A line of version 1 (§2.1)."""
    end = data.find(b"\n", 0, V1_OCTETS) + 1
    if not end:
        if len(data) >= V1_OCTETS:
            raise ProxyError(f"PROXY v1 line longer than {V1_OCTETS} octets")
        return None
    line = data[:end]
    if _V1_UNKNOWN.fullmatch(line):
        return Found(None, end)
    match = _V1.fullmatch(line)
    if match is None:
        raise ProxyError("PROXY v1 line that is malformed")
    family = socket.AF_INET if match[1] == b"TCP4" else socket.AF_INET6
    try:
        ends = [_shown(family, socket.inet_pton(family, text.decode("ascii"))) for text in (match[2], match[3])]
    except (OSError, ValueError):
        raise ProxyError("PROXY v1 line with an invalid address") from None
    ports = [int(text) for text in (match[4], match[5])]
    if max(ports) > 65_535 or any(len(text) > 1 and text.startswith(b"0") for text in (match[4], match[5])):
        raise ProxyError("PROXY v1 line with an invalid port")
    return Found(Client(ends[0], ports[0], ends[1], ports[1]), end)


def _addresses(family: int, block: bytes) -> Client | None:
    """The ends of a TCP connection; others (UNIX, datagrams, unspecified) have none that we could use.

    Raises:
        ProxyError: the family is not in the specification, or the block is too short for it.
    """
    if family >> 4 > 3 or family & 15 > 2:
        raise ProxyError("PROXY v2 header of an unknown address family or protocol")
    if family not in (_IPV4, _IPV6):
        return None
    kind, octets = (socket.AF_INET, 4) if family == _IPV4 else (socket.AF_INET6, 16)
    if len(block) < 2 * octets + 4:
        raise ProxyError("PROXY v2 header too short for its addresses")
    port, local_port = struct.unpack_from("!HH", block, 2 * octets)
    return Client(_shown(kind, block[:octets]), port, _shown(kind, block[octets : 2 * octets]), local_port)


def _shown(family: int, octets: bytes) -> str:
    return normal(socket.inet_ntop(family, octets))


def normal(ip: str) -> str:
    """An IPv4-mapped IPv6 address (``::ffff:192.0.2.1``, RFC 4291 §2.5.5.2) as IPv4: limits and logs know one name."""
    return ip[7:] if ip.startswith("::ffff:") and "." in ip else ip


class Trusted:
    """The networks whose PROXY headers are trusted. A peer in one must send a header; no other peer can."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        """Each an address or ``ADDRESS/BITS``, or several with commas or spaces between.

        Raises:
            ValueError: one is neither.
        """
        words = [word for text in networks for word in re.split(r"[,\s]+", text) if word]
        self._networks = tuple(ipaddress.ip_network(word) for word in words)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, peer: str) -> bool:
        if not self._networks:
            return False
        address = ipaddress.ip_address(normal(peer.partition("%")[0]))
        return any(address in network for network in self._networks)
