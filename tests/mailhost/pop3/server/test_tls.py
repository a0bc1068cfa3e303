"""TLS, APOP and SCRAM against the running server, with the standard library's own clients where it has them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import poplib
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from tests.mailhost.pop3.support import HOWTO_HASH, WITHIN_S, Box, Client, Running, eventually, worker_pids

from mailhost.pop3.protocol import scram
from mailhost.system.pem import WATCH_S

Serve = Callable[..., Running]
AUTHORITY = trustme.CA()


@pytest.fixture
def pem(box: Box) -> Path:
    """Certificate and key in one file, readable by the one who starts the server."""
    path = box.home / "server.pem"
    AUTHORITY.issue_cert("mx.example.net").private_key_and_cert_chain_pem.write_to_path(path)
    path.chmod(0o600)
    return path


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def secure(client: Client) -> Client:
    """The client after STLS."""
    assert client.ask(b"STLS").startswith(b"+OK")
    wrapped = trusting().wrap_socket(client.sock, server_hostname="mx.example.net")
    return Client(0, sock=wrapped, greet=False)


def test_stls(box: Box, serve: Serve, pem: Path) -> None:
    box.put("1.h", b"Subject: x\n\n" + b"line of text\n" * 30_000)
    client = serve("--cert", str(pem)).client()
    assert b"STLS\r\n" in client.lines(b"CAPA")
    client = secure(client)
    assert b"STLS\r\n" not in client.lines(b"CAPA")
    assert client.login().startswith(b"+OK")
    assert client.lines(b"RETR 1") == b"Subject: x\r\n\r\n" + b"line of text\r\n" * 30_000 + b".\r\n"
    assert client.ask(b"QUIT") == b"+OK bye\r\n"
    assert client.end() == b"", "close_notify, not a cut"


def test_what_was_injected_before_the_handshake_is_not_executed(box: Box, serve: Serve, pem: Path) -> None:
    client = serve("--cert", str(pem)).client()
    client.send(b"STLS\r\nUSER eve\r\nXYZZY\r\n")
    assert client.line().startswith(b"+OK")
    wrapped = trusting().wrap_socket(client.sock, server_hostname="mx.example.net")
    client = Client(0, sock=wrapped, greet=False)
    assert client.ask(b"PASS x") == b"-ERR USER first\r\n"


def test_pop3s_with_poplib(box: Box, serve: Serve, pem: Path) -> None:
    box.put("1.h", b"Subject: x\n\n.dot\n")
    server = serve("--tls-listen", "127.0.0.1:0", "--cert", str(pem), "--require-tls")
    context = trusting()
    context.check_hostname = False
    client = poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], context=context, timeout=WITHIN_S)
    client.user("testid")
    client.pass_("testpw")
    assert client.retr(1)[1] == [b"Subject: x", b"", b".dot"]
    client.quit()
    with pytest.raises(poplib.error_proto, match="STLS"):
        poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=WITHIN_S).user("testid")


def test_rubbish_instead_of_a_handshake(box: Box, serve: Serve, pem: Path) -> None:
    server = serve("--tls-listen", "127.0.0.1:0", "--cert", str(pem))
    with socket.create_connection(("127.0.0.1", server.ports["pop3s"]), WITHIN_S) as sock:
        sock.sendall(b"USER joe\r\n" * 10)
        with contextlib.suppress(ConnectionResetError):  # or a TLS alert, if that is quicker
            assert b"+OK" not in sock.recv(1000)
    assert server.client().login().startswith(b"+OK")


def issue(pem: Path) -> int:
    """A new certificate into the file, for the one who starts the server alone to read; gives its serial number."""
    issued = AUTHORITY.issue_cert("mx.example.net")
    fresh = pem.with_suffix(".new")
    issued.private_key_and_cert_chain_pem.write_to_path(fresh)
    fresh.chmod(0o600)
    fresh.rename(pem)
    return x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).serial_number


def served(server: Running) -> int:
    """The serial number of the certificate a new connection is shown."""
    with (
        socket.create_connection(("127.0.0.1", server.ports["pop3s"]), WITHIN_S) as sock,
        trusting().wrap_socket(sock, server_hostname="mx.example.net") as wrapped,
    ):
        return int(str((wrapped.getpeercert() or {})["serialNumber"]), 16)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_hup_takes_a_new_certificate_and_ends_no_session(box: Box, serve: Serve, pem: Path, workers: str) -> None:
    """Also where only root can read the key and the server has given up root long ago."""
    box.put("1.h", b"Subject: x\n\nhello\n")
    server = serve("--tls-listen", "127.0.0.1:0", "--cert", str(pem), "--workers", workers)
    running = secure(server.client())
    assert running.login().startswith(b"+OK")
    fresh = issue(pem)
    server.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: server.log().count('"reloaded"') >= int(workers))
    assert [served(server) for _ in range(6)] == [fresh] * 6
    assert running.lines(b"RETR 1") == b"Subject: x\r\n\r\nhello\r\n.\r\n"
    assert running.ask(b"QUIT") == b"+OK bye\r\n"


def test_a_renewed_certificate_is_served_without_a_signal_and_half_of_one_is_not(
    box: Box, serve: Serve, pem: Path
) -> None:
    server = serve("--tls-listen", "127.0.0.1:0", "--cert", str(pem))
    running, before = server.client(), served(server)
    assert running.login().startswith(b"+OK")
    whole = pem.read_bytes()
    pem.write_bytes(whole[:200])
    assert eventually(lambda: "certificate not reloaded" in server.log(), 10 * WATCH_S)
    assert served(server) == before
    fresh = issue(pem)
    assert eventually(lambda: served(server) == fresh)
    assert running.ask(b"NOOP").startswith(b"+OK"), "a session that runs goes on"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_key_that_cannot_be_used_leaves_pop3_in_clear_and_is_taken_when_it_can(
    box: Box, serve: Serve, pem: Path, workers: str
) -> None:
    key = pem.with_name("key.pem")
    named = ("--cert", str(pem), "--key", str(key), "--workers", workers)
    server = serve("--tls-listen", "127.0.0.1:0", *named)
    assert f"no TLS until it comes: {key}: No such file or directory" in server.log()
    client = server.client()
    assert b"STLS\r\n" not in client.lines(b"CAPA")
    assert client.login().startswith(b"+OK")
    with pytest.raises((OSError, ssl.SSLError)):
        served(server)
    assert "no certificate that can be used yet" in server.log()
    fresh = pem.with_name("fresh.pem")
    fresh.write_bytes(pem.read_bytes())
    fresh.chmod(0o600)
    fresh.rename(key)

    def everywhere() -> bool:
        with contextlib.suppress(OSError):
            return all(served(server) for _ in range(8))
        return False

    assert eventually(everywhere)
    assert b"STLS\r\n" in server.client().lines(b"CAPA")


def test_only_tls_and_no_certificate_is_a_failure_that_names_the_file(box: Box) -> None:
    verb = ["mailhost", "--home", str(box.home), "serve", "pop3", "--tls-listen", "127.0.0.1:0", "--cert", "/none.pem"]
    done = subprocess.run([sys.executable, "-m", *verb], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        111,
        "mailhost serve pop3: /none.pem: No such file or directory\n",
    )


def test_a_worker_that_replaces_another_has_the_newest_certificate(box: Box, serve: Serve, pem: Path) -> None:
    server = serve("--tls-listen", "127.0.0.1:0", "--cert", str(pem), "--workers", "2")
    fresh = issue(pem)
    server.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: server.log().count('"reloaded"') >= 2)
    for pid in worker_pids(server):
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: server.log().count("worker died") == 2)
    assert [served(server) for _ in range(6)] == [fresh] * 6


def test_a_broken_renewal_changes_nothing_and_is_told(box: Box, serve: Serve, pem: Path) -> None:
    server = serve("--tls-listen", "127.0.0.1:0", "--cert", str(pem))
    before = served(server)
    texts = (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"x" * 100_000, None)
    for number, text in enumerate(texts, 1):
        pem.unlink() if text is None else pem.write_bytes(text)
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: server.log().count("certificate not reloaded") >= number)  # noqa: B023 - called now
    assert served(server) == before


def secrets(box: Box, *lines: bytes) -> None:
    path = box.home / "users" / "popsecrets"
    path.write_bytes(b"\n".join(lines) + b"\n")
    path.chmod(0o600)


def test_apop_for_boxes_with_a_secret(box: Box, serve: Serve) -> None:
    secrets(box, b"testid:apop:tanstaaf")
    server = serve()
    client = server.client()
    stamp = re.search(rb"<.*>", client.banner)
    assert stamp
    digest = hashlib.md5(stamp[0] + b"tanstaaf", usedforsecurity=False).hexdigest().encode()
    assert client.ask(b"APOP testid " + digest) == b"+OK maildrop ready\r\n"
    again = server.client()
    assert again.ask(b"APOP testid " + digest).startswith(b"-ERR [AUTH]"), "a digest counts for one banner"
    poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=WITHIN_S).quit()


def test_a_disabled_box_lets_no_client_in_by_its_other_secrets(box: Box, serve: Serve) -> None:
    """``mailhost mailbox disable`` puts a ``!`` before the hash; that must stop APOP and SCRAM too."""
    secrets(box, b"testid:apop:tanstaaf", b"testid:scram:" + scram.make(b"pencil"))
    box.passwords({"testid": "!" + HOWTO_HASH})
    server = serve()
    client = server.client()
    stamp = re.search(rb"<.*>", client.banner)
    assert stamp
    digest = hashlib.md5(stamp[0] + b"tanstaaf", usedforsecurity=False).hexdigest().encode()
    client.send(b"APOP testid " + digest + b"\r\n")
    other = server.client()
    assert scram_login(other).startswith(b"-ERR [AUTH]")
    assert client.line().startswith(b"-ERR [AUTH]")


def test_scram_end_to_end(box: Box, serve: Serve) -> None:
    secrets(box, b"testid:scram:" + scram.make(b"pencil"))
    client = serve().client()
    assert b"SASL PLAIN SCRAM-SHA-256\r\n" in client.lines(b"CAPA")
    assert scram_login(client) == b"+OK maildrop ready\r\n"


def scram_login(client: Client) -> bytes:
    """The whole exchange, with the password pencil: the last answer, the server's proof checked before it."""
    bare = b"n=testid,r=abc"
    first = client.ask(b"AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,," + bare))
    server_first = base64.b64decode(first[2:])
    nonce, salt, count = (part[2:] for part in server_first.split(b",", 2))
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", base64.b64decode(salt), int(count))
    without = b"c=biws,r=" + nonce
    signed = b",".join([bare, server_first, without])
    key = scram._hmac(salted, b"Client Key")
    proof = bytes(a ^ b for a, b in zip(key, scram._hmac(hashlib.sha256(key).digest(), signed), strict=True))
    last = client.ask(base64.b64encode(without + b",p=" + base64.b64encode(proof)))
    if last.startswith(b"-ERR"):
        return last
    signature = scram._hmac(scram._hmac(salted, b"Server Key"), signed)
    assert base64.b64decode(last[2:]) == b"v=" + base64.b64encode(signature)
    return client.ask(b"")


