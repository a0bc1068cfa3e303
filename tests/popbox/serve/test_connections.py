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
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import wait

import pytest
from fastapi import FastAPI, Request, Response

from popbox.clients.wire import Address
from popbox.serve.connections import Connection
from popbox.serve.server import bind, server

GET = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = re.compile(rb"(?s).*?content-length: (\d+)\r\n.*?\r\n\r\n")
POST = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


class Quick(Connection):
    """The limits, in a test's time."""

    head_s, body_s, stall_s = 1.5, 1.5, 1.5


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
        await asyncio.sleep(2)
        return "slow"

    @api.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    return api


class Few(Connection):
    """The limits of number, for a test."""

    most, most_refused = 3, 2
    head_s = 60.0


@contextmanager
def serving(kind: type[Connection]) -> Iterator[int]:
    running = server(_api(), lambda: None)
    running.config.http = kind
    with bind(Address("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            running.should_exit = True
            thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(Quick) as port:
        yield port


def opened(port: int, said: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
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


def test_fifty_silent_clients_are_cut_and_nobody_waits_for_them(port: int) -> None:
    began = time.monotonic()
    silent = [opened(port, b"GET /ok HTTP/1.1\r\nHo" if one % 2 else b"") for one in range(50)]
    with closing(opened(port)) as other:
        assert b"200 OK" in answered(other, GET)
    assert [rest(client) for client in silent] == [b""] * 50
    assert 1.4 < time.monotonic() - began < 20
    for client in silent:
        client.close()


def test_a_header_octet_by_octet_has_no_more_time(port: int) -> None:
    with closing(opened(port, GET[:-2])) as client:
        began = time.monotonic()
        while not wait([client], 0.1):
            client.sendall(b"a")
            assert time.monotonic() - began < 60
        assert rest(client) == b""
        assert time.monotonic() - began > 1.4


def test_a_body_that_does_not_come_is_not_awaited(port: int) -> None:
    with closing(opened(port, POST + b"half")) as client:
        began = time.monotonic()
        rest(client)
        assert 1.4 < time.monotonic() - began < 20
    with closing(opened(port)) as client:
        assert b"200 OK" in answered(client, POST + b"0123456789")


def test_one_octet_after_an_answer_does_not_keep_the_connection(port: int) -> None:
    with closing(opened(port)) as client:
        assert b"200 OK" in answered(client, GET)
        client.sendall(b"G")
        assert rest(client) == b""


def test_a_pipelined_request_with_half_a_body_is_cut(port: int) -> None:
    with closing(opened(port, GET + POST + b"half")) as client:
        assert rest(client).count(b"200 OK") == 1


def test_a_slow_answer_and_the_next_requests_have_their_time(port: int) -> None:
    with closing(opened(port)) as client:
        assert b"slow" in answered(client, GET.replace(b"/ok", b"/slow"))
        for _ in range(3):
            assert b"200 OK" in answered(client, GET)


def test_who_reads_nothing_is_cut_and_who_reads_slowly_is_not(port: int) -> None:
    with closing(opened(port, GET.replace(b"/ok", b"/big"))) as never, closing(opened(port)) as slow:
        slow.sendall(GET.replace(b"/ok", b"/big").replace(b"Host", b"Connection: close\r\nHost"))
        got = 0
        while part := slow.recv(1_000_000):
            got += len(part)
            if got < 8_000_000:
                time.sleep(0.3)
        assert got > 30_000_000
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
    with serving(Few) as port, ExitStack() as stack:
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
    with serving(Connection) as port, socket.create_connection(("127.0.0.1", port), 60) as peer:
        peer.sendall(b"POST /ok HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        said = b"".join(iter(lambda: peer.recv(4_096), b""))
    assert (said.count(b"HTTP/1.1 "), said[:12]) == (1, b"HTTP/1.1 400")
    assert not [one for one in caplog.records if one.exc_info]
