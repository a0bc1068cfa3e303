"""No password in what is shown: transcripts, replies, errors, reports, pytest's own output."""

from __future__ import annotations

import base64
import re
import shlex
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.popbox.peer import peer

from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.clients.secret import MASK, Secrets, masked
from popbox.errors import ConnectionFailed
from popbox.hosts.base import Ran
from popbox.hosts.local import LocalHost
from popbox.hosts.remote import Remote, RemoteHost
from popbox.hosts.state import Registry
from popbox.report import html, run_report
from popbox.report.text import step_lines
from popbox.result import StepResult, Verdict
from popbox.run import own_password, runner
from popbox.run.own_password import random_password
from popbox.run.runner import Watcher
from popbox.run.verbs import declare
from popbox.scenario.load import ScenarioFile, load
from popbox.scenario.model import Scenario
from popbox.testing import Mailbox, Password

PLAIN = base64.b64encode(b"\0joe\0s3cret").decode()
SHOWN = {
    "PASS s3cret": f"PASS {MASK}",
    "pass s3 cret ": f"pass {MASK}",
    " PASS s3cret": f" PASS {MASK}",
    f"AUTH PLAIN {PLAIN}": f"AUTH PLAIN {MASK}",
    f"auth login {PLAIN}": f"auth login {MASK}",
    f"AUTH XOAUTH2 {PLAIN}": f"AUTH XOAUTH2 {MASK}",
    "AUTH PLAIN": "AUTH PLAIN",
    "AUTH PLAIN =": "AUTH PLAIN =",
    "AUTH SCRAM-SHA-256 biws": "AUTH SCRAM-SHA-256 biws",
    "APOP joe c4c9334bac560ecc979e58001b3e22fb": "APOP joe c4c9334bac560ecc979e58001b3e22fb",
    "USER PASS x": "USER PASS x",
    "PASS": "PASS",
    "PASSWORD x": "PASSWORD x",
}


@pytest.mark.parametrize("said", SHOWN)
def test_a_password_in_a_command_is_masked_and_nothing_else(said: str) -> None:
    assert masked(said) == SHOWN[said]


def shown(*lines: str) -> list[str]:
    secrets = Secrets()
    return [secrets.sent(line[3:])[0] if line[0] == "C" else secrets.heard(line[3:]) for line in lines]


