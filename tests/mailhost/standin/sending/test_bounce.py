"""Bounces, VERP and retry times: pure rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mailhost.standin.support import Home

from mailhost.qmail.control import Controls, Reader, load
from mailhost.standin.sending import bounce, retry


@pytest.fixture
def controls(home: Home) -> Controls:
    home.control("virtualdomains", "d.com:p\njoe@whole.org:w\n.suffix.org:s\n")
    return load(home.path, Reader.SEND)


def head(controls: Controls, sender: bytes, *failures: tuple[bytes, bytes]) -> bytes:
    built = bounce.build(controls, sender, failures, 0)
    assert built
    return built.head


def test_q_bounce_1_2_3_shape(controls: Controls) -> None:
    built = bounce.build(controls, b"a b@x.org", [(b"p-joe@d.com", b"one\n"), (b"q@r", b"")], 0)
    assert built
    assert (built.sender, built.recipient) == (b"", b"a b@x.org")
    header, _, body = built.head.partition(b"\n\n")
    assert header.splitlines() == [
        b"Date: 1 Jan 1970 00:00:00 -0000",
        b"From: MAILER-DAEMON@mx.example.net",
        b'To: "a b"@x.org',
        b"Subject: failure notice",
    ]
    paragraphs = body.split(b"\n\n")
    assert paragraphs[0].startswith(b"Hi. This is the popbox stand-in mail program at mx.example.net.\n")
    assert paragraphs[1:3] == [b"<joe@d.com>:\none", b"<q@r>:"]
    assert built.head.endswith(b'--- Below this line is a copy of the message.\n\nReturn-Path: <"a b"@x.org>\n')
    assert b"qmail" not in built.head


def test_q_bounce_4_and_e_69_the_prefix_goes_only_for_the_domains_own_entry(controls: Controls) -> None:
    for address, shown in (
        (b"p-joe@D.com", b"joe@D.com"),
        (b"w-joe@whole.org", b"w-joe@whole.org"),
        (b"s-joe@a.suffix.org", b"joe@a.suffix.org"),
        (b"x-joe@d.com", b"x-joe@d.com"),
    ):
        assert bounce.without_prefix(controls, address) == shown


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        (b"one\n\n\ntwo", b"one\n//two\n"), (b"\n\nx\n", b"//x\n"), (b"\n", b"\n"), (b"\n\n", b"/\n"),
        (b"x\n\n\ny\n\n\n", b"x\n//y\n/\n"), (b"x\n\n", b"x\n\n"), (b"", b""), (b"x", b"x\n"),
    ],
)  # fmt: skip
def test_q_bounce_5_a_report_cannot_end_its_paragraph(controls: Controls, report: bytes, shown: bytes) -> None:
    assert b"\n<a_b@c>:\n" + shown + b"\n---" in head(controls, b"s@x", (b"a\nb@c", report))


def test_q_bounce_6_7_and_e_70_double_and_triple(controls: Controls) -> None:
    built = bounce.build(controls, b"", [(b"a@b", b"r\n")], 0)
    assert built
    assert (built.sender, built.recipient) == (b"#@[]", b"postmaster@mx.example.net")
    assert built.head.endswith(b"--- Below this line is the original bounce.\n\nReturn-Path: <>\n")
    assert bounce.build(controls, b"#@[]", [(b"a@b", b"r\n")], 0) is None


def test_q_bounce_8_verp() -> None:
    verp = b"list-owner-@host-@[]"
    assert bounce.envelope_sender(verp, b"r@d") == b"list-owner-r=d@host"
    assert bounce.envelope_sender(b"plain@host", b"r@d") == b"plain@host"
    assert bounce.without_verp(verp) == b"list-owner-@host"


def test_q_bounce_8_the_end_of_a_verp_sender_is_dropped_whatever_precedes_it(controls: Controls) -> None:
    failures = [(b"a@b", b"r\n")]
    assert bounce.envelope_sender(b"x-@[]", b"r@d") == b"x-@[]"
    built = bounce.build(controls, b"x-@[]", failures, 0)
    assert built
    assert (built.sender, built.recipient) == (b"", b"x")
    assert built.head.endswith(b"Return-Path: <x>\n")
    assert bounce.build(controls, b"-@[]", failures, 0) == bounce.build(controls, b"", failures, 0)
    assert bounce.build(controls, b"#@[]-@[]", failures, 0) is None


def test_a_nul_in_a_control_file_ends_an_address(home: Home) -> None:
    home.control("doublebounceto", b"s\0D\n")
    built = bounce.build(load(home.path, Reader.SEND), b"", [(b"a@b", b"r\n")], 0)
    assert built
    assert built.recipient == b"s"


def test_q_bounce_9_without_me(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control/locals").write_text("x\n")
    built = bounce.build(load(tmp_path, Reader.SEND), b"", [(b"a@b", b"r\n")], 0)
    assert built
    assert built.recipient == b"postmaster@doublebouncehost"
    assert b"From: MAILER-DAEMON@bouncehost\n" in built.head


def test_q_send_13_retry_times() -> None:
    birth, times, now = 1000.0, [], 1000.0
    for _ in range(4):
        now = retry.next_try(birth, now, local=True)
        times.append(now - birth)
    assert times == [100, 400, 900, 1600]
    assert retry.next_try(birth, birth, local=False) - birth == 400
    assert retry.next_try(birth, birth - 50, local=True) - birth == 100  # a clock that went back


def test_q_send_14_the_last_try() -> None:
    assert not retry.is_last(0, 604800, 604800)
    assert retry.is_last(0, 604801, 604800)
