"""Too few descriptors: who is served goes on, who comes is told so, nothing spins or leaks, and it passes."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from tests.mailhost.pop3.support import WITHIN_S, Box, Client, Running, eventually, http, owner

from mailhost.pop3.auth.passdb import Passdb
from mailhost.pop3.maildrop.errors import MaildropError
from mailhost.pop3.maildrop.open_maildrops import OpenMaildrops
from mailhost.pop3.protocol.profiles import RFC1939
from mailhost.pop3.server import http_status
from mailhost.pop3.server.daemon import watch_certificate
from mailhost.pop3.server.event_loop import Loop
from mailhost.pop3.server.fd_limits import RESERVE, room

pytestmark = pytest.mark.usefixtures("seen")
Serve = Callable[..., Running]
TEMPORARY = b"-ERR [SYS/TEMP] this maildrop cannot be opened now\r\n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\7\x7f\0\0\1\x10\xe1\0\x6e"


def descriptors(server: Running) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


@contextlib.contextmanager
def needs_data(server: Running, left: int = 0) -> Iterator[None]:
    """While the server may open ``left`` descriptors and no more: what it has stays, as in any shortage."""
    pid, uid = server.process.pid, owner()[0]
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = [number for number in range(len(taken) + left + 1) if number not in taken]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit(pid, uid, free[left], hard)
    try:
        yield
    finally:
        limit(pid, uid, hard, hard)


def limit(pid: int, uid: int, soft: int, hard: int) -> None:
    """As the process's own user: root without CAP_SYS_RESOURCE, as in a container, may not do that to others."""
    ids = {"user": uid, "group": owner()[1] if uid else 0, "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={soft}:{hard}"], check=True, **ids)  # type: ignore[call-overload]


def connected(server: Running, name: str) -> socket.socket:
    """To one of its ports; nothing is read."""
    return socket.create_connection(("127.0.0.1", server.ports[name]), WITHIN_S)


