"""A server that breaks mail on purpose, looked at from outside: each fault is found, and a sound one passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.popbox.fakemail import DELIVERY, FakeMail, serving, stuffed
from tests.popbox.report.test_report import a_result

from popbox.cli.main import cli
from popbox.hosts.remote import Remote, RemoteHost
from popbox.ledger import TOKEN_FIELD, new_token
from popbox.ledger.proof import Disposition
from popbox.report import html, run_report
from popbox.report.text import checklist
from popbox.result import Result, Verdict
from popbox.run.runner import Run, run
from popbox.scenario.load import load

TEXT = "Subject: hi\\nFrom: <a@b.org>\\n\\nhello\\n.a dot\\nand the last line\\n"
FETCH = "[[step]]\nwithin-s = 30\nexpect-retrieved = { message = 'hello', login = 'testid', password = 'testpw' }\n"
IN_VAIN = FETCH.replace("30", "3")
LATE_S = 0.2
SEND = f"""
title = "there and back"
[[step]]
send = {{ id = "hello", from = "a@b.org", to = ["joe@domain.com"], text = "{TEXT}" }}
"""
TELNET = """
[[step]]
telnet = '''
S: +OK...
C: USER testid
S: +OK...
C: PASS testpw
S: +OK...
C: LIST
S: +OK...
S: ...
S: .
C: RETR 1
S: +OK...
S: ...
S: .
'''
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here comes later than ``LATE_S`` after it was sent."""
    monkeypatch.setattr("popbox.ledger.reconcile.REMOTE_LATE_S", LATE_S + 0.2)


def tried(mail: FakeMail, tmp_path: Path, text: str = SEND + FETCH) -> Result:
    (tmp_path / "x.toml").write_text(text)
    with serving(mail):
        return run(load(tmp_path / "x.toml"), RemoteHost(Remote(mail.smtp, mail.pop3, allow_writes=True)))


def test_a_sound_server_passes_and_the_report_has_the_octets_of_the_wire(tmp_path: Path) -> None:
    mail = FakeMail()
    result = tried(mail, tmp_path)
    assert result.verdict is Verdict.PASSED, result.reason
    assert result.messages[0].ended is Disposition.ONCE
    octets = mail.box[0][1]
    retrieved = result.messages[0].legs[3].retrieved
    assert {(one.octets, one.sha256) for one in retrieved} == {(len(octets), sha256(octets).hexdigest())}
    assert {one.by for one in retrieved} == {"step 2", "popbox"}, "and popbox looks again at the end"


def test_what_lay_there_before_and_foreign_mail_do_no_harm(tmp_path: Path) -> None:
    mail = FakeMail(keep=lambda message: [(0.0, message), (0.5, b"Subject: something else\r\n\r\nnews\r\n")])
    mail.box = [(0.0, DELIVERY + TEXT.replace("\\n", "\r\n").encode())]  # an earlier run's, whose token is unknown
    result = tried(mail, tmp_path)
    assert result.verdict is Verdict.PASSED, result.reason


def qmails(message: bytes) -> bytes:
    """qmail-pop3d: an empty line more (Q-POP3-13)."""
    return stuffed(message + b"\r\n")


def test_qmail_pop3d_with_its_extra_line_and_its_sizes_is_sound(tmp_path: Path) -> None:
    mail = FakeMail(
        hand_out=qmails, status=lambda _: b"+OK \r\n", size=lambda message: len(message) - message.count(b"\r")
    )
    result = tried(mail, tmp_path)
    assert result.verdict is Verdict.PASSED, result.reason


Change = Callable[[bytes], bytes]
ENDLESS = "no CR LF at the end"
WIRE: dict[str, tuple[FakeMail, str]] = {
    "bare LF": (FakeMail(hand_out=lambda m: stuffed(m).replace(b"\r\n", b"\n")), "line 1 ends in a bare LF"),
    "one bare LF": (FakeMail(hand_out=lambda m: stuffed(m).replace(b"hello\r\n", b"hello\n")), "ends in a bare LF"),
    "bare LF at the end": (FakeMail(hand_out=lambda m: stuffed(m)[:-3] + b".\n"), "ends in a bare LF"),
    ENDLESS: (FakeMail(hand_out=lambda m: stuffed(m[:-2])), "closed the connection|timeout|waited"),
    "CR CR LF": (FakeMail(hand_out=lambda m: stuffed(m.replace(b"hello\r", b"hello\r\r"))), "octets that were sent"),
    "bare CR": (FakeMail(hand_out=lambda m: stuffed(m.replace(b"hello\r\n", b"hello\r"))), "octets that were sent"),
    "bare CR before": (FakeMail(hand_out=lambda m: stuffed(b"X-A: b\rc\r\n" + m)), "not those that|announces"),
    "NUL for a letter": (FakeMail(hand_out=lambda m: stuffed(m.replace(b"hello", b"hel\0o"))), "octets that were sent"),
    "NUL in the header": (FakeMail(keep=lambda m: [(0, b"X-A: \0\r\n" + m)]), "not those that were sent"),
    "no dot-stuffing": (FakeMail(hand_out=lambda m: m + b".\r\n"), "a dot that was not doubled"),
    "dots kept by SMTP": (FakeMail(undot=False), "octets that were sent"),
    "lines folded": (FakeMail(hand_out=lambda m: stuffed(m.replace(b"last line", b"last\r\n line"))), "that were sent"),
    "an empty line more": (FakeMail(keep=lambda m: [(0, m + b"\r\n")]), "that were sent"),
    "another subject before": (FakeMail(keep=lambda m: [(0, b"Subject: x\r\n" + m)]), "that were sent"),
    "wrong count": (FakeMail(status=lambda m: b"+OK %d octets\r\n" % (len(m) + 99)), "announces [0-9]+ octets"),
    "LF count": (FakeMail(status=lambda m: b"+OK %d octets\r\n" % (len(m) - 8)), "announces [0-9]+ octets"),
    "sizes off": (FakeMail(size=lambda m: len(m) + 99), "LIST says [0-9]+ octets"),
    "first line too long": (FakeMail(status=lambda m: b"+OK " + b"x" * 600 + b"\r\n"), "more than 512 octets"),
    "a body before it": (FakeMail(keep=lambda m: [(0, b"Subject: o\r\n\r\nother\r\n" + m)]), "no message of"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WIRE)
@pytest.mark.parametrize("how", [IN_VAIN, TELNET], ids=["expect-retrieved", "telnet"])
def test_what_is_wrong_on_the_wire_fails_the_run(
    fault: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail, why = WIRE[fault]
    mail.box.clear()
    if fault == ENDLESS:  # waited for until each deadline
        for name in ("boxes.LOOK_S", "pickup.FETCH_S"):
            monkeypatch.setattr(f"popbox.ledger.{name}", 2.0)
        how = how.replace(TELNET, TELNET.replace("telnet", "within-s = 2\ntelnet"))
    result = tried(mail, tmp_path, SEND + how)
    assert result.verdict is Verdict.FAILED
    said = result.reason + "".join(message.why for message in result.messages)
    if how == IN_VAIN:
        assert re.search(why, said), said


COPIES: dict[str, Callable[[bytes], list[tuple[float, bytes]]]] = {
    "the same again": lambda m: [(0, m), (0, b"X-Second: yes\r\n" + m)],
    "late": lambda m: [(0, m), (LATE_S, b"X-Second: yes\r\n" + m)],
    "another token": lambda m: [(0, m), (0, re.sub(rb"Token: pb-....", b"Token: pb-0000", m))],
    "no token": lambda m: [(0, m), (0, re.sub(rb"X-Popbox-Token: [^\r]*\r\n", b"", m))],
    "no token, and late": lambda m: [(0, m), (LATE_S, re.sub(rb"X-Popbox-Token: [^\r]*\r\n", b"", m))],
    "no token, and changed": lambda m: [(0, m), (0, re.sub(rb"X-Popbox-[^\r]*\r\n", b"", m) + b"-- \r\na footer\r\n")],
    "no token, no header": lambda m: [(0, m), (0, m.partition(b"\r\n\r\n")[2])],
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_second_copy_is_counted_whatever_became_of_its_token(copy: str, tmp_path: Path) -> None:
    result = tried(FakeMail(keep=COPIES[copy]), tmp_path)
    assert (result.verdict, result.messages[0].ended) == (Verdict.FAILED, Disposition.DOUBLED), result.messages[0].why
    assert result.messages[0].legs[3].verdict.value == "failed"


def test_a_message_of_a_run_beside_this_one_is_no_copy(tmp_path: Path) -> None:
    """Scenarios of one ``popbox run`` run side by side and may share a box: it has another token and the same lines."""
    beside = f"{TOKEN_FIELD}: {new_token()}".encode()
    mail = FakeMail(keep=lambda m: [(0, m), (0, re.sub(rb"X-Popbox-Token: [^\r]*", beside, m))])
    result = tried(mail, tmp_path)
    assert result.verdict is Verdict.PASSED, result.reason


def test_a_message_whose_token_did_not_survive_is_not_proved_by_its_lines(tmp_path: Path) -> None:
    stripped = FakeMail(keep=lambda m: COPIES["no token"](m)[1:])
    result = tried(stripped, tmp_path, SEND + TELNET)
    assert (result.verdict, result.messages[0].ended) == (Verdict.FAILED, Disposition.CORRUPTED), result.messages[0].why


def test_a_250_alone_is_no_proof(tmp_path: Path) -> None:
    result = tried(FakeMail(), tmp_path, SEND)
    assert (result.verdict, result.messages[0].ended) == (Verdict.NOT_PROVED, Disposition.UNKNOWN)
    assert result.reason.startswith("message 'hello': accepted, but what became of it is unknown: no log: ")


def test_a_log_that_says_success_is_no_proof_of_a_box(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        "new msg 7\ninfo msg 7: bytes 9 from <a@b.org> qp 1 uid 1\nstarting delivery 1: msg 7 to local joe@domain.com\n"
        "delivery 1: success: did_1+0+0/\nend msg 7\n"
    )
    (tmp_path / "x.toml").write_text(SEND)
    with serving(FakeMail()) as mail:
        remote = Remote(mail.smtp, mail.pop3, log_command=f"cat {tmp_path}/log", allow_writes=True)
        host = RemoteHost(remote)
        host.log = lambda _service: (tmp_path / "log").read_text() if host.asked else ""  # type: ignore[method-assign, attr-defined]
        host.asked = False  # type: ignore[attr-defined]
        going = Run(load(tmp_path / "x.toml"), host)
        host.asked = True  # type: ignore[attr-defined]
        going.take(going.context.file.scenario.step[0])
        result = going.result()
    assert (result.verdict, result.messages[0].ended) == (Verdict.NOT_PROVED, Disposition.UNKNOWN), result.reason


NOT_DONE = 'title = "elsewhere"\nproves = ["H-1"]\nneeds = { host = ["docker"] }\n[[step]]\nhup = "smtp"\n'


def test_the_exit_code_is_zero_only_for_a_proof_or_for_what_was_asked_to_count(tmp_path: Path) -> None:
    for name, text in (("sends.toml", SEND), ("fetches.toml", SEND + FETCH), ("skipped.toml", NOT_DONE)):
        (tmp_path / name).write_text(text)
    with serving(FakeMail()) as mail:
        there = ["--host", "remote", "--smtp", str(mail.smtp), "--pop3", str(mail.pop3), "--allow-writes"]

        def code(*argv: str) -> tuple[int, str]:
            names = [str(tmp_path / word) if word.endswith(".toml") else word for word in argv]
            done = CliRunner().invoke(cli, ["run", *names, *there], standalone_mode=False)
            return done.return_value, done.output

        assert code("sends.toml")[0] == 4
        assert "NOT PROVED: there and back" in code("sends.toml", "fetches.toml")[1]
        assert code("sends.toml", "fetches.toml")[0] == 4
        assert code("sends.toml", "--allow-unproved")[0] == 0
        assert code("fetches.toml")[0] == 0
        assert code("fetches.toml", "skipped.toml")[0] == 0
        assert code("skipped.toml")[0] == 4
        assert code("skipped.toml", "--allow-empty")[0] == 0
        assert code("sends.toml", "--allow-empty")[0] == 4


def test_what_was_skipped_is_listed_as_no_proof(tmp_path: Path) -> None:
    proved, skipped = (a_result(verdict, verdict.value, ["H-1"]) for verdict in (Verdict.PASSED, Verdict.SKIPPED))
    skipped = skipped.model_copy(update={"reason": "no engine", "messages": (), "steps": ()})
    only = skipped.model_copy(update={"proves": ["H-2"]})
    lines = list(checklist([proved, skipped, only]))
    assert lines[-2].split() == ["passed", "H-1", "passed"]
    assert lines[-1].split(maxsplit=2) == ["skipped", "H-2", "no proof in this run: no engine"]
    page = html.render(run_report.make("local", "stand-in", "", proved.began, [proved, skipped, only]))
    assert page.count(">proof</a>") == 1
    assert "skipped, no proof in this run" in page
