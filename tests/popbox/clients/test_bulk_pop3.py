"""The bulk client against servers that are slow, rude or broken: no wait without end, no memory without bound."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from popbox.clients.bulk_pop3 import BulkPop3, Garbled
from popbox.clients.pop3 import Pop3Refused
from popbox.clients.read_only_proxy import stuffed
from popbox.clients.wire import Address
from popbox.errors import ConnectionFailed, StepTimeout


@contextmanager
def server(script: Callable[[socket.socket], None]) -> Iterator[Address]:
    """One connection, handled by ``script``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    script(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Address(*listener.getsockname())
    thread.join(60)


def says(*replies: bytes, slowly: bool = False) -> Callable[[socket.socket], None]:
    """The greeting, then a reply for each line that comes; ``slowly``: octet by octet."""

    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"+OK hello\r\n")
        for reply in replies:
            connection.recv(4096)
            for piece in [reply[at : at + 1] for at in range(len(reply))] if slowly else [reply]:
                connection.sendall(piece)
        connection.recv(1)

    return script


BODIES = [
    (b".\r\n", b""),
    (b"\r\n.\r\n", b"\r\n"),
    (b"a\r\n..\r\n...b\r\n.\r\n", b"a\r\n.\r\n..b\r\n"),
    (b".lone dot, as Dovecot sends it\r\nb\r\n.\r\n", b".lone dot, as Dovecot sends it\r\nb\r\n"),
    (b"lf\n..x\n.\n", b"lf\n.x\n"),
    (b"a\r\r\n..\r\r\n.\r\n", b"a\r\r\n.\r\r\n"),
]


@pytest.mark.parametrize("slowly", [False, True])
@pytest.mark.parametrize(("sent", "meant"), BODIES)
def test_a_message_whole_and_octet_by_octet(sent: bytes, meant: bytes, slowly: bool) -> None:
    with server(says(b"+OK\r\n" + sent, b"+OK after\r\n", slowly=slowly)) as address, BulkPop3(address) as stream:
        assert b"".join(stream.retrieve(1)) == meant
        assert stream.command("NOOP") == "after"


def test_listings() -> None:
    reply = b"+OK\r\n1 a b\r\n2 \xe9\r\n.\r\n"
    with server(says(reply, b"+OK\r\n.\r\n", b"+OK\r\nword\r\n.\r\n")) as address, BulkPop3(address) as stream:
        assert stream.listing("UIDL") == [(1, "a b"), (2, "é")]
        assert stream.listing("UIDL") == []
        with pytest.raises(Garbled, match="'word' as a line of UIDL"):
            stream.listing("UIDL")


def test_replies_to_commands_sent_ahead() -> None:
    """However they are cut; a refusal among them is that message's alone."""
    replies = b"+OK\r\na\r\n..\r\n.\r\n-ERR gone\r\n+OK\r\n.\r\n+OK\r\n" + b"x" * 300_000 + b"\r\n.\r\n+OK\r\nb\n.\n"
    for size in (1, 7, 1000, len(replies)):
        heard: list[bytes] = []

        def script(connection: socket.socket, size: int = size, heard: list[bytes] = heard) -> None:
            connection.sendall(b"+OK\r\n")
            while sum(map(len, heard)) < 5 * len(b"RETR 1\r\n"):
                heard.append(connection.recv(4096))
            small = [replies[at : at + size] for at in range(0, 40, size)] if size < 40 else []
            for piece in [*small, replies[len(b"".join(small)) :]]:
                connection.sendall(piece)
            connection.recv(1)

        with server(script) as address, BulkPop3(address) as stream:
            got = [r if isinstance(r, Pop3Refused) else b"".join(r) for r in stream.retrieve_all([1, 2, 3, 4, 5], 9)]
        assert b"".join(heard) == b"".join(b"RETR %d\r\n" % n for n in range(1, 6))
        assert [str(reply) if isinstance(reply, Pop3Refused) else reply[:9] for reply in got] == [
            b"a\r\n.\r\n",
            "RETR 2: -ERR gone",
            b"",
            b"x" * 9,
            b"b\n",
        ]


