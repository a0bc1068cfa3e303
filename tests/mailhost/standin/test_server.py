"""The stand-in as a program, from SMTP to the mailbox, the log and the bounce: real sockets and files. Facts by id."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from tests.mailhost.standin.support import IDS, Home, Serve, cli, wait_for

from mailhost.standin import server
from mailhost.standin.options import Options


def test_q_smtp_2_3_q_data_9_and_a1_a_message_arrives(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    assert re.fullmatch(r"listening smtp 127\.0\.0\.1:\d+\n", server.said)
    answer = server.talk(
        b"EHLO client\r\nMAIL FROM:<a@b.org>\r\nRCPT TO:<JOE@D.com>\r\nRCPT TO:<joe@other.com>\r\nDATA\r\n"
        b"Subject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n"
    )
    assert re.fullmatch(
        rb"220 mx\.example\.net ESMTP popbox stand-in\r\n250-mx\.example\.net\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        rb"250 ok\r\n250 ok\r\n553 sorry, that domain isn't in my list of allowed rcpthosts \(#5\.7\.1\)\r\n"
        rb"354 go ahead\r\n250 ok \d+ qp \d+\r\n221 mx\.example\.net\r\n",
        answer,
    )
    server.wait_log("end msg")
    (text,) = home.mail()
    assert re.fullmatch(
        rb"Return-Path: <a@b\.org>\nDelivered-To: p-JOE@D\.com\n"
        rb"Received: \(popbox stand-in \d+ invoked from network\); \d+ \w{3} \d{4} \d\d:\d\d:\d\d -0000\n"
        rb"Received: from unknown \(HELO client\) \(127\.0\.0\.1\)\n"
        rb"  by mx\.example\.net \(popbox stand-in\) with SMTP; \d+ \w{3} \d{4} \d\d:\d\d:\d\d -0000\n"
        rb"Subject: x\n\nbody\n",
        text,
    )
    assert home.queued() == []


def test_the_file_belongs_to_popuser_and_root_is_gone(home: Home, serve: Serve) -> None:
    box = home.box("joe")
    server = serve()
    server.send("joe@d.com")
    server.wait_log("end msg")
    (path,) = (box / "Maildir/new").iterdir()
    assert (path.stat().st_uid, path.stat().st_gid) == IDS
    status = Path(f"/proc/{server.child.pid}/status").read_text()
    assert f"Uid:\t{IDS[0]}\t{IDS[0]}\t{IDS[0]}\t{IDS[0]}" in status


def test_q_send_17_18_and_a4_the_log_of_one_delivery(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    number = server.send("joe@d.com").split()[-1].decode()
    server.wait_log("end msg")
    lines = server.log.splitlines()
    size = re.search(r"bytes (\d+) ", lines[1])
    assert lines == [
        f"new msg {number}",
        f"info msg {number}: bytes {size[1] if size else ''} from <s@d.com> qp {number} uid {IDS[0]}",
        f"starting delivery 1: msg {number} to local p-joe@d.com",
        "status: local 1/10 remote 0/20",
        "delivery 1: success: did_1+0+0/",
        "status: local 0/10 remote 0/20",
        f"end msg {number}",
    ]
    delivered = len(home.mail()[0]) - len("Return-Path: <s@d.com>\nDelivered-To: p-joe@d.com\n")
    assert size
    assert int(size[1]) == delivered


def test_q_def_1_control_defaultdelivery_is_read_at_start(home: Home, serve: Serve) -> None:
    box = home.box("joe")
    (box / ".qmail").unlink()
    home.control("defaultdelivery", "./Maildir/\n./copy\n\n")
    server = serve()
    home.control("defaultdelivery", "./Mailbox\n")
    server.send("joe@d.com")
    server.wait_log(r"delivery 1: success: did_2\+0\+0/")
    assert len(home.mail()) == 1
    assert (box / "copy").exists()
    server.stop()
    again = serve()
    again.send("joe@d.com")
    again.wait_log(r"delivery 1: success: did_1\+0\+0/")
    assert (box / "Mailbox").exists()


def test_q_rcpt_8_e_22_q_bounce_1_an_unknown_user_bounces_later(home: Home, serve: Serve) -> None:
    home.box("s")
    server = serve()
    assert server.send("gone@d.com", "also@d.com", sender="s@d.com").startswith(b"250 ok ")
    wait_for(lambda: home.mail("s"), "the bounce")
    (bounce,) = home.mail("s")
    assert bounce.startswith(b"Return-Path: <>\nDelivered-To: p-s@d.com\nReceived: (popbox stand-in ")
    for name in (b"gone", b"also"):
        assert b"\n<%s@d.com>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n" % name in bounce
    assert b"\nReturn-Path: <s@d.com>\nReceived: (popbox stand-in" in bounce
    server.wait_log(r"bounce msg \d+ qp \d+\n(.*\n)*end msg")


def test_q_bounce_6_7_double_and_triple_bounces(home: Home, serve: Serve) -> None:
    server = serve()
    server.send("gone@d.com", sender="nobody@d.com")
    server.wait_log("triple bounce: discarding bounce/")
    assert len(re.findall("bounce msg", server.log)) == 2
    wait_for(lambda: not home.queued(), "an empty queue")


def test_q_send_14_what_is_too_old_bounces(home: Home, serve: Serve) -> None:
    box, _ = home.box("joe"), home.box("s")
    (box / "Maildir/tmp").rmdir()
    home.control("queuelifetime", "0\n")
    server = serve()
    server.send("joe@d.com", sender="s@d.com")
    wait_for(lambda: home.mail("s"), "the bounce")
    assert b"I'm not going to try again; this message has been in the queue too long.\n" in home.mail("s")[0]


def test_q_send_15_a_channel_on_hold(home: Home, serve: Serve) -> None:
    home.box("joe")
    home.control("concurrencylocal", "0\n")
    server = serve()
    for _ in range(2):  # a delivery of the first would have begun long before the second is in
        server.send("joe@d.com")
    server.wait_log(r"(?s)(info msg.*){2}")
    assert "starting" not in server.log
    assert len(home.queued()) == 2
    assert server.stop() == 0


def test_q_send_15_as_many_at_once_as_allowed(home: Home, serve: Serve) -> None:
    box = home.box("slow", {".qmail": "|until [ -e go ]; do sleep 0.05; done\n"})
    home.control("concurrencylocal", "5\n")
    server = serve("--allow-programs")
    for _ in range(6):
        server.send("slow@d.com")
    server.wait_log("status: local 5/5 ")
    assert "starting delivery 6" not in server.log
    (box / "go").touch()
    server.wait_log(r"(?s)(end msg.*){6}")


def test_q_fwd_1_4_and_e_54_a_loop_of_two_boxes_bounces(home: Home, serve: Serve) -> None:
    home.box("a", {".qmail": "&b@d.com\n"})
    home.box("b", {".qmail": "&a@d.com\n"})
    home.box("s")
    server = serve()
    server.send("a@d.com", sender="s@d.com")
    wait_for(lambda: home.mail("s"), "the bounce")
    assert b"This message is looping: it already has my Delivered-To line. (#5.4.6)" in home.mail("s")[0]
    assert "invoked by uid" in home.mail("s")[0].decode()


def test_q_bounce_8_verp_end_to_end(home: Home, serve: Serve) -> None:
    home.box("joe")
    server = serve()
    server.send("joe@d.com", sender="list-owner-@host-@[]")
    server.wait_log("end msg")
    assert home.mail()[0].startswith(b"Return-Path: <list-owner-p-joe=d.com@host>\n")


def test_what_a_stranger_writes_moves_no_cursor_of_who_looks_into_the_queue(home: Home, serve: Serve) -> None:
    home.control("concurrencylocal", "0\n")
    paint = "\x1b]0;PWNED\x07\x1b[2J"
    server = serve()
    text = b"Subject: gr\xc3\xbc\xc3\x9f\n\n" + paint.encode() + b"\x9b2J\n"
    number = server.send("joe@d.com", sender=f"{paint}@d.com", text=text).split()[-1].decode()
    assert r"from <\x1b]0;PWNED\x07\x1b[2J@d.com>" in cli(home, "queue", "list").stdout
    argv = (sys.executable, "-m", "mailhost", "--home", str(home.path), "queue", "show", number)
    assert text in subprocess.run(argv, capture_output=True, check=True).stdout, "whole, for a file"
    terminal, end = pty.openpty()
    with open(terminal, "rb", buffering=0) as screen:  # noqa: PTH123 - a descriptor
        subprocess.run(argv, stdout=end, check=True)
        os.close(end)
        shown = b"".join(read_all(screen))
    assert b"\\x1b]0;PWNED\\x07\\x1b[2J\\x9b2J" in shown
    assert "grüß".encode() in shown
    assert not {0x1B, 0x07, 0x9B} & set(shown)


def read_all(screen: IO[bytes]) -> Iterator[bytes]:
    """A terminal reports the end of its last writer by EIO."""
    with contextlib.suppress(OSError):
        while piece := screen.read(4096):
            yield piece


def test_queue_show_and_delete(home: Home, serve: Serve) -> None:
    home.control("concurrencylocal", "0\n")
    server = serve()
    number = server.send("joe@d.com").split()[-1].decode()
    shown = cli(home, "queue", "show", number)
    assert "local  waiting   p-joe@d.com" in shown.stdout
    assert shown.stdout.endswith("Subject: x\n\nhello\n")
    assert cli(home, "queue", "delete", number).returncode == 0
    assert home.queued() == []
    assert cli(home, "queue", "show", number).returncode == 1
    assert cli(home, "queue", "delete", "abc").returncode == 2
    assert server.stop() == 0
    assert cli(home, "queue", "flush").returncode == 1


@pytest.mark.parametrize(
    ("remote", "route", "sink", "sends"),
    [
        ("routes", False, False, False),
        ("routes", True, False, True),
        ("mx", False, False, True),
        ("mx", True, True, False),
    ],
)
def test_what_sends_mail_on_is_imported_before_root_goes_where_mail_may_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: str, route: bool, sink: bool, sends: bool
) -> None:
    imported: list[str] = []
    monkeypatch.setattr(server.importlib, "import_module", imported.append)
    (tmp_path / "control").mkdir()
    if route:
        (tmp_path / "control/smtproutes").write_text(":127.0.0.1:2525\n")
    server.preload(Options(tmp_path, ("127.0.0.1", 0), remote=remote, sink=tmp_path / "sink" if sink else None))
    assert ("aiosmtplib" in imported, "dns.asyncresolver" in imported) == (sends, sends)
    assert "uvloop" in imported
