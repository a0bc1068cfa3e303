"""SMTP sessions of the program: what each reads again, which replies it gets, when it ends. Facts by id."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.mailhost.standin.support import Home, Serve, wait_for


def test_e_19_the_trash_address(home: Home, serve: Serve) -> None:
    server = serve()
    answer = server.talk(b"MAIL FROM:<>\r\nRCPT TO:<>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
    assert answer.count(b"250 ok") == 3
    server.wait_log("delivery 1: success: \n")


def test_q_smtp_1_rcpthosts_counts_for_the_next_connection(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    home.control("rcpthosts", "other\n")
    assert b"\r\n553 sorry" in server.talk(b"MAIL FROM:<>\r\nRCPT TO:<joe@d.com>\r\nQUIT\r\n")
    home.control("rcpthosts", "d.com\n")
    assert server.send("joe@d.com").startswith(b"250 ok")
    (home.path / "control/rcpthosts").unlink()
    assert b"250 ok\r\n250 ok" in server.talk(b"MAIL FROM:<>\r\nRCPT TO:<x@y.z>\r\nQUIT\r\n")


def test_q_smtp_4_unreadable_controls(home: Home, serve: Serve) -> None:
    server = serve()
    (home.path / "control/badmailfrom").mkdir()
    assert server.talk(b"") == b"421 unable to read controls (#4.3.0)\r\n"
    server.wait_log(
        r"warning: smtp 127\.0\.0\.1: 421 unable_to_read_controls_\(#4\.3\.0\): control/badmailfrom: .*Is a directory"
    )


def test_q_smtp_13_timeout(home: Home, serve: Serve) -> None:
    home.control("timeoutsmtpd", "1\n")
    assert serve().talk(b"NOOP\r\n").endswith(b"250 ok\r\n451 timeout (#4.4.2)\r\n")


def test_e_64_badmailfrom_leaves_the_session_open(home: Home, serve: Serve) -> None:
    home.control("badmailfrom", "bad@x\n")
    answer = serve().talk(
        b"MAIL FROM:<BAD@x>\r\nRCPT TO:<joe@d.com>\r\nMAIL FROM:<ok@x>\r\nRCPT TO:<joe@d.com>\r\nQUIT\r\n"
    )
    assert answer.splitlines()[1:5] == [
        b"250 ok",
        b"553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)",
        b"250 ok",
        b"250 ok",
    ]


def test_q_rcpt_7_and_e_14_relayclients(home: Home, serve: Serve, tmp_path: Path) -> None:
    home.control("relayclients", "127.0.0.0/8\n10.0.0.1 @fix\n")
    server = serve()
    assert server.send("x@elsewhere.example").startswith(b"250 ok")
    server.wait_log("to remote x@elsewhere.example")
    home.control("relayclients", "127.0.0.1 @d.com\n127.0.0.0/8\n")
    server.send("x@elsewhere.example")
    server.wait_log("to local p-x@elsewhere.example@d.com")
    home.control("relayclients", "nonsense\n")
    assert server.talk(b"").startswith(b"421 ")


def test_too_many_sessions_are_told(home: Home, serve: Serve) -> None:
    server = serve("--sessions", "1")
    with socket.create_connection(("127.0.0.1", server.port)) as one:
        one.recv(100)
        assert server.talk(b"").startswith(b"421 too many connections")
    wait_for(lambda: server.talk(b"QUIT\r\n").startswith(b"220"), "a free session")
