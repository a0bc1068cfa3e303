"""The limits of sessions: altogether and from one address."""

from __future__ import annotations

import contextlib
import socket

from tests.mailhost.standin.support import WITHIN_S, Home, Serve, Server, wait_for

from mailhost.standin.smtp.connection import LINGERING


def connect(server: Server, source: str = "127.0.0.1") -> socket.socket:
    """A session from one of loopback's addresses; the greeting is not read."""
    return socket.create_connection(("127.0.0.1", server.port), WITHIN_S, source_address=(source, 0))


def greeting(peer: socket.socket) -> bytes:
    return peer.makefile("rb").readline()


def test_one_address_is_told_and_another_gets_in(home: Home, serve: Serve) -> None:
    server = serve("--sessions-per-address", "2")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            assert greeting(stack.enter_context(connect(server))).startswith(b"220 ")
        third = stack.enter_context(connect(server))
        assert greeting(third) == b"421 too many connections from your address, try later (#4.7.0)\r\n"
        assert third.recv(100) == b""
        assert greeting(stack.enter_context(connect(server, "127.0.0.2"))).startswith(b"220 ")
    server.wait_log(
        r"warning: smtp 127\.0\.0\.1: 421 too_many_connections_from_your_address,_try_later_\(#4\.7\.0\): "
        "2 are allowed from one address"
    )
    wait_for(lambda: server.talk(b"QUIT\r\n").startswith(b"220 "), "room again")


def test_who_is_turned_away_takes_nobody_elses_place(home: Home, serve: Serve) -> None:
    """Refused connections linger to read the reply; more of them than sessions are allowed keep no client out."""
    server = serve("--sessions", "3", "--sessions-per-address", "1")
    with contextlib.ExitStack() as stack:
        assert greeting(stack.enter_context(connect(server))).startswith(b"220 ")
        for _ in range(LINGERING):
            assert greeting(stack.enter_context(connect(server))).startswith(b"421 ")
        assert greeting(stack.enter_context(connect(server, "127.0.0.2"))).startswith(b"220 ")
        assert greeting(stack.enter_context(connect(server, "127.0.0.3"))).startswith(b"220 ")
        assert greeting(stack.enter_context(connect(server, "127.0.0.4"))) == (
            b"421 too many connections, try later (#4.3.2)\r\n"
        )
