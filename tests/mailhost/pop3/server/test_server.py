"""The server as a program: real sockets, real processes, real files."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from tests.exposition import parsed
from tests.mailhost.pop3.support import (
    TRIES,
    WITHIN_S,
    Box,
    Running,
    eventually,
    http,
    refused,
    session_pids,
)

from mailhost.poppasswd.crypt import make

Serve = Callable[..., Running]


def test_the_howto_session(box: Box, serve: Serve) -> None:
    box.put("1.a.h", b"Subject: one\n\n.dot\nhello\n")
    client = serve("--profile", "qmail").client()
    assert client.banner.endswith(b"@mx.example.net>\r\n")
    assert client.login() == b"+OK \r\n"
    assert client.lines(b"LIST") == b"1 25\r\n.\r\n"
    assert client.lines(b"RETR 1") == b"Subject: one\r\n\r\n..dot\r\nhello\r\n\r\n.\r\n"
    assert client.ask(b"QUIT") == b"+OK \r\n"
    assert client.end() == b""
    assert box.files() == ["cur/1.a.h:2,"]


def test_a_whole_session_in_one_packet_then_half_close(box: Box, serve: Serve) -> None:
    box.put("1.a.h", b"Subject: one\n\nhello\n")
    client = serve().client()
    client.send(b"USER testid\r\nPASS testpw\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.end().split(b"\r\n")[-3:] == [b"+OK message marked deleted", b"+OK bye", b""]
    assert box.files() == []


def test_byte_by_byte(box: Box, serve: Serve) -> None:
    box.put("1.a.h", b"Subject: one\n\nhello\n")
    client = serve().client()
    for octet in b"USER testid\r\nPASS testpw\r\nSTAT\r\nQUIT\r\n":
        client.send(bytes([octet]))
    assert client.end().endswith(b"+OK 1 23\r\n+OK bye\r\n")


@pytest.mark.parametrize("profile", ["rfc1939", "qmail"])
def test_a_lost_connection_changes_nothing(box: Box, serve: Serve, profile: str) -> None:
    box.put("1.a.h", b"x\n")
    server = serve("--profile", profile)
    client = server.client()
    client.login()
    client.ask(b"DELE 1")
    client.send(b"QUIT")
    client.close()
    assert eventually(lambda: "connection lost" in server.log())
    assert box.files() == ["new/1.a.h"]


def test_in_use_in_one_profile_and_two_sessions_in_the_other(box: Box, serve: Serve) -> None:
    box.put("1.a.h", b"x\n")
    server = serve()
    first, second = server.client(), server.client()
    assert first.login().startswith(b"+OK")
    assert second.login().startswith(b"-ERR [IN-USE]")
    first.ask(b"QUIT")
    assert second.login().startswith(b"+OK")
    old = serve("--profile", "qmail")
    one, two = old.client(), old.client()
    assert one.login() == two.login() == b"+OK \r\n"
    one.ask(b"DELE 1")
    two.ask(b"DELE 1")
    assert one.ask(b"QUIT") == b"+OK \r\n"
    assert two.ask(b"QUIT") == b"-ERR unable to unlink all deleted messages\r\n"
    assert two.line() == b"+OK \r\n"


def test_a_message_that_vanished(box: Box, serve: Serve) -> None:
    box.put("1.a.h", b"x\n", age_s=30)
    box.put("2.b.h", b"y\n", age_s=20)
    client = serve().client()
    client.login()
    (box.maildir / "new" / "1.a.h").unlink()
    assert client.ask(b"RETR 1").startswith(b"-ERR")
    assert client.lines(b"RETR 2") == b"y\r\n.\r\n"
    client.ask(b"DELE 1")
    assert client.ask(b"QUIT").startswith(b"-ERR [SYS/TEMP]")


@pytest.mark.quiet
def test_failures_wait_two_seconds_alike_while_others_are_served(box: Box, serve: Serve) -> None:
    def took() -> tuple[float, list[float]]:
        """Until another is served, and until each of the two is answered."""
        begin = time.monotonic()
        clients = [server.client() for _ in range(2)]
        clients[0].send(b"USER testid\r\nPASS wrong\r\n")
        clients[1].send(b"USER nobody\r\nPASS wrong\r\n")
        assert server.client().login().startswith(b"+OK")
        served, answered = time.monotonic() - begin, list[float]()
        for client in clients:
            client.line()
            assert client.line() == b"-ERR [AUTH] login or password is wrong\r\n"
            answered.append(time.monotonic() - begin)
        return served, answered

    for _ in range(TRIES):
        server = serve()
        served, answered = took()
        assert min(answered) >= 2
        if served < 1.5 and max(answered) < 4:
            break
    else:
        pytest.fail(f"another was served after {served} s, they after {answered}")
    log = server.log()
    assert "wrong password" in log
    assert "unknown login" in log
    assert '"wrong"' not in log
    assert "testpw" not in log


def test_a_changed_password_counts_at_the_next_login(box: Box, serve: Serve) -> None:
    server = serve()
    for _ in range(2):
        client = server.client()
        assert client.login().startswith(b"+OK")
        client.ask(b"QUIT")
    box.passwords({"testid": make(b"fresh", "md5"), "other": "!"})
    assert server.client().login(password=b"fresh").startswith(b"+OK")
    assert server.client().login().startswith(b"-ERR [AUTH]")


def test_without_a_password_file_it_is_the_hosts_fault(box: Box, serve: Serve) -> None:
    server = serve("--metrics", "127.0.0.1:0")
    assert http(server, "/ready").startswith(b"HTTP/1.1 200")
    (box.home / "users" / "poppasswd").unlink()
    assert server.client().login().startswith(b"-ERR [SYS/TEMP]")
    assert http(server, "/ready").startswith(b"HTTP/1.1 503")


def test_metrics_and_the_session_line(box: Box, serve: Serve) -> None:
    box.put("1.a.h", b"x\n")
    pem = box.home / "pem"
    end = datetime.datetime(2040, 1, 2, tzinfo=datetime.UTC)
    trustme.CA().issue_cert("mx", not_after=end).private_key_and_cert_chain_pem.write_to_path(pem)
    canary = box.home / "canary"
    options = ("--workers", "2", "--cert", str(pem), "--canary", str(canary))
    server = serve("--metrics", "127.0.0.1:0", *options)
    client = server.client()
    client.login()
    client.lines(b"RETR 1")
    client.ask(b"DELE 1")
    client.ask(b"QUIT")
    client.end()
    assert eventually(lambda: '"session"' in server.log()), "counted when it has ended: the client may see that first"
    assert b"canary" not in http(server, "/metrics"), "it never opened"
    canary.touch()
    os.utime(canary, (1_700_000_000, 1_700_000_000))
    page = http(server, "/metrics").decode()
    found = parsed(page.partition("\r\n\r\n")[2])
    assert found["popbox_pop3_canary_success_timestamp_seconds"] == 1_700_000_000
    assert found['popbox_volume_size_bytes{volume="popboxes"}'] == found["popbox_pop3_disk_size_bytes"]
    for line in ("logins_total 1", "messages_retrieved_total 1", "messages_deleted_total 1", "connections_open 0"):
        assert f"popbox_pop3_{line}\n" in page
    disk = os.statvfs(box.home)
    for line in (
        f"disk_size_bytes {disk.f_blocks * disk.f_frsize}",
        f"certificate_end_timestamp_seconds {int(end.timestamp())}",
    ):
        assert f"popbox_pop3_{line}\n" in page
    assert re.search(r"popbox_pop3_disk_free_bytes [1-9]\d+\n", page)
    line = next(json.loads(line) for line in server.log().splitlines() if '"session"' in line)
    assert (line["login"], line["retrieved"], line["deleted"], line["why"]) == ("testid", 1, 1, "quit")
    assert http(server, "/x").startswith(b"HTTP/1.1 404")


def test_a_health_check_is_not_logged_and_a_refused_login_is(box: Box, serve: Serve) -> None:
    server = serve()
    checking, guessing = server.client(), server.client()
    checking.ask(b"QUIT")
    checking.end()
    guessing.ask(b"USER testid")
    guessing.ask(b"PASS wrong")
    guessing.ask(b"QUIT")
    guessing.end()
    assert eventually(lambda: '"session"' in server.log())
    sessions = [json.loads(line) for line in server.log().splitlines() if '"session"' in line]
    assert [(line["received"], line["why"]) for line in sessions] == [(31, "quit before login")]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_term_lets_sessions_finish_and_refuses_new_ones(box: Box, serve: Serve, workers: str) -> None:
    box.put("1.a.h", b"x\n")
    server = serve("--workers", workers)
    client, waiting = server.client(), server.client()
    client.login()
    assert waiting.ask(b"USER testid") == b"+OK send PASS\r\n"
    server.process.send_signal(signal.SIGTERM)
    assert waiting.end() == b"-ERR [SYS/TEMP] server stopping\r\n"
    assert eventually(lambda: refused(server)), "every worker must have closed its sockets, and the parent its own"
    assert client.lines(b"RETR 1") == b"x\r\n.\r\n"
    assert client.ask(b"QUIT") == b"+OK bye\r\n"
    assert server.process.wait(WITHIN_S) == 0


def test_workers_share_the_port_and_one_that_died_is_replaced(box: Box, serve: Serve) -> None:
    server = serve("--workers", "2")
    pids = set()
    for _ in range(12):
        client = server.client()
        client.login()
        client.ask(b"QUIT")
    assert eventually(lambda: len(session_pids(server)) >= 1)
    pids |= session_pids(server)
    victim = pids.pop()
    os.kill(victim, signal.SIGKILL)
    assert eventually(lambda: "worker died" in server.log())
    assert server.client().login().startswith(b"+OK")
    assert server.stop() == 0


def test_idle_and_slow_logins_are_ended(box: Box, serve: Serve) -> None:
    server = serve("--idle", "1", "--login-time", "60")
    client = server.client()
    client.login()
    assert client.end() == b""
    server = serve("--login-time", "1")
    client = server.client()
    silent = server.client()
    said = b""
    for _ in range(40):
        try:
            said = client.ask(b"NOOP") or said
        except OSError:
            break
        if said.startswith(b"-ERR [SYS"):
            break
        time.sleep(0.1)  # what is said in this time gives no more time
    assert said == silent.end() == b"-ERR [SYS/TEMP] no login in time\r\n"
    assert eventually(lambda: server.log().count("no login in time") == 2)


def test_caps_on_connections(box: Box, serve: Serve) -> None:
    server = serve("--max-per-address", "2")
    first, second = server.client(), server.client()
    assert server.client().banner.startswith(b"-ERR [SYS/TEMP]")
    first.ask(b"QUIT")
    first.end()
    assert server.client().login().startswith(b"+OK")
    second.close()


@pytest.mark.needs("root")  # who has something to give up
def test_as_root_no_octet_is_read_by_root(box: Box, serve: Serve) -> None:
    server = serve("--workers", "2")
    server.client().close()
    assert eventually(lambda: len(session_pids(server)) == 1)
    client = server.client()
    for process in (*session_pids(server), server.process.pid):
        status = Path(f"/proc/{process}/status").read_text()
        ids = [line.split()[1:] for line in status.splitlines() if line.startswith(("Uid", "Gid", "Groups"))]
        assert "0" not in {number for row in ids for number in row}
    assert client.login().startswith(b"+OK")