CONVERSATIONS = {
    "a continued AUTH": (
        ["S: +OK hi", "C: AUTH PLAIN", "S: + ", f"C: {PLAIN}", "S: +OK", "C: STAT", "S: +OK 1 5"],
        ["+OK hi", "AUTH PLAIN", "+ ", MASK, "+OK", "STAT", "+OK 1 5"],
    ),
    "one that is given up": (
        ["S: +OK hi", "C: AUTH PLAIN", "S: + ", "C: *", "S: -ERR", "C: NOOP"],
        ["+OK hi", "AUTH PLAIN", "+ ", "*", "-ERR", "NOOP"],
    ),
    "SCRAM": (
        ["S: +OK hi", "C: AUTH SCRAM-SHA-256", "S: +", "C: biwsbj1qb2U=", "S: + cj0x", "C: Yz1iaXdz", "S: +OK"],
        ["+OK hi", "AUTH SCRAM-SHA-256", "+", "biwsbj1qb2U=", "+ cj0x", "Yz1iaXdz", "+OK"],
    ),
    "a server that says it back": (
        ["S: +OK hi", "C: PASS s3cret", "S: -ERR PASS s3cret?", "C: NOOP", "S: -ERR after s3cret"],
        ["+OK hi", f"PASS {MASK}", f"-ERR PASS {MASK}?", "NOOP", f"-ERR after {MASK}"],
    ),
    "digits are no secret elsewhere": (
        ["S: +OK hi", "C: PASS 320", "S: +OK", "C: LIST", "S: +OK", "S: 1 320", "S: 4 320", "S: 354 320", "C: PASS x"],
        ["+OK hi", f"PASS {MASK}", "+OK", "LIST", "+OK", "1 320", "4 320", "354 320", f"PASS {MASK}"],
    ),
    "SMTP, whose messages hold no password": (
        ["S: 220 x", f"C: AUTH PLAIN {PLAIN}", "S: 235 ok", "C: DATA", "S: 354 go", "C: PASS s3cret", "C: .", "S: 250"],
        ["220 x", f"AUTH PLAIN {MASK}", "235 ok", "DATA", "354 go", "PASS s3cret", ".", "250"],
    ),
    "SMTP AUTH LOGIN": (
        [
            "S: 220 x",
            "C: AUTH LOGIN",
            "S: 334 VXNlcg==",
            "C: am9l",
            "S: 334 UGFzcw==",
            "C: czNjcmV0",
            "S: 535 no czNjcmV0",
        ],
        ["220 x", "AUTH LOGIN", "334 VXNlcg==", MASK, "334 UGFzcw==", MASK, f"535 no {MASK}"],
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation(name: str) -> None:
    said, wanted = CONVERSATIONS[name]
    assert shown(*said) == wanted


def test_neither_log_nor_errors_of_a_connection_have_it() -> None:
    script = (b"+OK hi\r\n", b"+OK\r\n", b"-ERR no s3cret here\r\n", b"")
    with peer(script) as told, Pop3(told.address, 10) as session:
        with pytest.raises(Pop3Refused) as refused:
            session.login("joe", "s3cret")
        with pytest.raises(ConnectionFailed) as broken:
            session.command("PASS s3cret")
    assert "s3cret" not in f"{refused.value}{broken.value}{session.wire.transcript()}{session.wire.log}"
    assert str(refused.value) == f"PASS {MASK}: -ERR no {MASK} here"
    assert str(broken.value).endswith(f"last: C: PASS {MASK}")


DIALOGUE = """
title = "a login of the run's own"
[accounts.domains."masked.example".mailboxes.joe]
login = "masked"
crypt = "DmIMm9e5Hc8ic"
[[step]]
telnet = '''
S: +OK...
C: USER masked
S: +OK...
C: PASS testpw
S: +OK...
C: QUIT
S: +OK...
'''
[[step]]
declare = { argv = ["mailbox", "passwd", "joe@masked.example", "--password-stdin"], stdin = "another\\n" }
[[step]]
telnet = '''
S: +OK...
C: USER masked
S: +OK...
C: PASS another
S: +OK... and no more
'''
"""


class Listening(Watcher):
    """Keeps what a screen would show."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def step_begins(self, file: ScenarioFile, number: int, name: str, awaits: str) -> None:
        self.seen.append(awaits)

    def step_ended(self, file: ScenarioFile, step: StepResult) -> None:
        self.seen.append(step.model_dump_json())


def test_the_passwords_of_a_remote_run_are_in_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def known() -> str:
        made.append(random_password())
        return made[-1]

    monkeypatch.setattr(runner, "random_password", known)
    monkeypatch.setattr(own_password, "random_password", known)
    (tmp_path / "x.toml").write_text(DIALOGUE)
    watcher = Listening()
    with closing(LocalHost.start(Registry(tmp_path / "state"))) as server:
        program = shlex.join([sys.executable, "-m", "mailhost", "--home", server.home()])
        remote = Remote(server.address("smtp"), server.address("pop3"), "unknown", "", program, allow_writes=True)
        result = runner.run(load(tmp_path / "x.toml"), RemoteHost(remote), watcher)
    assert (result.verdict, len(result.steps)) == (Verdict.FAILED, 4), result.reason
    assert f"C: PASS {MASK}" in result.steps[1].seen.transcript
    report = run_report.make("remote", "unknown", "", datetime.now(UTC), [result])
    lines = [line for step in result.steps for line in step_lines(step, transcripts=True)]
    shown_ = "\n".join([run_report.as_json(report), html.render(report), *watcher.seen, *lines])
    assert len(made) >= 2
    for password in (*made, "another"):
        assert password not in shown_


def test_a_password_that_a_mailbox_says_is_another_one_on_host_remote() -> None:
    box = {"login": "joe", "password": "said"}
    step = {"expect-retrieved": {"login": "joe", "password": "said"}}
    sent = {"send": {"from": "", "to": "joe@d.example"}}
    table = {"title": "t", "accounts": {"domains": {"d.example": {"mailboxes": {"joe": box}}}}, "step": [sent, step]}
    there = own_password.replaced(Scenario.model_validate(table), "random", "hash")
    made = there.accounts.domains["d.example"].mailboxes["joe"]
    assert (made.crypt, made.password) == ("hash", None)
    assert there.step[1].spec.password.get_secret_value() == "random"


def test_pytest_shows_no_password_of_a_mailbox() -> None:
    box = Mailbox("joe@x.example", "joe", Password("s3cret"), None)  # type: ignore[arg-type]
    assert "s3cret" not in f"{box!r} {box.password!r} {[box.password]}"
    assert f"{box.password}" == "s3cret"


def test_a_generated_password_that_a_step_prints_is_masked() -> None:
    printed = "added mailbox joe@x.example\npassword: s3cret\n"
    seen = declare._judge(Listener(), Ran((), 0, printed, ""), "mailhost", 0, r"password: (?P<new>\S+)")  # type: ignore[arg-type]
    assert "s3cret" not in seen.model_dump_json()
    failed = declare._judge(Listener(), Ran((), 1, printed, ""), "mailhost", 0, None)  # type: ignore[arg-type]
    assert f"password: {MASK}" in failed.hint
    assert "s3cret" not in failed.model_dump_json()


class Listener:
    """As much of a `Context` as a judgement needs."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}

    @staticmethod
    def search(pattern: str, text: str) -> re.Match[str] | None:
        return re.search(pattern, text)
