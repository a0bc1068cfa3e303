"""Hostile peers and mailbox owners: what they send has bounded cost and affects nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
from pathlib import Path

import pytest
import trustme
from tests.mailhost.standin.support import IDS, WITHIN_S, Home, Serve, Server, wait_for

from mailhost.standin.delivery import remote
from mailhost.standin.delivery.report import Stopped
from mailhost.standin.queue import store
from mailhost.standin.smtp import session as smtp


def sessions(server: Server) -> int:
    """Connections that the server's process holds, by the kernel's table.

    Its /proc/PID/fd is closed to root without CAP_SYS_PTRACE once the server has become popuser.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    held = {"01", "08", "0B"}  # ESTABLISHED, CLOSE_WAIT, CLOSING: not those that the kernel ends by itself
    return sum(row[1].endswith(f":{server.port:04X}") and row[3] in held for row in rows)


def rss_kib(server: Server) -> int:
    text = Path(f"/proc/{server.child.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def test_a_peer_that_does_not_read_is_not_served_on_and_goes(home: Home, serve: Serve) -> None:
    home.control("timeoutsmtpd", "1\n")
    server = serve()
    before, memory = sessions(server), rss_kib(server)
    with socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 200 << 20:
                sent += peer.send(b"NOOP\r\n" * 10_000)
        assert sent < 32 << 20, "commands are taken though their replies are not read"
        assert rss_kib(server) - memory < 32 << 10
        server.wait_log(r"warning: smtp 127\.0\.0\.1: 451 timeout_\(#4\.4\.2\): silent for 1 s")
        wait_for(lambda: sessions(server) == before, "the end of the session")


def test_silent_peers_are_counted_and_their_places_come_back(home: Home, serve: Serve) -> None:
    home.control("timeoutsmtpd", "1\n")
    server = serve("--sessions", "2")
    with contextlib.ExitStack() as stack:

        def refused() -> bool:
            """One more silent peer; the places of those before it come back after a second, which may be over."""
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), WITHIN_S))
            return peer.recv(100).startswith(b"421 too many connections")

        wait_for(refused, "one more than there may be")
        server.wait_log(r"warning: smtp 127\.0\.0\.1: 421 too_many_connections,_\S+: 2 are allowed")
        wait_for(lambda: server.talk(b"QUIT\r\n").startswith(b"220"), "a free session")


