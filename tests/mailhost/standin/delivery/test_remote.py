"""Remote mail (routes, sink, none) and STARTTLS, end to end."""

from __future__ import annotations

import os
import smtplib
import ssl
from pathlib import Path

import pytest
import trustme
from tests.mailhost.standin.support import IDS, WITHIN_S, Home, Serve, Server, cli, wait_for

from mailhost.standin.delivery.remote import Relay, parse_route
from mailhost.standin.delivery.report import Stopped


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"relay", Relay("relay", 25)), (b"relay:26", Relay("relay", 26)), (b"[::1]:26", Relay("::1", 26)),
        (b":26", Relay("", 26)), (b"", Relay("", 25)),
    ],
)  # fmt: skip
def test_the_right_side_of_smtproutes(value: bytes, wanted: Relay) -> None:
    assert parse_route(value) == wanted


def test_a_route_that_makes_no_sense_defers() -> None:
    with pytest.raises(Stopped, match="cannot be understood"):
        parse_route(b"a:b:c")


def test_remote_by_smtproutes_and_to_a_sink(home: Home, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    home.box("fwd", {".qmail": "&x@elsewhere.example\n"})
    sink = home.path / "queue/sink"
    os.chown(home.path / "queue", *IDS)
    first = serve("--sink", str(sink))
    first.send("fwd@d.com")
    first.wait_log("Kept_in_the_sink_directory._?/")
    (kept,) = (sink / "new").iterdir()
    assert b"Delivered-To: x@elsewhere.example\n" in kept.read_bytes()
    assert first.stop() == 0


def test_remote_takes_the_route_and_tells_refusals(home: Home, serve: Serve) -> None:
    other = Home(home.path / "other")
    other.box("joe")
    receiver = Server(other)
    try:
        home.box("fwd", {".qmail": "&joe@d.com.example\n&gone@refused.example\n"})
        home.box("s")
        home.control("smtproutes", f".example:127.0.0.1:{receiver.port}\n")
        other.control("rcpthosts", "d.com.example\n")
        other.control("virtualdomains", "d.com.example:p\n")
        receiver.stop()
        receiver = Server(other)
        home.control("smtproutes", f".example:127.0.0.1:{receiver.port}\n")
        server = serve()
        server.send("fwd@d.com", sender="s@d.com")
        server.wait_log(r"success: 127\.0\.0\.1:\d+_accepted_message")
        wait_for(lambda: other.mail(), "the forwarded message")
        wait_for(lambda: home.mail("s"), "the bounce")
        assert b"<gone@refused.example>:\n" in home.mail("s")[0]
        assert b"Remote host said: 553 sorry" in home.mail("s")[0]
        assert b"\nhello\n" in other.mail()[0]
    finally:
        receiver.close()


def test_without_a_route_remote_mail_waits(home: Home, serve: Serve) -> None:
    home.box("fwd", {".qmail": "&x@elsewhere.example\n"})
    server = serve()
    server.send("fwd@d.com")
    server.wait_log("deferral: No_line_of_control/smtproutes_covers_this_host")
    listed = cli(home, "queue", "list").stdout
    assert "remote deferred  x@elsewhere.example  next try" in listed


def test_a_key_that_cannot_be_used_leaves_mail_in_clear_and_is_taken_when_it_can(home: Home, serve: Serve) -> None:
    home.box("joe")
    pem = home.path / "cert.pem"
    server = serve("--cert", str(pem))
    server.wait_log(f"status: unable to use certificate: {pem}: No such file or directory; no STARTTLS until")
    with smtplib.SMTP("127.0.0.1", server.port, timeout=WITHIN_S) as client:
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("s@d.com", ["joe@d.com"], "Subject: in clear\n\nx\n")
    ready = pem.with_name("ready.pem")
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(ready))
    os.chown(ready, *IDS)
    ready.rename(pem)
    server.wait_log("status: certificate can be used now")
    with smtplib.SMTP("127.0.0.1", server.port, timeout=WITHIN_S) as client:
        client.ehlo()
        assert client.has_extn("starttls")


def test_starttls(home: Home, serve: Serve, tmp_path: Path) -> None:
    home.box("joe")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    pem = home.path / "cert.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    os.chown(pem, *IDS)
    server = serve("--cert", str(pem))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.check_hostname = False
    with smtplib.SMTP("127.0.0.1", server.port, timeout=WITHIN_S) as client:
        client.starttls(context=context)
        client.sendmail("s@d.com", ["joe@d.com"], "Subject: secret\n\nx\n")
        assert not client.has_extn("starttls")
    server.wait_log("end msg")
    assert b"Subject: secret" in home.mail()[0]
    # Of another kind than the old key, beside which one context would keep it and go on showing the old certificate.
    issued = authority.issue_cert("localhost", key_type=trustme.KeyType.RSA)
    renewed = issued.private_key_and_cert_chain_pem.bytes()
    pem.write_bytes(renewed[:200])
    server.wait_log("the old certificate stays")
    pem.write_bytes(renewed)
    server.wait_log("certificate renewed")
    with smtplib.SMTP("127.0.0.1", server.port, timeout=WITHIN_S) as client:
        client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        served = client.sock.getpeercert(binary_form=True) or b""
    assert ssl.DER_cert_to_PEM_cert(served).encode() in renewed
