"""PROXY headers of both versions: whole, in pieces, with more behind, and what is none (proxy-protocol.txt)."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.system.proxy_protocol import (
    MOST_OCTETS,
    NEVER_BEGAN,
    SIGNATURE,
    V1_OCTETS,
    Client,
    Header,
    ProxyError,
    Trusted,
    normal,
    parse,
)

FOUR = Client("192.0.2.7", 56324, "198.51.100.1", 110)
SIX = Client("2001:db8::1", 4321, "2001:db8::2", 25)


def v2(command: int, family: int, block: bytes = b"", tlvs: bytes = b"") -> bytes:
    return SIGNATURE + bytes([command, family]) + len(block + tlvs).to_bytes(2, "big") + block + tlvs


def ends(client: Client, family: int = socket.AF_INET) -> bytes:
    addresses = b"".join(socket.inet_pton(family, ip) for ip in (client.ip, client.local_ip))
    return addresses + client.port.to_bytes(2, "big") + client.local_port.to_bytes(2, "big")


MAPPED = ends(Client("::ffff:192.0.2.7", 56324, "::ffff:198.51.100.1", 110), socket.AF_INET6)
TLVS = b"\x04\0\x03abc" + b"\x20\0\x05\x01\0\0\0\0"
LONGEST = b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2 + [b"65535"] * 2) + b"\r\n"
GOOD = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 110\r\n": FOUR,
    b"PROXY TCP6 2001:db8::1 2001:db8::2 4321 25\r\n": SIX,
    b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 56324 110\r\n": FOUR,
    b"PROXY TCP4 1.1.1.1 2.2.2.2 0 1\r\n": Client("1.1.1.1", 0, "2.2.2.2", 1),
    LONGEST: Client("ffff:" * 7 + "ffff", 65535, "ffff:" * 7 + "ffff", 65535),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n": None,
    b"PROXY UNKNOWN " + b"x" * (V1_OCTETS - 16) + b"\r\n": None,
    v2(0x21, 0x11, ends(FOUR)): FOUR,
    v2(0x21, 0x21, ends(SIX, socket.AF_INET6)): SIX,
    v2(0x21, 0x21, MAPPED): FOUR,
    v2(0x21, 0x11, ends(FOUR), TLVS): FOUR,
    v2(0x21, 0x21, MAPPED, b"\x04" + (900).to_bytes(2, "big") + bytes(900)): FOUR,
    v2(0x20, 0x00): None,
    v2(0x20, 0x11, ends(FOUR), TLVS): None,  # LOCAL: addresses are to be left alone
    v2(0x21, 0x00): None,
    v2(0x21, 0x00, b"", TLVS): None,
    v2(0x21, 0x31, b"/run/x".ljust(108, b"\0") * 2): None,
    v2(0x21, 0x12, ends(FOUR)): None,
}
BAD = [
    b"",
    b"USER x\r\n",
    b"\x16\x03\x01\x02\x00",
    b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
    b"PROXY TCP4 192.0.2.300 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 2\r\n",
    b"PROXY TCP4 ::1 ::2 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY TCP6 2001:db8::1%eth0 ::2 1 2\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY UNKNOWNX\r\n",
    b"PROXY UNKNOWN \xff\r\r\n",
    b"PROXY " + b"x" * V1_OCTETS,
    b"PROXY UNKNOWN " + b"x" * (V1_OCTETS - 15) + b"\r\n",
    SIGNATURE + b"\x11\x11\0\0",
    SIGNATURE + b"\x31\x11\0\0",
    v2(0x22, 0x11, ends(FOUR)),
    v2(0x21, 0x41, ends(FOUR)),
    v2(0x21, 0x13, ends(FOUR)),
    v2(0x21, 0x11, ends(FOUR)[:-1]),
    v2(0x21, 0x11),
    v2(0x21, 0x21, ends(FOUR)),
    SIGNATURE + b"\x21\x11" + MOST_OCTETS.to_bytes(2, "big"),
    SIGNATURE + b"\x21\x11\xff\xff",
    SIGNATURE[:5] + b"x",
]


@pytest.mark.parametrize("header", GOOD)
def test_a_header_whole_cut_anywhere_and_with_more_behind(header: bytes) -> None:
    assert parse(header) == (GOOD[header], len(header))
    assert parse(header + b"QUIT\r\n") == (GOOD[header], len(header))
    assert all(parse(header[:end]) is None for end in range(1, len(header)))


@pytest.mark.parametrize("data", BAD)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(ProxyError):
        parse(data)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda b: b"PROXY " + b + b"\r\n")))
def test_garbage_is_an_error_or_wants_more(data: bytes) -> None:
    try:
        found = parse(data)
    except ProxyError:
        return
    assert found is None or found.octets <= len(data)


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("header", GOOD)
def test_a_header_is_taken_from_a_socket_and_nothing_behind_it(header: bytes, piece: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reader, data, found = Header(), header + b"\x16\x03 a handshake", None
        for start in range(0, len(data), piece):
            theirs.sendall(data[start : start + piece])
            found = found or reader.read(ours.fileno())
        assert found == (GOOD[header], len(header))
        assert os.read(ours.fileno(), 100) == b"\x16\x03 a handshake"


@pytest.mark.parametrize(
    ("said", "why"), [(b"", NEVER_BEGAN), (b"PROXY TC", "the connection ended in the PROXY header")]
)
def test_an_end_says_how_far_it_came(said: bytes, why: str) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(said)
        theirs.close()
        with pytest.raises(ProxyError, match=f"^{why}$"):
            Header().read(ours.fileno())


def test_trusted_networks() -> None:
    trusted = Trusted(("10.0.0.0/8", "2001:db8::1, 172.16.0.0/12 192.0.2.9"))
    for peer in ("10.1.2.3", "2001:db8::1", "172.31.0.1", "192.0.2.9", "::ffff:10.1.2.3"):
        assert peer in trusted
    for peer in ("192.0.2.1", "2001:db8::2", "::ffff:192.0.2.1", "fe80::1%eth0"):
        assert peer not in trusted
    assert "10.1.2.3" not in Trusted(())
    assert not Trusted((" ",))
    for wrong in ("10.0.0.1/8", "mx.example.net", "10.0.0.0/33"):
        with pytest.raises(ValueError, match=r"does not|has host bits"):
            Trusted((wrong,))


@pytest.mark.parametrize(("ip", "shown"), [("::ffff:192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("::ffff:1", "::ffff:1")])
def test_mapped_addresses_have_one_name(ip: str, shown: str) -> None:
    assert normal(ip) == shown
