"""starttls before an SMTP server without TLS; needs no engine."""

from __future__ import annotations

import contextlib
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tests.popbox import ROOT

PROGRAM = [sys.executable, "-IS", str(ROOT / "images/qmail/starttls.py")]
SMTPD = [sys.executable, "-I", str(Path(__file__).parent / "line_smtpd.py")]
AUTHORITY = trustme.CA()
Open = Callable[..., smtplib.SMTP]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A chain and its key."""
    write(tmp_path)
    return tmp_path / "fullchain.pem", tmp_path / "privkey.pem"


def write(folder: Path) -> None:
    made = AUTHORITY.issue_cert("mx.example.net")
    (folder / "fullchain.pem").write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
    (folder / "privkey.pem").write_bytes(made.private_key_pem.bytes())


class Listener:
    """Acts as tcpserver: a process for each connection, which is on its descriptors 0 and 1."""

    def __init__(self, argv: list[str], log: Path) -> None:
        self.argv, self.log, self.children = argv, log, []  # type: tuple[list[str], Path, list[subprocess.Popen[bytes]]]
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        environ = {**os.environ, "TCPREMOTEIP": "192.0.2.7"}
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, self.log.open("ab") as log:
                child = subprocess.Popen(self.argv, stdin=connection, stdout=connection, stderr=log, env=environ)
                self.children.append(child)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for child in self.children:
            try:
                child.wait(0.5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@pytest.fixture
def listen(pair: tuple[Path, Path], tmp_path: Path) -> Iterator[Callable[..., Listener]]:
    """A function that listens with starttls before the small server, or before another given one."""
    running: list[Listener] = []

    def start(*program: str) -> Listener:
        argv = [*PROGRAM, *map(str, pair), *(program or SMTPD)]
        running.append(Listener(argv, tmp_path / "log"))
        return running[-1]

    yield start
    for one in running:
        one.close()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.check_hostname = False
    return context


def client(listener: Listener) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", listener.port, timeout=60)


def raw(listener: Listener, octets: bytes) -> bytes:
    """All replies to octets that are sent at once, after which we send nothing more."""
    with socket.create_connection(("127.0.0.1", listener.port), 60) as sock:
        sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_a_message_with_tls_and_one_without(listen: Callable[..., Listener]) -> None:
    body = b"Subject: x\r\n\r\n" + b"STARTTLS\r\nEHLO x\r\n" * 50_000
    for tls in (True, False):
        session = client(listen())
        assert session.ehlo()[1] == b"fake\nSTARTTLS\nPIPELINING\n8BITMIME"
        if tls:
            session.starttls(context=trusting())
            assert session.ehlo()[1] == b"fake\nPIPELINING\n8BITMIME"
            assert session.docmd("TELL") == (250, b"EHLO,TELL"), "what was said in clear is forgotten"
        session.docmd("MAIL FROM:<>")
        session.docmd("DATA")
        session.send(body + b".\r\n")
        assert session.getreply() == (250, b"ok %d" % len(body))
        session.quit()


def test_what_is_pipelined_passes_byte_by_byte(listen: Callable[..., Listener]) -> None:
    talk = b"EHLO a\r\nNOOP\r\nMAIL FROM:<>\r\nDATA\r\nhello\r\n.\r\nXBAD\r\nQUIT\r\n"
    whole = raw(listen(), talk)
    assert whole.endswith(b"250 ok\r\n250 ok\r\n354 go\r\n250 ok 7\r\n500 no\r\n221 bye\r\n")
    with socket.create_connection(("127.0.0.1", listen().port), 60) as sock:
        for octet in talk:
            sock.sendall(bytes([octet]))
        assert b"".join(iter(lambda: sock.recv(65536), b"")) == whole


def test_commands_behind_starttls_in_its_packet_end_the_session(listen: Callable[..., Listener]) -> None:
    said = raw(listen(), b"EHLO a\r\nSTARTTLS\r\nMAIL FROM:<eve@b.example>\r\n")
    assert said.endswith(b"503 commands must not follow STARTTLS in its packet (#5.5.1)\r\n")


def test_starttls_takes_no_parameter_and_comes_before_mail(listen: Callable[..., Listener]) -> None:
    said = raw(listen(), b"STARTTLS now\r\nMAIL FROM:<>\r\nTELL\r\nQUIT\r\n")
    assert b"501 STARTTLS takes no parameter" in said
    assert b"250 MAIL,TELL\r\n" in said
    assert b"250 MAIL,STARTTLS,TELL\r\n" in raw(listen(), b"MAIL FROM:<>\r\nSTARTTLS\r\nTELL\r\nQUIT\r\n")


def test_a_renewed_certificate_counts_at_the_next_starttls(listen: Callable[..., Listener], tmp_path: Path) -> None:
    listener = listen()

    def serial() -> object:
        session = client(listener)
        session.starttls(context=trusting())
        assert isinstance(session.sock, ssl.SSLSocket)
        return (session.sock.getpeercert() or {})["serialNumber"]

    running = client(listener)
    running.starttls(context=trusting())
    before = serial()
    assert serial() == before
    write(tmp_path)
    assert serial() != before
    assert running.ehlo()[0] == 250, "a session that runs goes on"


@pytest.mark.parametrize("fault", ["no key", "another key", "encrypted key"])
def test_without_a_usable_pair_mail_goes_on_in_clear(
    fault: str, listen: Callable[..., Listener], pair: tuple[Path, Path], tmp_path: Path
) -> None:
    if fault == "no key":
        pair[1].unlink()
    elif fault == "encrypted key":  # its pass phrase is not the client's to give
        plain = load_pem_private_key(pair[1].read_bytes(), None)
        locked = plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"MAIL FROM:<>"))
        pair[1].write_bytes(locked)
    else:
        pair[1].write_bytes(AUTHORITY.issue_cert("other.example.net").private_key_pem.bytes())
    session = client(listen())
    session.ehlo()
    assert session.docmd("STARTTLS")[0] == 454
    assert session.docmd("MAIL FROM:<>")[0] == 250
    assert "starttls: 192.0.2.7: cannot use" in (tmp_path / "log").read_text()


def test_rubbish_in_place_of_a_handshake_is_logged(listen: Callable[..., Listener], tmp_path: Path) -> None:
    listener = listen()
    with socket.create_connection(("127.0.0.1", listener.port), 60) as sock:
        sock.recv(1000)
        sock.sendall(b"STARTTLS\r\n")
        assert sock.recv(1000) == b"220 ready for TLS\r\n"
        sock.sendall(b"MAIL FROM:<eve@b.example>\r\n" * 10)
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(1000):
                pass
    listener.children[0].wait(60)
    assert "192.0.2.7: handshake failed" in (tmp_path / "log").read_text()


def test_a_client_that_does_not_read_blocks_nobody_else_and_loses_nothing(listen: Callable[..., Listener]) -> None:
    asked = 40
    with socket.create_connection(("127.0.0.1", listen().port), 60) as sock:
        sock.sendall(b"MAIL\r\n" + b"FLOOD\r\n" * asked + b"QUIT\r\n")
        said = b"".join(iter(lambda: sock.recv(65536), b""))
    assert said.count(b"x" * 200_000) == asked
    assert said.endswith(b"221 bye\r\n")


def test_a_server_that_refuses_and_one_that_is_not_there(listen: Callable[..., Listener], tmp_path: Path) -> None:
    assert raw(listen(*SMTPD, "421 busy"), b"QUIT\r\n").startswith(b"421 busy\r\n")
    gone = listen("/nowhere/smtpd")
    assert raw(gone, b"") == b""
    gone.children[0].wait(60)
    assert gone.children[0].returncode == 111
    assert "/nowhere/smtpd" in (tmp_path / "log").read_text()
