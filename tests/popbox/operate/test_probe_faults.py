"""popbox probe against a server that is broken on purpose: each fault is critical and named, and a sound one is OK."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.popbox import fakemail
from tests.popbox.fakemail import FakeMail, serving, stuffed

from popbox.cli.main import cli
from popbox.operate import probe
from popbox.operate.probe import PROBE_FIELD


def ran(mail: FakeMail, tmp_path: Path) -> tuple[int, str]:
    (tmp_path / "secret").write_text("testpw\n")
    clock = fakemail.Clock()
    with serving(mail), pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "time", clock)
        patch.setattr(fakemail, "time", clock)
        where = ["--smtp", str(mail.smtp), "--pop3", str(mail.pop3), "--password-file", str(tmp_path / "secret")]
        argv = ["probe", "127.0.0.1", *where, "--to", "joe@domain.com", "--login", "testid"]
        done = CliRunner().invoke(cli, argv, standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value, done.output


def changed(message: bytes) -> bytes:
    """Another token in the header field; the rest says whose copy it is."""
    return re.sub(rb"X-Popbox-Token: pb-....", b"X-Popbox-Token: pb-0000", message)


def stripped(message: bytes) -> bytes:
    """Neither token nor the probe's own field, and another Message-ID."""
    return re.sub(rb"(X-Popbox-(Token|Probe)|Message-ID): [^\r]*\r\n", b"", message).replace(b"pb-", b"")


FAULTS: dict[str, tuple[FakeMail, str]] = {
    "all doubled": (FakeMail(keep=lambda m: [(0, m), (0, b"X-Second: yes\r\n" + m)]), "delivery: it came 2 times"),
    "a second late": (FakeMail(keep=lambda m: [(0, m), (1.0, b"X-S: yes\r\n" + m)]), "delivery: it came 2 times"),
    "doubled, another token": (FakeMail(keep=lambda m: [(0, m), (0, changed(m))]), "delivery: it came 2 times"),
    "doubled, no token": (FakeMail(keep=lambda m: [(0, m), (0, stripped(m))]), "without the probe's header field"),
    "no token, late": (FakeMail(keep=lambda m: [(0, m), (1.0, stripped(m))]), "without the probe's header field"),
    "no dot-stuffing": (FakeMail(hand_out=lambda m: m + b".\r\n"), "pop3: .*(dot|octets that were sent)"),
    "dots kept by SMTP": (FakeMail(undot=False), "pop3: .*octets that were sent"),
    "sizes off by 99": (FakeMail(size=lambda m: len(m) + 99), "pop3: message 1: LIST says"),
    "bare LF": (FakeMail(hand_out=lambda m: stuffed(m).replace(b"\r\n", b"\n")), "pop3: message 1: .*bare LF"),
    "wrong count": (FakeMail(status=lambda m: b"+OK %d octets\r\n" % (len(m) + 1)), "pop3: message 1: .*announces"),
    "a line more": (FakeMail(keep=lambda m: [(0, m + b"-- \r\n")]), "pop3: .*octets that were sent"),
    "an empty line more": (FakeMail(keep=lambda m: [(0, m + b"\r\n")]), "pop3: .*octets that were sent"),
    "another sender before": (FakeMail(keep=lambda m: [(0, b"From: x@y\r\n" + m)]), "pop3: .*octets that were sent"),
    "empty lines more": (FakeMail(keep=lambda m: [(0, m + b"\r\n\r\n")]), "pop3: .*octets that were sent"),
    "another message before": (FakeMail(keep=lambda m: [(0, b"X: y\r\n\r\n" + m)]), "delivery: "),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_broken_is_critical_and_named(fault: str, tmp_path: Path) -> None:
    mail, why = FAULTS[fault]
    code, said = ran(mail, tmp_path)
    assert code == 2, said
    assert re.search(f"POPBOX CRITICAL - .*{why}", said), said


SOUND: dict[str, Callable[[], FakeMail]] = {
    "plain": FakeMail,
    "qmail": lambda: FakeMail(
        hand_out=lambda m: stuffed(m + b"\r\n"), status=lambda _: b"+OK \r\n", size=lambda m: len(m) - m.count(b"\r")
    ),
    "foreign mail in between": lambda: FakeMail(keep=lambda m: [(0, m), (0, b"Subject: news\r\n\r\nnot ours\r\n")]),
    "an earlier probe's, late": lambda: FakeMail(
        keep=lambda m: [(0, m), (0, re.sub(rb"pb-[0-9a-f]{16}", b"pb-0123456789abcdef", m))]
    ),
}


@pytest.mark.parametrize("peer", SOUND)
def test_what_is_sound_is_ok_and_nothing_of_a_probe_stays(peer: str, tmp_path: Path) -> None:
    mail = SOUND[peer]()
    code, said = ran(mail, tmp_path)
    assert code == 0, said
    assert not [octets for _, octets in mail.box if PROBE_FIELD.encode() in octets]
