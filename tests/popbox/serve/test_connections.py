"""Clients that hold on to a connection: silent, half a request, half a body, one that reads nothing, and too many."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait

import pytest
from fastapi import FastAPI, Request, Response

from popbox.clients.wire import Address
from popbox.serve.connections import BODY_S, HEAD_S, STALL_S, Connection
from popbox.serve.server import bind, server

GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = re.compile(rb"(?s).*?content-length: (\d+)\r\n.*?\r\n\r\n")
POST = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


def _api() -> FastAPI:
    api = FastAPI()

    @api.get("/ok")
    async def ok() -> str:
        return "ok"

    @api.get("/big")
    async def big() -> Response:
        return Response(b"x" * 30_000_000)

    @api.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(2 * HEAD_S)
        return "slow"

    @api.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    return api


class Few(Connection):
    """The limits of number, for a test."""

    most, most_refused = 3, 2
    head_s = 60.0


class Loop(asyncio.SelectorEventLoop):
    """Its clock runs ahead as a test says: what a limit cuts does not depend on how busy the machine is."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


@dataclass(frozen=True)
class Served:
    """A server, and its time."""

    port: int
    loop: Loop

    def later(self, seconds: float) -> None:
        """Let so much time pass for the server, once it has read what came until now."""
        with closing(opened(self.port)) as other:
            assert b"200 OK" in answered(other, GET)
        self.loop.call_soon_threadsafe(setattr, self.loop, "ahead_s", self.loop.ahead_s + seconds)
        with closing(opened(self.port)) as other:
            assert b"200 OK" in answered(other, GET)


