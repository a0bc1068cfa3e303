"""Slow readers, deep boxes and many connections: memory stays bounded, and others are served."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable

import pytest
from tests.mailhost.pop3.support import TRIES, Box, Running, eventually, full, http, memory_kib

Serve = Callable[..., Running]


def login_s(server: Running, login: bytes) -> float:
    """How long a whole login takes; it leaves again."""
    begin = time.monotonic()
    client = server.client()
    assert client.login(login).startswith(b"+OK")
    took = time.monotonic() - begin
    client.ask(b"QUIT")
    client.end()
    return took


@pytest.mark.quiet
def test_a_large_message_to_a_slow_reader_costs_little_memory_and_delays_no_other(box: Box, serve: Serve) -> None:
    text = b"Subject: large\n\n" + b".line of text that is sixty-four octets long, dot included....\n" * 800_000
    box.passwords({"testid": "DmIMm9e5Hc8ic", "second": "DmIMm9e5Hc8ic"})
    box.put("1.a.h", text)
    server = serve("--profile", "qmail")
    slow = server.client()
    slow.login()
    before = memory_kib(server.process.pid)
    slow.send(b"RETR 1\r\n")
    assert full(slow)
    assert any(login_s(server, b"second") < 1 for _ in range(TRIES))
    assert memory_kib(server.process.pid) - before < 4_096
    slow.send(b"QUIT\r\n")
    body = text.replace(b"\n", b"\r\n").replace(b"\n.", b"\n..")
    assert slow.end() == b"+OK \r\n" + body + b"\r\n.\r\n+OK \r\n"


def test_a_peer_that_never_reads_stays_bounded(box: Box, serve: Serve) -> None:
    box.put("1.a.h", b"x" * 100_000 + b"\n")
    server = serve()
    client = server.client()
    client.login()
    before = memory_kib(server.process.pid)
    client.sock.settimeout(1)
    sent = 0
    try:
        while sent < 3_000_000:
            sent += client.sock.send(b"RETR 1\r\n" * 1000)
    except TimeoutError:
        pass
    assert memory_kib(server.process.pid) - before < 8_192


@pytest.mark.quiet
def test_a_deep_box_is_opened_in_a_thread_and_others_go_on(box: Box, serve: Serve) -> None:
    for number in range(20_000):
        path = box.maildir / "cur" / f"{number:06}.h:2,"
        path.write_bytes(b"Subject: n\n\nbody\n")
    box.passwords({"testid": "DmIMm9e5Hc8ic", "second": "DmIMm9e5Hc8ic"})
    server = serve("--profile", "rfc1939")
    client, other = server.client(), server.client()
    other.ask(b"USER second")
    answered, done = 0, threading.Event()

    def login() -> None:
        assert client.login().startswith(b"+OK")
        done.set()

    thread = threading.Thread(target=login)
    thread.start()
    while not done.is_set():
        other.ask(b"CAPA")
        other.rest()
        answered += 1
    thread.join()
    assert answered > 10, "a loop that looks itself lets others wait all that time"
    listing = client.lines(b"LIST")
    assert listing.count(b"\r\n") == 20_001
    client.ask(b"QUIT")


def test_a_connection_lost_while_its_box_is_scanned_leaves_no_lock(box: Box, serve: Serve) -> None:
    for number in range(3_000):
        (box.maildir / "cur" / f"{number:06}.h:2,").write_bytes(b"x\n")
    server = serve()
    client = server.client()
    client.send(b"USER testid\r\nPASS testpw\r\n")
    client.line()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert eventually(lambda: server.client().login().startswith(b"+OK"))


@pytest.mark.slow
@pytest.mark.needs("descriptors")
@pytest.mark.quiet
def test_five_thousand_idle_connections_are_held(box: Box, serve: Serve) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held: list[socket.socket] = []
    try:
        server = serve("--max-per-address", "6000", "--profile", "qmail", "--metrics", "127.0.0.1:0")
        before = memory_kib(server.process.pid)
        for _ in range(5_000):
            client = server.client()
            held.append(client.sock)
            assert client.login() == b"+OK \r\n"
        assert client.ask(b"STAT") == b"+OK 0 0\r\n"
        assert b"popbox_pop3_connections_open 5000\n" in http(server, "/metrics")
        assert memory_kib(server.process.pid) - before < 40_000
    finally:
        for sock in held:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
