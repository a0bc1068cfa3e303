"""Peers and circumstances that mean no good: rubbish, resets, silence, floods, odd names, dying helpers."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from tests.bench.pop3.fuzz import session
from tests.mailhost.pop3.support import (
    WITHIN_S,
    Box,
    Client,
    Running,
    eventually,
    http,
    memory_kib,
    paused,
    worker_pids,
)

from mailhost.pop3.auth.throttle import FREE_FAILURES, SLOT_S

Serve = Callable[..., Running]


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


@pytest.mark.parametrize("profile", ["rfc1939", "qmail"])
def test_a_thousand_rude_sessions_leave_the_server_well(box: Box, serve: Serve, profile: str) -> None:
    """Noise, half commands, resets and half-closes at every point; afterwards all is counted out and nothing raised."""
    box.put("1.h", b"Subject: x\n\n" + b".line\n" * 40_000)
    server = serve("--profile", profile, "--metrics", "127.0.0.1:0", "--max-per-address", "2000")
    dice = random.Random(4)
    for number in range(1000):
        sock = socket.create_connection(("127.0.0.1", server.ports["pop3"]), WITHIN_S)
        start = b"USER testid\r\nPASS testpw\r\n" if number % 3 else b""
        sock.sendall(start + dice.choice([b"", b"RETR 1\r\n", b"".join(session(dice)), b"\0" * 4000]))
        if dice.random() < 0.3:
            with contextlib.suppress(OSError):  # the server may have hung up already
                sock.shutdown(socket.SHUT_WR)
        (reset if dice.random() < 0.5 else socket.socket.close)(sock)
    assert eventually(lambda: b"connections_open 0\n" in http(server, "/metrics"))
    assert server.client().login().startswith(b"+OK")
    assert "Traceback" not in server.log()
    assert all(json.loads(line)["event"] for line in server.log().splitlines())
    assert [name for name in box.files() if "1.h" in name], "no client said DELE and QUIT"


@pytest.mark.quiet
def test_silence_before_banner_handshake_and_proxy_header_is_ended(box: Box, serve: Serve) -> None:
    pem = box.home / "pem"
    trustme.CA().issue_cert("mx").private_key_and_cert_chain_pem.write_to_path(pem)
    secure = serve("--tls-listen", "127.0.0.1:0", "--cert", str(pem), "--login-time", "1").ports["pop3s"]
    proxied = serve("--proxy-from", "127.0.0.1", "--login-time", "1").ports["pop3"]
    for port, octets in ((secure, b""), (secure, b"\x16\x03\x01\x02"), (proxied, b""), (proxied, b"\r\n\r\n\0\r\nQU")):
        with socket.create_connection(("127.0.0.1", port), WITHIN_S) as sock:
            sock.sendall(octets)
            began = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(100) == b""
            assert time.monotonic() - began < 30, "without the option it is a minute"


def failures(server: Running) -> int:
    """Wrong passwords so far. Once there are enough, the others wait for their turn, and some are sent away."""
    found = re.search(rb"^popbox_pop3_login_failures_total (\d+)$", http(server, "/metrics"), re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.quiet
def test_a_flood_of_wrong_passwords_leaves_other_users_alone(box: Box, serve: Serve) -> None:
    box.passwords({"testid": "DmIMm9e5Hc8ic", "second": "DmIMm9e5Hc8ic"})
    server = serve("--profile", "qmail", "--metrics", "127.0.0.1:0", "--max-per-address", "1000")
    assert server.client().login(b"second") == b"+OK \r\n"
    guessers = [server.client() for _ in range(60)]
    for number, guesser in enumerate(guessers):
        guesser.send(b"USER testid\r\nPASS guess%d\r\n" % number)
    assert eventually(lambda: failures(server) > FREE_FAILURES)
    assert any(second_s(server) < SLOT_S for _ in range(3)), "this address is throttled now, a client known here is not"


def second_s(server: Running) -> float:
    """How long two logins of one who is known here take: on a busy machine not each time as long."""
    began = time.monotonic()
    for _ in range(2):
        assert server.client().login(b"second") == b"+OK \r\n"
    return time.monotonic() - began


def test_lines_of_many_megabytes_cost_no_memory(box: Box, serve: Serve) -> None:
    server = serve()
    client = server.client()
    before = memory_kib(server.process.pid)
    for _ in range(200):
        client.send(b"x" * 100_000)
    client.send(b"\r\nQUIT\r\n")
    assert client.end() == b"-ERR line too long\r\n+OK bye\r\n"
    assert memory_kib(server.process.pid) - before < 2_048


def test_ready_is_not_said_when_no_new_client_would_be_let_in(box: Box, serve: Serve) -> None:
    server = serve("--max-connections", "1", "--metrics", "127.0.0.1:0")
    assert http(server, "/ready").startswith(b"HTTP/1.1 200")
    silent, client = server.client(), server.client()
    assert silent.end().startswith(b"-ERR [SYS/TEMP] ended for a newer connection")
    assert client.login().startswith(b"+OK")
    assert http(server, "/ready").startswith(b"HTTP/1.1 503")
    client.ask(b"QUIT")
    client.end()
    assert eventually(lambda: http(server, "/ready").startswith(b"HTTP/1.1 200"))


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.needs("root")  # only root has the helper
def test_when_the_helper_that_reads_passwords_is_gone_it_ends_to_be_started_again(
    box: Box, serve: Serve, workers: str
) -> None:
    server = serve("--workers", workers)
    client = server.client()
    assert client.login().startswith(b"+OK")
    assert eventually(lambda: workers == "1" or len(worker_pids(server)) == 2)
    (helper,) = children(server) - worker_pids(server)
    os.kill(helper, signal.SIGKILL)
    assert eventually(lambda: "the root helper has gone" in server.log())
    assert client.ask(b"STAT").startswith(b"+OK"), "a running session ends in its own time"
    client.ask(b"QUIT")
    assert server.process.wait(WITHIN_S) == 111
    assert serve("--workers", workers).client().login().startswith(b"+OK")


def children(server: Running) -> set[int]:
    """The processes it started."""
    return {int(x) for x in Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()}


def both(server: Running) -> list[int]:
    """Its two workers, once their threads run; the first has the metrics port."""
    assert eventually(lambda: len(worker_pids(server)) == 2)
    return sorted(worker_pids(server))


def test_the_cap_of_an_address_holds_over_workers(box: Box, serve: Serve) -> None:
    server = serve("--workers", "2", "--max-per-address", "10", "--metrics", "127.0.0.1:0")
    one, other = both(server)
    with paused(other):
        held = [server.client() for _ in range(6)]
    with paused(one):
        held += [server.client() for _ in range(6)]
    assert [client.banner.startswith(b"+OK") for client in held] == [True] * 10 + [False] * 2
    for pid in (one, other):
        os.kill(pid, signal.SIGKILL)
    for client in held:
        client.close()
    assert eventually(lambda: gauge(server) == 0)
    again = [server.client() for _ in range(12)]
    assert sum(client.banner.startswith(b"+OK") for client in again) == 10, "what the dead had open is given back"


def test_guesses_at_one_worker_are_throttled_at_the_other(box: Box, serve: Serve) -> None:
    server = serve("--workers", "2", "--metrics", "127.0.0.1:0")
    one, other = both(server)
    with paused(other):
        guessers = [server.client() for _ in range(60)]
        for number, guesser in enumerate(guessers):
            guesser.send(b"USER testid\r\nPASS guess%d\r\n" % number)
            if number == 20:
                assert eventually(lambda: failures(server) > FREE_FAILURES)
        refused = b"-ERR [SYS/TEMP]"
        assert guessers[-1].line().startswith(b"+OK")
        assert guessers[-1].line().startswith(refused), "the queue of this address is full"
    with paused(one):  # a place becomes free every SLOT_S: on a busy machine one of these may get it
        more = [server.client() for _ in range(8)]
        for client in more:
            assert client.ask(b"USER nobody").startswith(b"+OK")
            client.send(b"PASS x\r\n")
        assert eventually(lambda: any(answer.startswith(refused) for answer in come(more))), "and so it is here"


def come(clients: list[Client]) -> list[bytes]:
    """The lines that are there now."""
    return [client.line() for client in clients if select.select([client.sock], [], [], 0)[0]]


def test_the_connections_of_a_worker_that_died_are_not_counted_for_ever(box: Box, serve: Serve) -> None:
    server = serve("--workers", "2", "--metrics", "127.0.0.1:0")
    held = [server.client() for _ in range(10)]
    assert gauge(server) == 10
    for pid in worker_pids(server):
        os.kill(pid, signal.SIGKILL)
    for client in held:
        client.close()
    assert eventually(lambda: gauge(server) == 0)
    assert server.log().count("worker died") == 2


def gauge(server: Running) -> int:
    """Connections open, as the metrics say; -1 while nothing answers."""
    try:
        page = http(server, "/metrics").decode()
    except OSError:
        return -1
    return next((int(x.split()[1]) for x in page.splitlines() if x.startswith("popbox_pop3_connections_open ")), -1)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_hup_and_term_right_after_the_start_are_heeded(box: Box, serve: Serve, workers: str) -> None:
    server = serve("--workers", workers)
    server.process.send_signal(signal.SIGHUP)
    assert server.client().login().startswith(b"+OK")
    assert eventually(lambda: server.log().count('"reloaded"') == int(workers))
    assert "worker died" not in server.log()
    assert serve("--workers", workers).stop() == 0


@pytest.mark.parametrize("name", ["möx", 'a"b', "two words", "<x>"])
def test_a_banner_name_that_would_break_banner_or_log_is_refused(box: Box, name: str) -> None:
    def start(*more: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "mailhost",
            "--home",
            str(box.home),
            "serve",
            "pop3",
            "--listen",
            "127.0.0.1:0",
        ]
        return subprocess.run([*command, *more], capture_output=True, text=True, timeout=WITHIN_S, check=False)

    given = start("--hostname", name)
    assert given.returncode == 2
    assert "--hostname" in given.stderr
    (box.home / "control" / "me").write_text(f"{name}\n")
    read = start()
    assert read.returncode == 2
    assert "control/me: line 1" in " ".join(read.stderr.split())


@pytest.mark.needs("IPv6")
def test_all_ipv4_and_all_ipv6_addresses_on_one_port(box: Box, serve: Serve) -> None:
    port = 20_000 + os.getpid() % 12_000  # below those that the kernel gives to others (ip_local_port_range)
    serve("--listen", f"0.0.0.0:{port}", "--listen", f"[::]:{port}", "--profile", "qmail")
    for address in ("127.0.0.1", "::1"):
        client = Client(0, sock=socket.create_connection((address, port), WITHIN_S))
        assert client.login() == b"+OK \r\n"
        client.ask(b"QUIT")