@pytest.mark.parametrize("cut", range(1, 22))
@pytest.mark.parametrize("end", [b"\r\n.\r\n", b"\n.\n"])
def test_a_reply_cut_anywhere(cut: int, end: bytes) -> None:
    reply = b"+OK 9\r\n.\r.\n..x" + end + b"+OK\r\n.\r\n"

    def script(connection: socket.socket) -> None:
        connection.sendall(b"+OK\r\n")
        connection.recv(4096)
        connection.sendall(reply[:cut])
        time.sleep(0.01)  # two packets
        connection.sendall(reply[cut:])
        connection.recv(1)

    with server(script) as address, BulkPop3(address) as stream:
        got = [b"".join(one) for one in stream.retrieve_all([1, 2], 9) if not isinstance(one, Pop3Refused)]
    assert got == [b".\r.\n.x" + end[: -3 if end[0] == 13 else -2], b""]


def test_no_more_commands_ahead_than_allowed() -> None:
    heard: list[bytes] = []

    def script(connection: socket.socket) -> None:
        connection.sendall(b"+OK\r\n")
        for _ in range(3):
            heard.append(connection.recv(4096))
            connection.sendall(b"+OK\r\n.\r\n" * heard[-1].count(b"\n"))
        connection.recv(1)

    with server(script) as address, BulkPop3(address) as stream:
        assert [b"".join(reply) for reply in stream.retrieve_all(range(1, 6), 2) if not isinstance(reply, Pop3Refused)]
    assert heard == [b"RETR 1\r\nRETR 2\r\n", b"RETR 3\r\nRETR 4\r\n", b"RETR 5\r\n"]


def test_the_password_is_in_no_error() -> None:
    replies = (b"+OK\r\n", b"-ERR no: s3cret is wrong\r\n")
    with server(says(*replies)) as address, BulkPop3(address) as stream, pytest.raises(Pop3Refused) as caught:
        stream.login("joe", "s3cret")
    assert "s3cret" not in str(caught.value)
    assert caught.value.reply == "-ERR no: ******** is wrong"


def test_neither_ok_nor_err() -> None:
    with server(says(b"* OK imap\r\n")) as address, BulkPop3(address) as stream, pytest.raises(Garbled):
        stream.command("STAT")


def test_octets_in_the_clear_behind_stls_are_refused() -> None:
    import ssl

    context = ssl.create_default_context()
    with server(says(b"+OK\r\n+OK injected\r\n")) as address, BulkPop3(address) as stream, pytest.raises(Garbled):
        stream.stls(context)


def impatient(stream: BulkPop3) -> None:
    """From now on; the greeting may take its time on a busy machine."""
    stream.timeout_s = 0.3
    stream._let_the_kernel_wait()


def test_a_silent_server() -> None:
    with server(says(b"")) as address, BulkPop3(address) as stream:
        impatient(stream)
        began = time.monotonic()
        with pytest.raises(StepTimeout):
            stream.command("STAT")
        assert time.monotonic() - began < 60, "some fraction of a second, on a busy machine too"


def test_a_server_that_drips() -> None:
    """Each octet comes in time, all of them would take for ever."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"+OK\r\n")
        connection.recv(100)
        with suppress(OSError):
            while True:
                connection.sendall(b"+")
                time.sleep(0.05)

    with server(script) as address, BulkPop3(address) as stream:
        impatient(stream)
        began = time.monotonic()
        with pytest.raises(StepTimeout):
            stream.command("STAT")
        assert time.monotonic() - began < 60, "some fraction of a second, on a busy machine too"


def test_a_closed_connection() -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(b"+OK\r\n")
        connection.recv(100)
        connection.sendall(b"+OK\r\nhalf a mess")

    with server(script) as address, BulkPop3(address) as stream, pytest.raises(ConnectionFailed):
        list(stream.retrieve(1))


def test_a_line_without_end() -> None:
    with server(says(b"+" * 200_000)) as address, BulkPop3(address) as stream, pytest.raises(Garbled):
        stream.command("STAT")


def test_a_message_of_50_mb_takes_no_memory() -> None:
    line = b"." + b"x" * 997 + b"\r\n"

    def script(connection: socket.socket) -> None:
        connection.sendall(b"+OK\r\n")
        connection.recv(100)
        connection.sendall(b"+OK\r\n")
        for _ in range(50):
            connection.sendall((b"." + line) * 1000)
        connection.sendall(b".\r\n")
        connection.recv(1)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with server(script) as address, BulkPop3(address) as stream:
        assert sum(map(len, stream.retrieve(1))) == 50 * 1000 * len(line)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 16_384


@pytest.mark.parametrize("cut", range(8))
def test_dots_are_doubled_again_for_the_oracle(cut: int) -> None:
    text = b".a\n..\n.b"
    assert b"".join(stuffed(iter([text[:cut], text[cut:]]))) == b"..a\n...\n..b"