def cpu_s(server: Running) -> float:
    """CPU it has used so far."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idles(server: Running, seconds: float = 0.5) -> bool:
    """Whether it uses next to no CPU for a while. A machine under load makes a loop that spins use less, not none."""
    before, began = cpu_s(server), time.monotonic()
    time.sleep(seconds)
    return cpu_s(server) - before < 0.1 * (time.monotonic() - began)


@pytest.fixture
def pem(box: Box) -> Path:
    path = box.home / "pem"
    trustme.CA().issue_cert("mx").private_key_and_cert_chain_pem.write_to_path(path)
    return path


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_whoever_is_connected_is_served_while_others_find_no_room(box: Box, serve: Serve) -> None:
    """A quarter of the descriptors is kept from connections: for maildrops, messages, and the metrics port."""
    box.put("1.h", b"x" * 200_000 + b"\n")
    server = serve("--profile", "qmail", "--metrics", "127.0.0.1:0", descriptors=64)
    user, waiting = server.client(), server.client()
    assert user.login() == b"+OK \r\n"
    before = descriptors(server)
    held = [server.client() for _ in range(70)]
    assert held[0].banner.startswith(b"+OK")
    assert held[-1].banner.startswith(b"-ERR")
    assert "too few descriptors are left: ulimit -n is 64" in server.log()
    assert waiting.login() == b"+OK \r\n", "who is connected can log in"
    assert user.lines(b"RETR 1").startswith(b"xxx")
    assert user.lines(b"TOP 1 1").startswith(b"xxx")
    assert http(server, "/ready").startswith(b"HTTP/1.1 503")
    assert b"connections_refused_total" in http(server, "/metrics")
    for client in held:
        client.close()
    assert eventually(lambda: descriptors(server) == before + 1), "one for the second one's maildrop"
    assert http(server, "/ready").startswith(b"HTTP/1.1 200")
    assert server.client().login() == b"+OK \r\n"


def test_maildrops_leave_descriptors_for_messages(box: Box) -> None:
    before = len(os.listdir("/proc/self/fd"))
    maildrops = OpenMaildrops(RFC1939, lambda work: work(), lambda work: work(), room=3)
    for _ in range(2):
        with pytest.raises(MaildropError) as error:
            maildrops.open(os.fsencode(box.box))
        assert error.value.kind == "unavailable", "not busy: the first one has let go of its lock"
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_offered_stays_while_the_files_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "popsecrets").mkdir()  # as good as no descriptor: it is there, and reading it fails
    rows = Passdb(tmp_path)
    assert [rows.offers(b"apop", before) for before in (True, False)] == [True, False]


@pytest.mark.parametrize("profile", ["rfc1939", "qmail"])
@pytest.mark.quiet
def test_not_one_descriptor(box: Box, serve: Serve, pem: Path, profile: str) -> None:
    """No accept, no login, no message, no certificate; but those who have TLS to begin need none for it."""
    box.put("1.h", b"x\n", age_s=50)
    server = serve("--profile", profile, "--metrics", "127.0.0.1:0", "--cert", str(pem), "--tls-listen", "127.0.0.1:0")
    user, login, hopeful = server.client(), server.client(), server.client()
    assert user.login().startswith(b"+OK")
    before = descriptors(server)
    with needs_data(server):
        assert hopeful.ask(b"STLS").startswith(b"+OK")
        secure = Client(0, sock=trusting().wrap_socket(hopeful.sock), greet=False)
        assert secure.lines(b"CAPA")
        assert user.ask(b"RETR 1").startswith(b"-ERR")
        assert login.login() == (b"-ERR unable to scan $HOME/Maildir\r\n" if profile == "qmail" else TEMPORARY)
        assert user.ask(b"NOOP").startswith(b"+OK")
        waiting = [connected(server, name) for name in server.ports for _ in "123"]
        assert eventually(lambda: "accept failed" in server.log())
        assert idles(server)
        assert server.log().count("accept failed") < 20
    assert user.lines(b"RETR 1").startswith(b"x\r\n")
    assert eventually(lambda: descriptors(server) > before), "those that waited are taken"
    for client in (*waiting, login.sock):
        client.close()
    secure.close()
    user.ask(b"QUIT")
    assert user.end() == b""
    assert server.client().login().startswith(b"+OK")
    assert http(server, "/ready").startswith(b"HTTP/1.1 200")
    assert eventually(lambda: descriptors(server) <= before - 2)


def test_a_maildrop_that_can_be_opened_and_not_be_read_is_not_shown_as_empty(box: Box, serve: Serve) -> None:
    for number in range(200):
        box.put(f"{number}.h", b"x\n")
    server = serve()
    once = server.client()
    assert once.login().startswith(b"+OK")  # without root it is this process that opens the password file
    once.ask(b"QUIT")
    once.end()
    client = server.client()
    with needs_data(server, left=1):
        assert client.login() == TEMPORARY
    assert eventually(lambda: "maildrop not opened" in server.log()), "a disk or a limit is the operator's business"
    with needs_data(server, left=2):  # enough for this: the Maildir, and one directory or message
        again = server.client()
    assert again.login().startswith(b"+OK")
    assert again.ask(b"STAT") == b"+OK 200 600\r\n"


@pytest.mark.needs("root")  # only root has the helper
def test_the_helper_without_descriptors_answers_that_it_cannot_tell(box: Box, serve: Serve) -> None:
    server = serve("--metrics", "127.0.0.1:0")
    client, pid = server.client(), server.process.pid
    (helper,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit(int(helper), 0, 3, hard)
    assert client.login() == b"-ERR [SYS/TEMP] try again later\r\n"
    assert http(server, "/ready").startswith(b"HTTP/1.1 503")
    limit(int(helper), 0, hard, hard)
    assert client.login().startswith(b"+OK")
    assert http(server, "/ready").startswith(b"HTTP/1.1 200")


@pytest.mark.quiet
def test_a_proxy_header_that_stays_away_costs_no_cpu(box: Box, serve: Serve) -> None:
    server = serve("--proxy-from", "127.0.0.1")
    clients = []
    for end in (1, 15, 16, 27):
        clients.append(Client(server.ports["pop3"], greet=False))
        clients[-1].send(PROXY_V2[:end])
    assert idles(server)
    for client, end in zip(clients, (1, 15, 16, 27), strict=True):
        client.send(PROXY_V2[end:] + b"CAPA\r\n")
        assert client.line().startswith(b"+OK POP3")
        assert client.line().startswith(b"+OK")
        client.send(b"QUIT\r\n")
        assert client.end().endswith(b"+OK bye\r\n")
    assert eventually(lambda: server.log().count('"peer": "192.0.2.7"') == 4)
    half = Client(server.ports["pop3"], greet=False)
    half.send(PROXY_V2[:20])
    half.sock.shutdown(socket.SHUT_WR)
    assert half.end() == b""


@pytest.mark.quiet
def test_proxied_connections_are_refused_where_no_descriptor_is_left(box: Box, serve: Serve) -> None:
    """Silent ones behind a balancer take the room like any others, and give it back."""
    server = serve("--proxy-from", "127.0.0.1", "--login-time", "2", descriptors=64)
    before = descriptors(server)
    held = [connected(server, "pop3") for _ in range(70)]
    assert eventually(lambda: "too few descriptors are left" in server.log())
    assert idles(server, 0.5)
    assert eventually(lambda: descriptors(server) == before), "no header in time"
    for sock in held:
        sock.close()
    client = Client(server.ports["pop3"], greet=False)
    client.send(PROXY_V2)
    assert client.line().startswith(b"+OK")
    assert client.login().startswith(b"+OK")


def test_the_metrics_port_takes_no_more_than_its_share(box: Box, serve: Serve) -> None:
    server = serve("--metrics", "127.0.0.1:0")
    http(server, "/ready")  # without root it is this process that keeps the password file open from now on
    before = descriptors(server)
    held = [connected(server, "metrics") for _ in range(3 * http_status.MOST)]
    assert http(server, "/ready").startswith(b"HTTP/1.1 200"), "the silent keep no probe out"
    assert held[0].recv(100) == b"", "hung up on"
    assert descriptors(server) <= before + http_status.MOST
    for sock in held:
        sock.close()
    assert eventually(lambda: descriptors(server) == before)
    assert http(server, "/ready").startswith(b"HTTP/1.1 200")


def test_a_renewed_certificate_that_could_not_be_read_is_tried_again(
    pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing changes any more once descriptors are free, and the old certificate runs out."""
    monkeypatch.setattr("mailhost.pop3.server.daemon.WATCH_S", 0.01)
    loop, tries = Loop(), list[bool]()

    def reload(again: bool, done: Callable[[bool], None]) -> None:
        tries.append(again)
        if len(tries) == 3:
            loop.later(0.05, loop.stop)
        done(len(tries) == 3)

    watch_certificate(loop, pem, None, reload, loaded=True)
    pem.write_bytes(b"renewed")
    loop.run()
    loop.close()
    assert tries == [False, True, True], "told once, tried until it works, then left alone"


def test_room() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        assert room() == (48, 56)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        assert room() == (1024 - RESERVE, 1024 - RESERVE // 2)
        assert room().left(), "of these the tests have not so many open"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