@contextmanager
def serving(kind: type[Connection]) -> Iterator[Served]:
    running, loop = server(_api(), lambda: None), Loop()
    running.config.http = kind

    def run(listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(running.serve(sockets=[listener]))

    with bind(Address("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, args=(listener,), daemon=True)
        thread.start()
        try:
            yield Served(listener.getsockname()[1], loop)
        finally:
            running.should_exit = True
            thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Connection) as served:
        yield served


@pytest.fixture
def port(served: Served) -> int:
    return served.port


def opened(port: int, said: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(said)
    return client


def rest(client: socket.socket) -> bytes:
    """All that comes until the server is gone."""
    got = b""
    try:
        while part := client.recv(65_536):
            got += part
    except ConnectionResetError:
        pass
    return got


def answered(client: socket.socket, said: bytes) -> bytes:
    """One answer, whole; the connection stays."""
    client.sendall(said)
    got = b""
    while not (found := ANSWER.match(got)) or len(got) < found.end() + int(found[1]):
        part = client.recv(65_536)
        assert part, got
        got += part
    return got


def test_fifty_silent_clients_are_cut_and_nobody_waits_for_them(served: Served) -> None:
    silent = [opened(served.port, b"GET /ok HTTP/1.1\r\nHo" if one % 2 else b"") for one in range(50)]
    served.later(HEAD_S - 1)
    assert wait(silent, 0) == []
    served.later(2)
    assert [rest(client) for client in silent] == [b""] * 50
    for client in silent:
        client.close()


def test_a_header_octet_by_octet_has_no_more_time(served: Served) -> None:
    with closing(opened(served.port, GET[:-2])) as client:
        for _ in range(3):
            served.later(HEAD_S / 4)
            assert wait([client], 0) == []
            client.sendall(b"a")
        served.later(HEAD_S / 2)
        assert wait([client], 1) == [client], "not by the machine's own clock, half of that later"
        assert rest(client) == b""


def test_a_body_that_does_not_come_is_not_awaited(served: Served) -> None:
    with closing(opened(served.port, POST + b"half")) as client:
        served.later(BODY_S - 1)
        assert wait([client], 0) == []
        served.later(2)
        rest(client)
    with closing(opened(served.port)) as client:
        assert b"200 OK" in answered(client, POST + b"0123456789")


def test_one_octet_after_an_answer_does_not_keep_the_connection(served: Served) -> None:
    with closing(opened(served.port)) as client:
        assert b"200 OK" in answered(client, GET)
        client.sendall(b"G")
        served.later(HEAD_S + 1)
        assert rest(client) == b""


def test_a_pipelined_request_with_half_a_body_is_cut(served: Served) -> None:
    with closing(opened(served.port, GET + POST + b"half")) as client:
        served.later(BODY_S + 1)
        assert rest(client).count(b"200 OK") == 1


def test_a_slow_answer_and_the_next_requests_have_their_time(served: Served) -> None:
    with closing(opened(served.port, GET.replace(b"/ok", b"/slow"))) as client:
        for _ in range(2):
            served.later(HEAD_S + 1)
        assert b"slow" in answered(client, b"")
        for _ in range(3):
            assert b"200 OK" in answered(client, GET)


def test_who_reads_nothing_is_cut_and_who_reads_slowly_is_not(served: Served) -> None:
    big = GET.replace(b"/ok", b"/big").replace(b"Host", b"Connection: close\r\nHost")
    with closing(opened(served.port, big)) as never, closing(opened(served.port, big)) as slow:
        got = 0
        for part in range(1, 5):
            while got < part * 5_000_000:
                piece = slow.recv(1_000_000)
                assert piece, "it was cut"
                got += len(piece)
            served.later(STALL_S / 2)
        assert got + len(rest(slow)) > 30_000_000
        assert len(rest(never)) < 30_000_000, "what the kernel held, and no more"


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /ok HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000,
        b"GET /ok HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 60_000 + b"\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_in_the_one_form(port: int, said: bytes) -> None:
    with closing(opened(port, said)) as client:
        head, _, body = rest(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"] == "this is no request that can be read"


def test_one_too_many_is_told_so_and_many_too_many_are_closed() -> None:
    with serving(Few) as served, ExitStack() as stack:
        port = served.port
        clients = [stack.enter_context(closing(opened(port))) for _ in range(Few.most + Few.most_refused + 2)]
        assert [rest(client) for client in clients[:4:-1]] == [b"", b""], "the last ones, told nothing"
        answers = [rest_of(client, GET) for client in clients[Few.most : 5]]
        assert [head[:13] for head, _, _ in answers] == [b"HTTP/1.1 503 "] * Few.most_refused
        assert json.loads(answers[0][2])["error"] == "too many connections are open"
        assert rest_of(clients[0], GET.replace(b"Host", b"Connection: close\r\nHost"))[0].startswith(b"HTTP/1.1 200 ")
        assert b"200 OK" in answered(stack.enter_context(closing(opened(port))), GET), "there is room again"


def rest_of(client: socket.socket, said: bytes) -> tuple[bytes, bytes, bytes]:
    try:
        client.sendall(said)
    except OSError:
        return b"", b"", b""
    return rest(client).partition(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("soft", "hard", "room", "after"), [(256, 4096, 1200, 1556), (256, 700, 344, 700), (64, 64, 16, 64)]
)
def test_the_limit_of_open_files_is_raised_or_respected(soft: int, hard: int, room: int, after: int) -> None:
    program = "import resource; from popbox.serve.connections import room_for\n"
    program += "print(room_for(1200), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, preexec_fn=limit, timeout=120
    )
    assert done.stdout.split() == [str(room), str(after)]


def test_a_body_that_is_no_http_is_refused_once_and_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """The application may answer at the same moment: it is not asked whether the body can be read."""
    with serving(Connection) as served, closing(opened(served.port)) as peer:
        peer.sendall(b"POST /ok HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        said = b"".join(iter(lambda: peer.recv(4_096), b""))
    assert (said.count(b"HTTP/1.1 "), said[:12]) == (1, b"HTTP/1.1 400")
    assert not [one for one in caplog.records if one.exc_info]