def test_a_peer_that_still_sends_hears_why_it_is_cut_short(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    start = b"MAIL FROM:<>\r\nRCPT TO:<joe@d.com>\r\nDATA\r\nbare\n"
    assert server.talk(start + b"x" * (4 << 20)).endswith(b"\r\n451 See https://cr.yp.to/docs/smtplf.html.\r\n")
    server.wait_log(r"warning: smtp 127\.0\.0\.1: 451 See_https")


def test_single_octets_cost_no_more_than_they_hold(home: Home) -> None:
    draft = store.Queue(store.make(home.path)).draft(b"", (), store.Trace(b"x", 1))
    for _ in range(100_000):
        draft.write(b"x")
    assert draft._held.__sizeof__() < 200_000


def test_recipients_are_bounded_by_what_they_cost() -> None:
    class Policy:
        greeting, databytes, relayclient, starttls = b"mx", 0, None, False

        def localize(self, address: bytes) -> bytes:
            return address

        def refusal(self, _sender: bytes, _recipient: bytes) -> None:
            return None

    session = smtp.Session(Policy())
    events = session.feed(b"MAIL FROM:<>\r\n" + b"RCPT TO:<%s>\r\n" % (b"x" * 899) * 3000 + b"RSET\r\n")
    replies = [one.code for one in events if isinstance(one, smtp.Reply)]
    most = smtp.ENVELOPE_OCTETS // (899 + smtp.RECIPIENT_OCTETS)
    assert replies == [250] * (1 + most) + [452] * (3000 - most) + [250]
    assert session.feed(b"MAIL FROM:<>\r\nRCPT TO:<a>\r\n")[-1] == smtp.OK


def test_q_smtp_11_three_thousand_recipients(home: Home, serve: Serve) -> None:
    server = serve()
    answer = server.talk(b"MAIL FROM:<>\r\n" + b"RCPT TO:<@mx>\r\n" * 3000 + b"DATA\r\nx\r\n.\r\nQUIT\r\n")
    assert answer.count(b"250 ok\r\n") == 3001
    server.wait_log("delivery 3000: success")
    wait_for(lambda: not home.queued() and not home.queued("state"), "an empty queue")


def test_a_header_of_forty_megabytes_arrives_whole(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    server.send("joe@d.com")
    memory = rss_kib(server)
    assert server.send("joe@d.com", text=b"X: " + b"x" * (40 << 20) + b"\n\nend\n").startswith(b"250 ok")
    wait_for(lambda: len(home.mail()) == 2, "the message")
    assert max(map(len, home.mail())) > 40 << 20
    assert rss_kib(server) - memory < 32 << 10


ENVELOPES = [b"<a\rX-Evil: 1@b.org>", b'<"a\r\nX-Evil: 1"@b.org>', b"<a\\\nX-Evil: 1@b.org>", b"<a\0\rX@b.org>"]


@pytest.mark.parametrize("sender", ENVELOPES)
def test_no_header_field_comes_out_of_an_envelope(home: Home, serve: Serve, sender: bytes) -> None:
    home.box("joe", {".qmail": "./Maildir/\n./Mailbox\n"})
    server = serve()
    server.talk(
        b"HELO x\rX-Evil: 1\r\nMAIL FROM:" + sender + b"\r\nRCPT TO:<joe@d.com>\r\nDATA\r\nS: x\r\n\r\n.\r\nQUIT\r\n"
    )
    server.wait_log("end msg")
    (mail,) = home.mail()
    for text in (mail, (home.path / "popboxes/joe/Mailbox").read_bytes()):
        assert b"\nX-Evil" not in text
        fields = [line.partition(b":")[0] for line in text.partition(b"\n\n")[0].split(b"\n")]
        assert [one for one in fields if not one.startswith((b" ", b"From "))] == [
            b"Return-Path", b"Delivered-To", b"Received", b"Received", b"S",
        ]  # fmt: skip


def test_an_envelope_smtp_cannot_say_bounces_and_costs_no_place(home: Home, serve: Serve) -> None:
    home.box("fwd", {".qmail": "&x@elsewhere.example\n"})
    home.box("joe")
    home.control("smtproutes", ":127.0.0.1:1\n")
    home.control("concurrencyremote", "1\n")
    server = serve()
    for _ in range(3):
        server.talk(b"MAIL FROM:<a\rb@c.org>\r\nRCPT TO:<fwd@d.com>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
    server.wait_log(r"(?s)(failure: Sorry,_this_address_cannot_be_said_in_SMTP.*){3}")
    server.send("fwd@d.com")
    server.wait_log(r"deferral: 127\.0\.0\.1:1_did_not_take_it:_Connection_refused\._\(#4\.4\.2\)/")
    assert server.stop() == 0


def test_what_smtp_can_say() -> None:
    for address, path in (
        (b"", b"<>"), (b"a@b", b"<a@b>"), (b'a"> X@b', b'<"a\\"> X"@b>'), (b"\xe9@b", b'<"\xe9"@b>'),
        (b"a b", b'<"a b">'), (b"a@b@c", b'<"a@b"@c>'),
    ):  # fmt: skip
        assert remote.said(address) == path
    for address in (b"a@b> SIZE=1", b"a@b c", b"a\nb@c", b"a\0b@c", b'a@b"c'):
        with pytest.raises(Stopped) as caught:
            remote.said(address)
        assert caught.value.permanent


def test_e_41_no_address_leads_out_of_its_box(home: Home, serve: Serve) -> None:
    home.box("joe", {".qmail-default": "./Maildir/\n", ".qmail": "./Maildir/\n"}, lines="=+")
    home.box("s")
    (home.path / "popboxes/.qmail-owned").write_text("./stolen\n")
    server = serve()
    ways = ["joe-/../.qmail-owned", "joe-../../alias", "joe-/../../.qmail-owned", "joe-a/b", "../joe", "joe/../../x"]
    before = {path for path in home.path.rglob("*") if "Maildir" not in path.parts and "queue" not in path.parts}
    for way in ways:
        server.send(f"{way}@d.com", sender="s@d.com")
    server.wait_log(f"(?s)(end msg.*){{{len(ways)}}}")
    wait_for(lambda: len(home.mail()) + len(home.mail("s")) == len(ways), "four in the box, two bounces")
    after = {path for path in home.path.rglob("*") if "Maildir" not in path.parts and "queue" not in path.parts}
    assert after == before


def test_q_mbox_4_a_fifo_does_not_hold_a_delivery_for_ever(home: Home, serve: Serve) -> None:
    box = home.box("joe", {".qmail": "./pipe\n"})
    os.mkfifo(box / "pipe")
    os.chown(box / "pipe", *IDS)
    server = serve()
    server.send("joe@d.com")
    server.wait_log(r"delivery 1: deferral: Unable_to_open_\./pipe:_")
    assert server.stop() == 0


def test_what_is_said_ahead_of_tls_is_forgotten(home: Home, serve: Serve) -> None:
    authority = trustme.CA()
    pem = home.path / "cert.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    server = serve("--cert", str(pem))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with socket.create_connection(("127.0.0.1", server.port), WITHIN_S) as peer:
        peer.recv(100)
        peer.sendall(b"STARTTLS\r\nMAIL FROM:<evil@d.com>\r\n")
        assert peer.recv(100) == b"220 ready for tls\r\n"
        with context.wrap_socket(peer, server_hostname="localhost") as secure:
            secure.sendall(b"RCPT TO:<joe@d.com>\r\n")
            assert secure.recv(100) == b"503 MAIL first (#5.5.1)\r\n"


def test_a_peer_that_resets_inside_the_handshake_leaves_its_place_to_others(home: Home, serve: Serve) -> None:
    pem = home.path / "cert.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    server = serve("--cert", str(pem), "--sessions", "2")
    for waits in (True, True, False, False):
        with socket.create_connection(("127.0.0.1", server.port), WITHIN_S) as peer:
            peer.recv(100)
            peer.sendall(b"STARTTLS\r\n")
            if waits:
                assert peer.recv(100) == b"220 ready for tls\r\n"
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for _ in range(2):
        wait_for(lambda: server.talk(b"QUIT\r\n").startswith(b"220"), "a place")
    with socket.create_connection(("127.0.0.1", server.port), WITHIN_S) as one:
        assert one.recv(100).startswith(b"220")
        wait_for(lambda: server.talk(b"QUIT\r\n").startswith(b"220"), "both places")
    assert server.stop() == 0
    assert "trouble" not in server.log


@pytest.mark.needs("root")  # who must not be led astray
def test_root_follows_no_link_that_popuser_put_into_the_queue(home: Home, serve: Serve) -> None:
    aim = home.path / "root-owned"
    aim.mkdir()
    (home.path / "queue/standin").symlink_to(aim)
    assert serve().child.wait(WITHIN_S) == 111
    assert (aim.stat().st_uid, list(aim.iterdir())) == (0, [])
    (home.path / "queue/standin").unlink()
    secret = home.path / "secret"
    secret.write_text("x")
    os.link(secret, home.path / "queue/lock/sendmutex")
    serve().stop()
    assert secret.stat().st_uid == 0


def test_a_connection_cut_inside_a_message_leaves_a_line_and_nothing_else(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.sendall(b"MAIL FROM:<>\r\nRCPT TO:<joe@d.com>\r\nDATA\r\n" + b"x" * 600_000)
        wait_for(lambda: home.queued("tmp"), "a spooled message")
    server.wait_log(r"warning: smtp 127\.0\.0\.1: connection lost inside a message, nothing of it was stored")
    wait_for(lambda: not home.queued("tmp"), "the file gone")
    assert server.stop() == 0
    assert home.queued() == []