EIGHT_BIT = {
    "1.h": ("Subject: Grüße\n\nx\n".encode(), True),
    "2.h": ("Subject: x\n\nGrüße\n".encode(), False),
    "3.h": (b"Subject: x\r\n\r\n\xff\r\n", False),
    "4.h": (b"\n\xff\n", False),
    "5.h": (b"X: " + b"y" * 65_520 + b"\nZ: \xff\n\nx\n", True),
    "6.h": (b"Subject: \xff", True),
}


def test_8_bit_headers_on_request_only_where_the_operator_says_so(box: Box, serve: Serve) -> None:
    for number, (name, (text, _)) in enumerate(EIGHT_BIT.items()):
        box.put(name, text, age_s=100 - number)
    strict = serve("--utf8-on-request")
    for utf8 in (False, True):
        client = strict.client()
        if utf8:
            assert client.ask(b"UTF8").startswith(b"+OK")
        assert client.login().startswith(b"+OK")
        for number, (_, eight_bit) in enumerate(EIGHT_BIT.values(), 1):
            for command in (b"RETR %d" % number, b"TOP %d 1" % number):
                status = client.ask(command)
                assert status.startswith(b"-ERR [UTF8] " if eight_bit and not utf8 else b"+OK"), (command, status)
                if status.startswith(b"+OK"):
                    client.rest()
        client.close()
    client = serve().client()
    assert client.login().startswith(b"+OK")
    assert client.lines(b"RETR 1") == "Subject: Grüße\r\n\r\nx\r\n.\r\n".encode(), "as it lies, unless the switch is on"
