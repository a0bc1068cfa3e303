"""Several workers and their helper in mid-load: who dies takes only its own sessions with it, and leaves no counts."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.pop3.support import WITHIN_S, Box, Client, Running, eventually, http, paused, refused, worker_pids

from mailhost.pop3.auth import root_helper
from mailhost.pop3.auth.passdb import Files
from mailhost.pop3.auth.shared_tables import Shared
from mailhost.pop3.auth.throttle import Throttle
from mailhost.pop3.options import Limits
from mailhost.pop3.server import supervisor

Serve = Callable[..., Running]
MANY = 150
TEXT = b"Subject: x\n\n" + b"a line of the message\n" * 3_000
WIRE = TEXT.replace(b"\n", b"\r\n") + b"\r\n.\r\n"


def worker_of(client: Client) -> int:
    """The process that serves it, as the qmail banner ``<pid serial.time@host>`` tells."""
    return int(client.banner[5:].partition(b".")[0][:-6])


def open_sessions(box: Box, server: Running) -> list[Client]:
    """Many sessions, half of them at each worker, logged in, each with a message on its way that it has not read."""
    box.put("1.h", TEXT)
    clients: list[Client] = []
    for other in worker_pids(server):
        with paused(other):
            clients += [server.client() for _ in range(MANY // 2)]
    for client in clients:
        assert client.login() == b"+OK \r\n"
        client.send(b"RETR 1\r\n")
    assert len({worker_of(client) for client in clients}) == 2
    return clients


def finish(client: Client) -> None:
    """Read the message whole, and go."""
    assert client.line() == b"+OK \r\n"
    received = b""
    while len(received) < len(WIRE):
        received += client.line()
    assert received == WIRE
    assert client.ask(b"QUIT") == b"+OK \r\n"
    assert client.end() == b""


def start(serve: Serve) -> Running:
    server = serve(
        *("--workers", "2", "--profile", "qmail", "--metrics", "127.0.0.1:0", "--max-per-address", str(MANY + 10))
    )
    assert eventually(lambda: len(worker_pids(server)) == 2)
    return server


def page(server: Running) -> bytes:
    try:
        return http(server, "/metrics")
    except OSError:  # its worker is the one that died
        return b""


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGTERM])
def test_hup_and_term_under_load_lose_no_session(box: Box, serve: Serve, signum: signal.Signals) -> None:
    server = start(serve)
    clients, waiting = open_sessions(box, server), server.client()
    server.process.send_signal(signum)
    if signum == signal.SIGTERM:
        assert waiting.end() == b"-ERR server stopping\r\n", "it has not logged in"
        assert eventually(lambda: refused(server))
    else:
        assert eventually(lambda: server.log().count('"reloaded"') == 2)
        assert waiting.login() == b"+OK \r\n"
        assert waiting.ask(b"QUIT") == b"+OK \r\n"
    for client in clients:
        finish(client)
    if signum == signal.SIGTERM:
        assert server.process.wait(WITHIN_S) == 0
    assert "worker died" not in server.log()


def test_a_worker_killed_under_load_takes_only_its_own_and_its_counts_are_given_back(box: Box, serve: Serve) -> None:
    server = start(serve)
    clients = open_sessions(box, server)
    victim = worker_of(clients[0])
    os.kill(victim, signal.SIGKILL)
    lost = [client for client in clients if worker_of(client) == victim]
    left = [client for client in clients if worker_of(client) != victim]
    for client in lost:
        client.close()
    assert eventually(lambda: victim not in worker_pids(server) and len(worker_pids(server)) == 2)
    assert eventually(lambda: b"connections_open %d\n" % len(left) in page(server))
    fresh = [server.client() for _ in range(len(lost) + 20)]
    taken = [client for client in fresh if client.banner.startswith(b"+OK")]
    assert len(taken) == len(lost) + 10, "the cap of this address, no more and no less"
    for client in fresh:
        client.close()
    for client in left:
        finish(client)
    assert eventually(lambda: b"connections_open 0\n" in page(server))
    assert server.stop() == 0


@pytest.mark.needs("root")  # only root has the helper
def test_the_helper_killed_under_load_ends_no_session(box: Box, serve: Serve) -> None:
    server = start(serve)
    clients = open_sessions(box, server)
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    (helper,) = {int(pid) for pid in children} - worker_pids(server)
    os.kill(helper, signal.SIGKILL)
    assert eventually(lambda: refused(server))
    for client in clients:
        finish(client)
    assert server.process.wait(WITHIN_S) == 111


def test_workers_whose_parent_was_killed_drain_and_free_the_port(box: Box, serve: Serve) -> None:
    """They could no longer look up logins, and a server started again would find its port taken for ever."""
    server = start(serve)
    pids, client = worker_pids(server), server.client()
    assert client.login() == b"+OK \r\n"
    server.process.kill()
    server.process.wait()
    assert eventually(lambda: refused(server))
    assert client.ask(b"STAT") == b"+OK 0 0\r\n"
    assert client.ask(b"QUIT") == b"+OK \r\n"
    assert eventually(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_worker_that_cannot_be_replaced_now_is_replaced_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No process can be made (pids.max, memory): that must not end the parent, and with it the others."""
    monkeypatch.setattr(supervisor, "RESTART_S", 0.01)
    tries: list[int] = []

    def fork(worker: int, _start: Callable[[int], None]) -> int:
        tries.append(worker)
        if len(tries) in (2, 3):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        pid = os.fork()
        if pid == 0:
            if len(tries) > 1:
                os.kill(os.getppid(), signal.SIGTERM)
            os._exit(0)
        return pid

    monkeypatch.setattr(supervisor, "_fork", fork)
    stopped, dead = threading.Event(), list[int]()
    parent = os.fork()
    if parent == 0:  # who supervises has signals blocked for good, and reaps whatever ends
        try:
            code = supervisor.supervise(1, lambda _: None, lambda: None, dead.append, stopped.set)
            (tmp_path / "told").write_text(repr((code, tries, dead, stopped.is_set())))
        finally:
            os._exit(0)
    os.waitpid(parent, 0)
    assert (tmp_path / "told").read_text() == repr((0, [0] * 4, [0], True))


