"""POP3 behind a balancer: PROXY headers on 110 and 995, limits and log lines by the client's own address."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable

import pytest
import trustme
from tests.mailhost.pop3.support import WITHIN_S, Box, Client, Running, eventually

Serve = Callable[..., Running]
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(ip: str) -> bytes:
    family, local = ("TCP6", "2001:db8::110") if ":" in ip else ("TCP4", "198.51.100.1")
    return f"PROXY {family} {ip} {local} 4321 110\r\n".encode()


def v2(ip: str) -> bytes:
    """As a balancer that listens on [::] sends it: IPv4 addresses are mapped."""
    ip = ip if ":" in ip else f"::ffff:{ip}"
    block = socket.inet_pton(socket.AF_INET6, ip) * 2 + bytes(4)
    return SIGNATURE + b"\x21\x21" + len(block).to_bytes(2, "big") + block


def sessions(server: Running) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in server.log().splitlines()]
    return [(line["peer"], line["why"]) for line in lines if line["event"] == "session"]


@pytest.mark.parametrize("header", [v1, v2])
@pytest.mark.parametrize("ip", ["192.0.2.7", "2001:db8::7"])
def test_either_version_names_the_client(box: Box, serve: Serve, header: Callable[[str], bytes], ip: str) -> None:
    server = serve("--proxy-from", "10.0.0.0/8,127.0.0.0/8")
    client = Client(server.ports["pop3"], greet=False)
    client.send(header(ip) + b"USER testid\r\n")
    assert client.line().startswith(b"+OK POP3")
    assert client.line().startswith(b"+OK")
    assert client.ask(b"PASS testpw").startswith(b"+OK")
    client.ask(b"QUIT")
    assert eventually(lambda: sessions(server) == [(ip, "quit")]), server.log()


@pytest.mark.parametrize("header", [v1, v2])
def test_before_the_handshake_of_pop3s(box: Box, serve: Serve, header: Callable[[str], bytes]) -> None:
    pem = box.home / "pem"
    authority = trustme.CA()
    authority.issue_cert("mx").private_key_and_cert_chain_pem.write_to_path(pem)
    server = serve("--tls-listen", "127.0.0.1:0", "--cert", str(pem), "--proxy-from", "127.0.0.1")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    sock = socket.create_connection(("127.0.0.1", server.ports["pop3s"]), WITHIN_S)
    sock.sendall(header("192.0.2.7"))
    client = Client(0, sock=context.wrap_socket(sock, server_hostname="mx"))
    assert client.login().startswith(b"+OK")
    client.ask(b"QUIT")
    assert eventually(lambda: sessions(server) == [("192.0.2.7", "quit")]), server.log()


def test_limits_are_the_clients_and_mapped_ones_are_not_one_network(box: Box, serve: Serve) -> None:
    server = serve("--proxy-from", "127.0.0.1", "--max-per-address", "1")
    clients = []
    for number in range(1, 6):
        clients.append(Client(server.ports["pop3"], greet=False))
        clients[-1].send(v2(f"192.0.2.{number}"))
        assert clients[-1].line().startswith(b"+OK")
    second = Client(server.ports["pop3"], greet=False)
    second.send(v1("192.0.2.3"))
    assert second.line().startswith(b"-ERR [SYS/TEMP]")
    assert second.end() == b""
    assert eventually(lambda: ("192.0.2.3", "too many connections from this address") in sessions(server))


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\0\0\0", SIGNATURE + b"\x21\x00\0\0"])
def test_a_balancer_that_speaks_for_itself(box: Box, serve: Serve, header: bytes) -> None:
    server = serve("--proxy-from", "127.0.0.1", "--max-per-address", "1")
    for _ in range(3):  # its own connections have no limit of an address
        client = Client(server.ports["pop3"], greet=False)
        client.send(header)
        assert client.line().startswith(b"+OK")


def test_who_is_not_named_cannot_send_one_and_who_is_must(box: Box, serve: Serve) -> None:
    client = serve("--proxy-from", "192.0.2.0/24").client()
    assert client.ask(v1("198.51.100.7").strip()).startswith(b"-ERR")
    server = serve("--proxy-from", "127.0.0.0/8")
    for said in (b"USER testid\r\n", b"\x16\x03\x01", b"PROXY TCP4 1.2.3.4\r\n", SIGNATURE + b"\x31\x11\0\0"):
        bare = Client(server.ports["pop3"], greet=False)
        bare.send(said)
        assert bare.end() == b""
    wanted = ["neither version 1 nor 2"] * 2 + ["malformed", "unknown version"]
    assert eventually(lambda: len(sessions(server)) == 4)
    for (peer, why), part in zip(sessions(server), wanted, strict=True):
        assert peer == "127.0.0.1"
        assert part in why


def test_a_check_that_the_port_is_open_leaves_no_line(box: Box, serve: Serve) -> None:
    server = serve("--proxy-from", "127.0.0.1")
    socket.create_connection(("127.0.0.1", server.ports["pop3"])).close()
    last = Client(server.ports["pop3"], greet=False)
    last.send(b"x")
    assert last.end() == b""
    assert eventually(lambda: bool(sessions(server)))
    assert [why for _, why in sessions(server)] == ["no PROXY header, neither version 1 nor 2"]


def proxy_header(source: str) -> bytes:
    body = (
        socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + (4321).to_bytes(2, "big") + (110).to_bytes(2, "big")
    )
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + len(body).to_bytes(2, "big") + body


def test_proxy_header_from_a_trusted_address(box: Box, serve: Serve) -> None:
    server = serve("--proxy-from", "127.0.0.0/8")
    client = Client(server.ports["pop3"], greet=False)
    header = proxy_header("192.0.2.7")
    for part in (header[:5], header[5:20], header[20:] + b"USER testid\r\n"):
        client.send(part)
        time.sleep(0.02)
    assert client.line().startswith(b"+OK POP3")
    assert client.line().startswith(b"+OK")
    client.ask(b"QUIT")
    assert eventually(lambda: '"peer": "192.0.2.7"' in server.log())
    bare = Client(server.ports["pop3"], greet=False)
    bare.send(b"USER testid\r\n")
    assert bare.end() == b""
