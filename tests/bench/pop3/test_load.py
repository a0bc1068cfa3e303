"""The load generator must notice wrong replies: peers that are broken on purpose."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.needs import program

SOURCE = Path(__file__).parent / "load.c"
BODY = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = program("C compiler")
    path = tmp_path_factory.mktemp("load") / "load"
    subprocess.run([compiler, "-O1", "-o", str(path), str(SOURCE)], check=True)
    return str(path)


REPLIES = {
    b"USER": b"+OK\r\n",
    b"PASS": b"+OK\r\n",
    b"STAT": b"+OK 1 20\r\n",
    b"RETR": b"+OK\r\n" + BODY + b".\r\n",
    b"QUIT": b"+OK\r\n",
}


@pytest.fixture
def peer() -> Iterator[tuple[socket.socket, dict[bytes, bytes]]]:
    """A server that says what ``replies`` holds."""
    replies = dict(REPLIES)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, sock.makefile("rb") as lines:
                sock.sendall(b"+OK\r\n")
                for line in lines:
                    sock.sendall(replies[line[:4]])
                    if line.startswith(b"QUIT"):
                        break

    threading.Thread(target=serve, daemon=True).start()
    yield listener, replies
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def run(load: str, listener: socket.socket) -> subprocess.CompletedProcess[str]:
    port = listener.getsockname()[1]
    command = [load, str(port), "1", "2", "1", "fetch", "1", str(len(BODY))]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_right_replies_pass(load: str, peer: tuple[socket.socket, dict[bytes, bytes]]) -> None:
    assert run(load, peer[0]).returncode == 0
    peer[1][b"RETR"] = b"+OK\r\n" + BODY + b"\r\n.\r\n"
    assert run(load, peer[0]).returncode == 0, "qmail's empty line is no error"


@pytest.mark.parametrize(
    ("verb", "reply", "word"),
    [
        (b"PASS", b"-ERR no\r\n", "refused"),
        (b"STAT", b"+OK 2 20\r\n", "STAT"),
        (b"RETR", b"+OK\r\n" + BODY[:-3] + b"\r\n.\r\n", "octets"),
        (b"RETR", b"-ERR gone\r\n", "refused"),
        (b"USER", b"+OK\r\n+OK\r\n", "more than was asked for"),
    ],
)
def test_wrong_replies_are_noticed(
    load: str, peer: tuple[socket.socket, dict[bytes, bytes]], verb: bytes, reply: bytes, word: str
) -> None:
    peer[1][verb] = reply
    done = run(load, peer[0])
    assert done.returncode == 1
    assert word in done.stderr