def test_a_signal_that_interrupts_nothing_is_heeded(box: Box, serve: Serve) -> None:
    """To a thread that does not wait for events: as if it had come just before the other began to wait for them."""
    server = serve("--workers", "1")
    pid = server.process.pid
    others = {int(name) for name in os.listdir(f"/proc/{pid}/task")} - {pid}
    ctypes.CDLL(None).tgkill(pid, min(others), signal.SIGHUP)
    assert eventually(lambda: '"reloaded"' in server.log())


def test_a_parent_that_inherits_ignored_sigchld_replaces_a_worker(box: Box) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        server = Running(box.home, "--workers", "2")
    finally:
        signal.signal(signal.SIGCHLD, before)
    try:
        assert eventually(lambda: len(worker_pids(server)) == 2)
        pids = worker_pids(server)
        os.kill(min(pids), signal.SIGKILL)
        assert eventually(lambda: "worker died" in server.log())
        assert eventually(lambda: len(worker_pids(server)) == 2 and min(pids) not in worker_pids(server))
    finally:
        assert server.stop() == 0


def test_an_answer_to_a_dead_worker_is_not_taken_for_one_to_its_successor(tmp_path: Path) -> None:
    """Both ask for the same login; between them the password has been changed."""

    def password(stored: str) -> None:
        fresh = tmp_path / "poppasswd.new"
        fresh.write_text(f"joe:{stored}:popuser:/box/joe\n")
        fresh.rename(tmp_path / "poppasswd")

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=root_helper.serve, args=([theirs], Files(tmp_path)))
    thread.start()
    password("old")
    with pytest.MonkeyPatch.context() as patch:  # killed while it waits
        patch.setattr(root_helper.HelperClient, "_exchange", lambda _, question: ours.send(question) and b"")
        root_helper.HelperClient(ours).row(b"joe")
    assert select.select([ours], [], [], 15)[0], "the answer lies there"
    password("new")
    row = root_helper.HelperClient(ours).row(b"joe")
    assert row is not None
    assert row.crypt == b"new"
    ours.close()
    thread.join(WITHIN_S)


class Dying:
    """Numbers of which one is written last: then the process is killed."""

    def __init__(self, numbers: memoryview) -> None:
        self._numbers = numbers

    def __getitem__(self, at: int) -> int:
        return int(self._numbers[at])

    def __setitem__(self, at: int, value: int) -> None:
        self._numbers[at] = value
        raise KilledError


class KilledError(Exception):
    """SIGKILL."""


@pytest.mark.parametrize("last", ["totals", "cells"])
@pytest.mark.parametrize("step", ["admit", "leave"])
def test_killed_between_two_counts_nothing_is_counted_for_ever(
    monkeypatch: pytest.MonkeyPatch, last: str, step: str
) -> None:
    shared = Shared(2, places=16)
    throttle = Throttle(Limits(), shared=shared)
    if step == "leave":
        assert throttle.admit("192.0.2.1", 0) is None
    with monkeypatch.context() as patch:
        patch.setattr(shared, last, Dying(getattr(shared, last)))
        with pytest.raises(KilledError):
            throttle.admit("192.0.2.1", 0) if step == "admit" else throttle.leave("192.0.2.1")
    shared.give_back(0)
    assert shared.address("192.0.2.1") == 0
    assert list(shared.totals) == list(shared.waiting) == [0, 0]
