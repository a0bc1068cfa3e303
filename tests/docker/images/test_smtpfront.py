"""smtpfront before a program that shows its environment, and before real qmail-smtpd; needs no engine."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.popbox import ROOT

FRONT = [sys.executable, "-I", str(ROOT / "images/qmail/smtpfront.py")]
SHOWS = 'echo "220 $TCPREMOTEIP $TCPREMOTEPORT $TCPLOCALIP $TCPLOCALPORT $TCPLOCALHOST $PROTO"; cat'
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 25\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"
    + b"".join(socket.inet_pton(socket.AF_INET6, ip) for ip in ("::ffff:192.0.2.7", "::ffff:198.51.100.1"))
    + b"\x10\xe1\0\x19"
)
WITHIN_S = 60.0
LINES_A_SECOND = 20


class Front:
    """smtpfront as a child."""

    def __init__(self, place: Path, *options: str, program: tuple[str, ...] = ("sh", "-c", SHOWS)) -> None:
        self.log_file = place / "log"
        with self.log_file.open("wb") as log:
            argv = [*FRONT, "--local", "mx.example.net", *options, "127.0.0.1", "0", *program]
            self.child = subprocess.Popen(argv, stderr=log)
        self.port = int(self.wait_log(r"listening on port (\d+)")[1])

    def wait_log(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + WITHIN_S
        while not (found := re.search(pattern, self.log_file.read_text())):
            assert time.monotonic() < deadline, f"no {pattern} in {self.log_file.read_text()}"
            time.sleep(0.01)
        return found

    def connect(self, said: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), WITHIN_S, source_address=(source, 0))
        sock.sendall(said)
        return sock


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Callable[..., Front]]:
    """Start one; it is killed at the end."""
    running: list[Front] = []

    def start(*options: str, program: tuple[str, ...] = ("sh", "-c", SHOWS)) -> Front:
        running.append(Front(tmp_path, *options, program=program))
        return running[-1]

    yield start
    for one in running:
        one.child.kill()
        one.child.wait()


def line(sock: socket.socket) -> str:
    return sock.makefile("rb").readline().decode()


def test_a_session_has_tcpservers_environment(front: Callable[..., Front]) -> None:
    server = front()
    with server.connect() as sock:
        words = line(sock).split()
        assert words == [
            "220",
            "127.0.0.1",
            str(sock.getsockname()[1]),
            *f"127.0.0.1 {server.port} mx.example.net TCP".split(),
        ]
        sock.sendall(b"x\n")
        assert line(sock) == "x\n"


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2, mapped"])
@pytest.mark.parametrize("piece", [1, 9, 1000])
def test_a_balancers_header_names_the_client(front: Callable[..., Front], header: bytes, piece: int) -> None:
    server = front("--proxy-from", "10.0.0.0/8,127.0.0.0/8")
    with server.connect() as sock:
        data = header + b"behind it\n"
        for start in range(0, len(data), piece):
            sock.sendall(data[start : start + piece])
        file = sock.makefile("rb")
        assert file.readline() == b"220 192.0.2.7 4321 198.51.100.1 25 mx.example.net TCP\n"
        assert file.readline() == b"behind it\n"
    server.wait_log(r"pid \d+ from 192\.0\.2\.7 by 127\.0\.0\.1\n")


def test_one_silent_address_leaves_room_for_others(front: Callable[..., Front]) -> None:
    server = front("--sessions", "12", "--per-address", "6")
    with contextlib.ExitStack() as stack:
        mine = [stack.enter_context(server.connect(source="127.0.0.2")) for _ in range(20)]
        said = [line(sock)[:3] for sock in mine]
        assert said == ["220"] * 10 + ["421"] * 10, "six, and four of this machine's own"
        assert line(stack.enter_context(server.connect(source="127.0.0.3"))).startswith("220 127.0.0.3")
        mine[0].close()
        deadline = time.monotonic() + WITHIN_S
        while not line(stack.enter_context(server.connect(source="127.0.0.2"))).startswith("220"):
            assert time.monotonic() < deadline
    server.wait_log(r"127\.0\.0\.2 turned away: 10 sessions are allowed from one address")


def test_limits_are_those_of_the_clients(front: Callable[..., Front]) -> None:
    server = front("--sessions", "6", "--per-address", "2", "--proxy-from", "127.0.0.1")
    with contextlib.ExitStack() as stack:

        def come(number: int) -> str:
            return line(stack.enter_context(server.connect(V1.replace(b"2.7", b"2.%d" % number))))

        assert [come(number)[:3] for number in (1, 1, 1, 2, 2, 2, 3)] == [
            "220",
            "220",
            "421",
            "220",
            "220",
            "421",
            "220",
        ]
        assert come(1) == "421 too many connections from your address, try later (#4.7.0)\r\n"
        assert come(4)[:3] == "220"
        assert come(5) == "421 too many connections, try later (#4.3.2)\r\n"


def test_a_balancer_that_speaks_for_itself(front: Callable[..., Front]) -> None:
    server = front("--per-address", "1", "--proxy-from", "127.0.0.1")
    with contextlib.ExitStack() as stack:
        for said in (b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"PROXY UNKNOWN\r\n"):
            assert line(stack.enter_context(server.connect(said))).startswith("220 127.0.0.1 ")


@pytest.mark.parametrize("said", [b"EHLO x\r\n", b"PROXY TCP4 x\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"])
def test_who_is_named_must_send_one(front: Callable[..., Front], said: bytes) -> None:
    server = front("--proxy-from", "127.0.0.1")
    server.connect().close()  # a check that only opens the port
    with server.connect(said) as sock, contextlib.suppress(ConnectionResetError):
        assert sock.recv(100) == b""
    server.wait_log(r"127\.0\.0\.1 turned away: (no )?PROXY")
    assert server.log_file.read_text().count("turned away") == 1


def test_who_is_not_named_cannot(front: Callable[..., Front]) -> None:
    with front("--proxy-from", "192.0.2.0/24").connect(V1) as sock:
        file = sock.makefile("rb")
        assert file.readline().startswith(b"220 127.0.0.1 ")
        assert file.readline() == V1


def test_a_flood_of_refusals_is_counted_and_not_logged_line_by_line(front: Callable[..., Front]) -> None:
    server = front("--sessions", "1", program=("cat",))
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(server.connect())
        for _ in range(300):
            server.connect().close()
        deadline = time.monotonic() + WITHIN_S
        while not re.search(r"turned away \d+ more", server.log_file.read_text()):
            server.connect().close()  # one in the next second has the count of this one written
            assert time.monotonic() < deadline
    most = LINES_A_SECOND * (time.monotonic() - began + 2)
    assert server.log_file.read_text().count("turned away:") <= most


def test_what_cannot_start_is_said_and_the_next_one_is_tried(front: Callable[..., Front], tmp_path: Path) -> None:
    program = tmp_path / "program"
    server = front(program=(str(program),))
    with server.connect() as sock:
        assert line(sock) == "421 unable to start a session, try later (#4.3.0)\r\n"
    program.write_text("#!/bin/sh\necho 220 here\n")
    program.chmod(0o755)
    with server.connect() as sock:
        assert line(sock) == "220 here\n"


@pytest.mark.parametrize(
    "option", [("--proxy-from", "10.0.0.1/8"), ("--sessions", "0"), ("--sessions", "x"), ("--no",)]
)
def test_misuse(option: tuple[str, ...]) -> None:
    done = subprocess.run([*FRONT, *option, "127.0.0.1", "0", "cat"], capture_output=True, text=True, check=False)
    assert done.returncode == 100, done.stderr


def test_sessions_outlive_it(front: Callable[..., Front]) -> None:
    server = front()
    with server.connect() as sock:
        file = sock.makefile("rb")
        assert file.readline().startswith(b"220")
        server.child.terminate()
        server.child.wait()
        sock.sendall(b"still here\n")
        assert file.readline() == b"still here\n"


def test_who_never_reads_is_cut_off(front: Callable[..., Front]) -> None:
    server = front("--unread", "1", program=("yes",))
    with server.connect():
        server.wait_log(r"end \d+ from 127\.0\.0\.1 status \d+")


def test_no_session_goes_on_uncounted_where_descriptors_are_out(
    front: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 0 to 2, the listener, the selector and the connection: there is none for the descriptor that tells of the end.
    monkeypatch.setattr(f"{__name__}.FRONT", ["sh", "-c", 'ulimit -n 6; exec "$@"', "sh", *FRONT])
    server = front(program=("cat",))
    with server.connect() as sock:
        assert sock.makefile("rb").read() == b"421 unable to start a session, try later (#4.3.0)\r\n"
    assert "Too many open files" in server.log_file.read_text()


@pytest.mark.parametrize("ids", ["-1:-1", "0:-1", "1", "x:1"])
def test_ids_that_would_leave_it_root(ids: str) -> None:
    argv = [*FRONT, f"--ids={ids}", "127.0.0.1", "0", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert (done.returncode, "listening" in done.stderr) == (111, False), done.stderr
