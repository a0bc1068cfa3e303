"""The short cuts of a common session do what the long ways do."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from tests.mailhost.pop3.support import WITHIN_S, Box, Running, eventually, full

from mailhost.pop3.protocol.events import Authenticate, Event
from mailhost.pop3.protocol.listing import Listing, Message
from mailhost.pop3.protocol.profiles import PROFILES
from mailhost.pop3.protocol.session import Session
from mailhost.pop3.protocol.state import Features
from mailhost.pop3.server.connection import READ_OCTETS
from mailhost.pop3.server.event_loop import Loop

LISTING = Listing((Message(b"cur/1", b"1", 10, 0, 10, 0, 1), Message(b"new/2", b"2", 20, 0, 20, 0, 2)))
COMMANDS = b"USER a\r\n|PASS x\n|STAT\n|NOOP\r|\n|\r\n|AUTH PLAIN\r\n|*\r\n|RETR 1\nDELE 1\n|QUIT\r\n|x|LIST 2\n|CAPA\n"
LONG = [b"y" * octets + end for octets in (510, 511, 512, 513) for end in (b"", b"\n", b"\r\n")]
PIECES = st.sampled_from([*COMMANDS.split(b"|"), *LONG])


def events(session: Session, first: Event | None) -> list[Event]:
    """An event and all that follow it; each login is a good one."""
    found, event = [], first
    while event is not None:
        found.append(event)
        event = session.opened(LISTING) if isinstance(event, Authenticate) else session.next_event()
    return found


@given(st.sampled_from(sorted(PROFILES)), st.lists(PIECES, max_size=12))
def test_take_is_receive_and_next_event(name: str, pieces: list[bytes]) -> None:
    one, two = (Session(PROFILES[name], Features(), b"<1@x>") for _ in range(2))
    for piece in pieces:
        two.receive(piece)
        assert events(one, one.take(piece)) == events(two, two.next_event())
        assert (one.state, one.needs_data()) == (two.state, two.needs_data())


def test_the_bye_and_the_end_come_in_one_packet(box: Box, serve: Callable[..., Running]) -> None:
    """As soon as the reply to QUIT can be read, so can the end behind it."""
    server = serve()
    for _ in range(20):
        client = server.client()
        client.send(b"QUIT\r\n")
        assert select.select([client.sock], [], [], WITHIN_S)[0]
        assert client.sock.recv(100) == b"+OK bye\r\n"
        client.sock.setblocking(False)
        assert client.sock.recv(1) == b""
        client.close()


def test_the_bye_comes_also_when_more_was_sent_behind_quit(box: Box, serve: Callable[..., Running]) -> None:
    """A close with unread input resets the connection, and takes with it what has not been sent."""
    server = serve()
    for _ in range(20):
        client = server.client()
        client.send(b"QUIT\r\n" + b"NOOP\r\n" * READ_OCTETS)
        assert client.line() == b"+OK bye\r\n"
        client.close()


def test_a_bye_behind_much_that_the_client_has_not_read_yet(box: Box, serve: Callable[..., Running]) -> None:
    box.put("1", b"x" * 78 + b"\n", folder="cur")
    big = box.put("2", (b"x" * 78 + b"\n") * 100_000, folder="cur")
    client = serve().client()
    client.login()
    client.send(b"RETR 2\r\nRETR 1\r\nQUIT\r\n")
    assert full(client)
    told = client.end()
    assert told.endswith(b"x\r\n.\r\n+OK bye\r\n")
    assert len(told) > big.stat().st_size


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("name", ["pop3", "pop3s"])
def test_a_peer_that_resets_at_once_costs_no_descriptor(box: Box, serve: Callable[..., Running], name: str) -> None:
    pem = box.home / "server.pem"
    trustme.CA().issue_cert("mx.example.net").private_key_and_cert_chain_pem.write_to_path(pem)
    server = serve("--tls-listen", "127.0.0.1:0", "--cert", str(pem))

    def descriptors() -> int:
        return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))

    once = server.client()
    once.login()  # without root it is this process that keeps the password file open from now on
    once.ask(b"QUIT")
    once.end()
    before = descriptors()
    for _ in range(200):
        sock = socket.create_connection(("127.0.0.1", server.ports[name]))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    client = server.client()
    assert client.login().startswith(b"+OK")
    client.ask(b"QUIT")
    assert eventually(lambda: descriptors() <= before), (descriptors(), before)  # `once` may not have been closed yet
    assert "Traceback" not in server.log()


def test_what_threads_post_is_done_at_once_and_in_their_order() -> None:
    loop, seen = Loop(), list[int]()

    def post(first: int) -> None:
        for number in range(first, first + 2_000):
            loop.post(lambda number=number: seen.append(number))  # type: ignore[misc]
            if number % 50 == 0:
                time.sleep(0.0005)  # the loop waits in this time

    threads = [threading.Thread(target=post, args=(start,)) for start in (0, 10_000)]
    overlooked: list[bool] = []

    def too_late() -> None:
        overlooked.append(True)
        loop.stop()

    loop.later(WITHIN_S, too_late)

    def finish() -> None:
        for thread in threads:
            thread.join()
        loop.post(loop.stop)

    for thread in (*threads, threading.Thread(target=finish)):
        thread.start()
    loop.run()
    loop.close()
    assert not overlooked
    assert [n for n in seen if n < 10_000] == list(range(2_000))
    assert [n for n in seen if n >= 10_000] == list(range(10_000, 12_000))
