"""The stand-in behind a balancer: PROXY headers name the client, for Received, limits and log lines."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest
from tests.mailhost.standin.support import WITHIN_S, Home, Serve, Server, cli, wait_for

V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.7") * 2 + b"\1\2\0\x19"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 25\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), WITHIN_S)


def lines(peer: socket.socket, count: int = 1) -> bytes:
    file = peer.makefile("rb")
    return b"".join(file.readline() for _ in range(count))


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2, mapped"])
@pytest.mark.parametrize("piece", [1, 1000])
def test_the_client_stands_in_received(home: Home, serve: Serve, header: bytes, piece: int) -> None:
    home.box("joe")
    server = serve("--proxy-from", "127.0.0.0/8")
    with connect(server) as peer:
        talk = b"HELO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<joe@d.com>\r\nDATA\r\n"
        data = header + talk
        for start in range(0, len(data), piece):
            peer.sendall(data[start : start + piece])
        assert [line[:3] for line in lines(peer, 5).split(b"\r\n")[:5]] == [b"220", b"250", b"250", b"250", b"354"]
        peer.sendall(b"x\r\n.\r\nQUIT\r\n")
        assert lines(peer, 2).startswith(b"250")
    wait_for(lambda: home.mail(), "delivered")
    assert b"(192.0.2.7)" in home.mail()[0]


def test_limits_and_log_are_the_clients(home: Home, serve: Serve) -> None:
    server = serve("--proxy-from", "127.0.0.1", "--sessions-per-address", "1")
    with contextlib.ExitStack() as stack:
        for number in (7, 8):
            peer = stack.enter_context(connect(server))
            peer.sendall(V1.replace(b"2.7", b"2.%d" % number))
            assert lines(peer).startswith(b"220")
        peer = stack.enter_context(connect(server))
        peer.sendall(V2)
        assert lines(peer).startswith(b"421 too many connections from your address")
        for _ in range(3):
            peer = stack.enter_context(connect(server))
            peer.sendall(LOCAL)
            assert lines(peer).startswith(b"220"), "the balancer itself has no limit of an address"
    server.wait_log(r"warning: smtp 192\.0\.2\.7: 421 ")


@pytest.mark.parametrize("said", [b"EHLO x\r\n", b"PROXY TCP4 x\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"])
def test_who_is_named_must_send_one(home: Home, serve: Serve, said: bytes) -> None:
    server = serve("--proxy-from", "127.0.0.1")
    with connect(server) as peer, contextlib.suppress(ConnectionResetError):
        peer.sendall(said)
        assert peer.recv(100) == b""
    server.wait_log(r"warning: smtp 127\.0\.0\.1: (no )?PROXY")


def test_who_is_not_named_cannot(home: Home, serve: Serve) -> None:
    server = serve("--proxy-from", "192.0.2.0/24")
    with connect(server) as peer:
        peer.sendall(V1)
        assert [line[:1] for line in lines(peer, 2).splitlines()] == [b"2", b"5"]


def test_a_network_that_is_none(home: Home) -> None:
    done = cli(home, "serve", "standin", "--listen", "127.0.0.1:0", "--proxy-from", "10.0.0.1/8")
    assert done.returncode == 2
    assert "--proxy-from: 10.0.0.1/8 has host bits set" in done.stderr


def test_so_many_may_wait_for_a_header_and_the_next_is_turned_away(home: Home, serve: Serve) -> None:
    server = serve("--proxy-from", "127.0.0.1")
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(server)) for _ in range(256)]
        with connect(server) as peer:
            assert peer.recv(100) == b"", "nothing is said to whoever should have sent a header"
        server.wait_log(r"warning: smtp 127\.0\.0\.1: too many connections wait for their PROXY header")
        waiting[0].sendall(V1)
        assert lines(waiting[0]).startswith(b"220"), "those that wait are served"
        waiting[1].close()

        def comes() -> bool:
            with connect(server) as peer, contextlib.suppress(OSError):
                peer.sendall(V1)
                return lines(peer).startswith(b"220")
            return False

        wait_for(comes, "a place is free again")


def test_a_client_that_is_gone_before_it_is_looked_at_leaves_nothing(home: Home, serve: Serve) -> None:
    server = serve()
    for _ in range(200):
        peer = connect(server)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    with connect(server) as peer:
        assert lines(peer).startswith(b"220")
    assert "internal trouble" not in server.log, server.log
