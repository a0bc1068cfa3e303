"""Host remote: another server is looked at, changed only where allowed, and what cannot be done says why."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.popbox import ROOT

from popbox.cli.main import cli
from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.clients.wire import Address
from popbox.errors import HostError
from popbox.hosts.base import Ability, closing
from popbox.hosts.local import LocalHost
from popbox.hosts.remote import Remote, RemoteHost, joined
from popbox.hosts.state import Registry
from popbox.result import Result, Verdict
from popbox.run.runner import run
from popbox.scenario.load import load

NOWHERE = Address("mx.invalid", 25), Address("mx.invalid", 110)
SEND = 'send = { from = "paul@example.org", to = ["joe@domain.com"] }'
ROUND_TRIP = f"""
title = "there and back"
[[step]]
{SEND}
[[step]]
wait-until = {{ done = "message" }}
[[step]]
expect-retrieved = {{ login = "testid", password = "testpw" }}
"""
LOOKS = """
title = "only looks"
[[step]]
wait-until = { answers = "smtp" }
[[step]]
telnet = '''
S: +OK...
C: USER testid
S: +OK...
C: PASS testpw
S: +OK...
C: STAT
S~ \\+OK [0-9]+ [0-9]+
C: QUIT
S: +OK...
'''
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    """A server that happens to be ours, with joe@domain.com on it."""
    with closing(LocalHost.start(Registry(tmp_path_factory.mktemp("state")))) as host:
        for argv in (
            ("domain", "add", "domain.com"),
            ("mailbox", "add", "joe@domain.com", "--login", "testid", "--crypt", "DmIMm9e5Hc8ic"),
        ):
            assert host.run(*argv).code == 0
        yield host


def told(server: LocalHost, *, log: bool = True, mailhost: bool = True, writes: bool = True) -> Remote:
    """What an operator would say of it."""
    shown = f"tail -n 60 {shlex.quote(str(Path(server.home()).parent / 'log/smtp.log'))}" if log else ""
    program = shlex.join([sys.executable, "-m", "mailhost", "--home", server.home()]) if mailhost else ""
    return Remote(server.address("smtp"), server.address("pop3"), "unknown", shown, program, writes)


def tried(tmp_path: Path, text: str, remote: Remote) -> Result:
    (tmp_path / "x.toml").write_text(text)
    return run(load(tmp_path / "x.toml"), RemoteHost(remote))


def test_a_message_goes_there_and_back(server: LocalHost, tmp_path: Path) -> None:
    result = tried(tmp_path, ROUND_TRIP, told(server))
    assert (result.verdict, result.host, result.mta) == (Verdict.PASSED, "remote", "unknown"), result.reason
    assert result.messages[0].ended.value == "delivered exactly once"


def test_without_a_log_pop3_alone_proves_it(server: LocalHost, tmp_path: Path) -> None:
    text = ROUND_TRIP.replace('[[step]]\nwait-until = { done = "message" }\n', "")
    result = tried(tmp_path, text, told(server, log=False, mailhost=False))
    assert result.verdict is Verdict.PASSED, result.reason


def test_read_only_looks_and_writes_nothing(server: LocalHost, tmp_path: Path) -> None:
    before = server.log("smtp")
    assert tried(tmp_path, LOOKS, told(server, writes=False)).verdict is Verdict.PASSED
    refused = tried(tmp_path, ROUND_TRIP, told(server, writes=False))
    assert (refused.verdict, refused.steps) == (Verdict.SKIPPED, ())
    assert refused.reason == "step 1.send: it sends mail, and host remote is read-only: --allow-writes allows that"
    assert server.log("smtp") == before


STEPS = {
    'send = { dialogue = "S: 220...\\nC: DATA\\nS: 5..." }': "it sends mail",
    'telnet = "S: +OK...\\nC: DELE 1\\nS: +OK..."': "it deletes mail",
    'telnet = { service = "smtp", transcript = "S: 220...\\nC: data\\nS: 5..." }': "it sends mail",
    'telnet = { service = "chain", transcript = "S: +OK..." }': "no program is started on it",
    'declare = { argv = ["lint"] }': "it changes accounts",
    'maildir = { mailbox = "joe@domain.com", new = 0, cur = 0 }': "its files cannot be read",
    'file = { path = "control/me", has = "x" }': "its files cannot be read",
    'write = { path = "control/me", text = "x" }': "no file is changed",
    'break = { remove = "control/me" }': "no file is changed",
    'hup = "smtp"': "no process signalled",
    'shell = { script = "true" }': "no program is started on it",
    'explain = { address = "joe@domain.com" }': "no mailhost program",
    'log = { service = "smtp", says = "x" }': "shows no log",
}


@pytest.mark.parametrize("step", STEPS)
def test_what_it_cannot_do_skips_with_the_reason(step: str, server: LocalHost, tmp_path: Path) -> None:
    text = f'title = "t"\n[[step]]\nwait-until = {{ answers = "smtp" }}\n[[step]]\n{step}\n'
    result = tried(tmp_path, text, told(server, log=False, mailhost=False, writes=False))
    assert (result.verdict, result.steps) == (Verdict.SKIPPED, ())
    assert re.match(rf"step 2\.[a-z-]+: .*{STEPS[step]}", result.reason), result.reason


@pytest.mark.parametrize("needs", ["own-host", "own-disk"])
def test_it_is_nobodys_own(needs: str, server: LocalHost, tmp_path: Path) -> None:
    result = tried(tmp_path, f"needs = {{ {needs} = true }}\n{LOOKS}", told(server))
    assert result.reason == "needs.own-host: host remote is not ours: others use it"


def test_every_ability_is_decided() -> None:
    host = RemoteHost(Remote(*NOWHERE))
    assert all(host.cannot(ability) for ability in Ability)


LOG_CASES = [
    ("", "a\nb\n", "a\nb\n"),
    ("a\nb\n", "b\nc\n", "a\nb\nc\n"),
    ("a\n", "x\n", "a\nx\n"),
    ("a\n", "a\n", "a\n"),
]


@pytest.mark.parametrize(("old", "now", "whole"), LOG_CASES)
def test_the_end_of_a_log_is_followed(old: str, now: str, whole: str) -> None:
    assert joined(old, now) == whole


def test_over_ssh_each_word_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    (tmp_path / "ssh").chmod(0o755)
    remote = Remote(*NOWHERE, mailhost_command=f"{tmp_path}/ssh mx printf %s.")
    assert RemoteHost(remote).run("explain", "two words", "$(id)").stdout == "explain.two words.$(id)."


USAGE = {
    ("--host", "remote"): "--host remote needs --smtp HOST:PORT",
    ("--host", "remote", "--smtp", "mx:25"): "--host remote needs --pop3 HOST:PORT",
    ("--host", "remote", "--smtp", "mx", "--pop3", "mx:110"): "--smtp mx: HOST:PORT is wanted",
    ("--host", "remote", "--smtp", "mx:25", "--pop3", "mx:0"): "--pop3 mx:0: HOST:PORT is wanted",
    ("--host", "remote", "--smtp", "mx:25", "--pop3", "mx:110", "--keep"): "host remote stays as it is",
    ("--host", "local", "--allow-writes"): "--allow-writes is for --host remote, this is local",
    ("--host", "remote", "--mta", "postfix"): "'postfix' is not one of",
}


@pytest.mark.parametrize("argv", USAGE)
def test_what_does_not_fit_together_is_refused(argv: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, ["run", *argv])
    assert (done.exit_code, USAGE[argv] in done.output) == (2, True), done.output


def test_the_command_line_says_what_the_mta_is(server: LocalHost, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(LOOKS)
    argv = ["--host", "remote", "--smtp", str(server.address("smtp")), "--pop3", str(server.address("pop3"))]
    said = [
        subprocess.run(
            [sys.executable, "-m", "popbox", "run", str(tmp_path / "x.toml"), *argv, *mta],
            capture_output=True, text=True, check=False, cwd=ROOT,
        ).stdout.splitlines()
        for mta in ([], ["--mta", "qmail"])
    ]  # fmt: skip
    assert [lines[-1] for lines in said] == [
        "1 passed; host remote, MTA unknown",
        "1 passed; host remote, MTA qmail",
    ]


DECLARES = """
title = "accounts of its own"
[accounts.domains."made.example".mailboxes.ann]
login = "madeann"
crypt = "{crypt}"
[accounts.domains."domain.com".mailboxes.guest]
login = "madeguest"
crypt = "{crypt}"
[[step]]
declare = {{ argv = ["mailbox", "add", "late@made.example", "--generate"] }}
[[step]]
declare = {{ argv = ["mailbox", "disable", "joe@domain.com"] }}
"""
NOBODYS = (
    "$6$rounds=5000$abcdefgh$yVfUwsw5T.JApa8POvClA1pQ5peiq97DUNyXCZN5IrF.BMSkiaLSvaoYNIAbWZYdmYVGjRsPWsc9bIHQXVUGW1"
)


def addresses(server: LocalHost) -> set[str]:
    return {row["address"] for row in json.loads(server.run("mailbox", "list", "--json").stdout)}


def test_what_a_run_declares_it_takes_back_and_says_what_it_leaves(server: LocalHost, tmp_path: Path) -> None:
    before, said = addresses(server), list[str]()
    (tmp_path / "x.toml").write_text(DECLARES.format(crypt=NOBODYS))
    with closing(RemoteHost(told(server), said.append)) as host:
        result = run(load(tmp_path / "x.toml"), host)
        assert result.verdict is Verdict.PASSED, result.reason
        assert addresses(server) - before == {"ann@made.example", "late@made.example", "guest@domain.com"}
        server.run("mailbox", "add", "theirs@domain.com", "--generate")
    assert addresses(server) == {*before, "theirs@domain.com"}, "what others make during the run stays"
    assert sorted(line.partition(";")[0] for line in said) == [
        "left on host remote: mailbox joe@domain.com was there before this run and is changed",
        "taken back from host remote: domain made.example",
        "taken back from host remote: mailbox guest@domain.com",
    ]
    server.run("mailbox", "enable", "joe@domain.com")
    server.run("mailbox", "del", "theirs@domain.com")


def test_a_domain_in_which_others_have_made_boxes_stays(server: LocalHost, tmp_path: Path) -> None:
    said = list[str]()
    host = RemoteHost(told(server), said.append)
    host.run("domain", "add", "shared.example")
    server.run("mailbox", "add", "theirs@shared.example", "--generate")
    host.close()
    assert said == ["left on host remote: domain shared.example, in which others have made theirs"]
    assert "theirs@shared.example" in addresses(server)
    server.run("domain", "del", "shared.example", "--purge")


LOGIN = """[[step]]
telnet = '''
S: +OK...
C: USER {login}
S: +OK...
C: PASS {password}
S: {answer}
'''
"""
MAIL = """[[step]]
send = { from = "paul@example.org", to = ["ann@made.example"] }
[[step]]
expect-retrieved = { login = "madeann", password = "testpw" }
"""
CHANGED = """[[step]]
declare = { argv = ["mailbox", "passwd", "ann@made.example", "--password-stdin"], stdin = "another\\n" }
"""


def login(name: str, password: str, *, taken: bool = True) -> str:
    return LOGIN.format(login=name, password=password, answer="+OK..." if taken else "-ERR...")


def test_a_declared_login_has_a_password_of_the_runs_own(server: LocalHost, tmp_path: Path) -> None:
    """The scenario runs as it stands, a login of the server's own keeps its password, and no known one opens a box."""
    text = DECLARES.format(crypt="DmIMm9e5Hc8ic").partition("[[step]]")[0]
    text += login("madeann", "testpw") + login("madeann", "wrong", taken=False) + login("testid", "testpw") + MAIL
    text += CHANGED + login("madeann", "testpw", taken=False) + login("madeann", "another")
    (tmp_path / "x.toml").write_text(text)
    with closing(RemoteHost(told(server))) as host:
        result = run(load(tmp_path / "x.toml"), host)
        assert result.verdict is Verdict.PASSED, result.reason
        lines = server.read("users/poppasswd").decode().splitlines()
        hashes = {line.split(":")[0]: line.split(":")[1] for line in lines}
        assert {name for name, crypt in hashes.items() if crypt == "DmIMm9e5Hc8ic"} == {"testid"}
        for password in ("testpw", "another"):
            with Pop3(server.address("pop3"), 10) as session, pytest.raises(Pop3Refused):
                session.login("madeann", password)
    assert "madeann" not in server.read("users/poppasswd").decode()


ANN = '[accounts.domains."made.example".mailboxes.ann]\nlogin = "madeann"\ncrypt = "DmIMm9e5Hc8ic"\n'
ADD = '[[step]]\ndeclare = { argv = ["mailbox", "add", "ann@made.example"'
SECRET = ', "--password-stdin"], stdin = "secret" }\n'
UNFIT = {
    ANN + '[[step]]\ndeclare = { argv = ["export"], says = "DmIMm9e5Hc8ic" }\n': "step 1.declare: the password that",
    ANN + '[[step]]\nlog = { service = "pop3", says = "x", never = "testpw" }\n': "step 1.log: the password that",
    ANN + login("madeann", "other"): "step 1.telnet: the login madeann has a password that no declaration",
    ANN.replace('login = "madeann"\n', "") + login("another", "testpw"): "step 1.telnet: whether the scenario",
    ANN + '[[step]]\ntelnet = "S: +OK...\\nC: AUTH PLAIN AHgAeQ==\\nS: +OK..."\n': "step 1.telnet: AUTH says",
    ANN.replace("DmIMm9e5Hc8ic", NOBODYS) + login("madeann", "testpw"): "step 1.telnet: the login madeann has",
    f'{ADD}, "--scheme", "des"{SECRET}': "step 1.declare: its words depend",
    '[[step]]\ndeclare = { argv = ["apply", "/dev/stdin"], stdin = "x" }\n': "step 1.declare: what it reads",
}


@pytest.mark.parametrize("text", UNFIT, ids=range(len(UNFIT)))
def test_where_no_other_password_fits_it_is_skipped_with_the_reason(
    text: str, server: LocalHost, tmp_path: Path
) -> None:
    before = addresses(server)
    result = tried(tmp_path, f'title = "t"\n{text}', told(server))
    assert (result.verdict, result.steps) == (Verdict.SKIPPED, ())
    assert result.reason.startswith(f"no password of the run's own fits: {UNFIT[text]}"), result.reason
    assert addresses(server) == before


def test_a_box_that_was_there_before_keeps_its_password(server: LocalHost, tmp_path: Path) -> None:
    before = server.read("users/poppasswd")
    text = ANN.replace("made.example", "domain.com").replace("ann", "joe").replace("madejoe", "testid")
    result = tried(tmp_path, f'title = "t"\n{text}{login("testid", "testpw")}', told(server))
    assert result.verdict is Verdict.FAILED
    assert result.reason.endswith("host remote is not ours: domain.com was there before, with joe"), result.reason
    assert server.read("users/poppasswd") == before


def test_a_name_within_another_name_is_not_the_runs(server: LocalHost) -> None:
    host = RemoteHost(told(server))
    host.run("mailbox", "add", "late@domain.com", "--generate")
    server.run("mailbox", "add", "lat@domain.com", "--generate")
    host.close()
    assert addresses(server) & {"late@domain.com", "lat@domain.com"} == {"lat@domain.com"}
    server.run("mailbox", "del", "lat@domain.com", "--purge")


def test_no_login_there_gets_a_password_that_all_know(server: LocalHost) -> None:
    before = addresses(server)
    host = RemoteHost(told(server))
    for argv, stdin in ((("--crypt", "DmIMm9e5Hc8ic"), b""), (("--password-stdin",), b"testpw\n")):
        with pytest.raises(HostError, match="gets no login whose password is the HOWTO's"):
            host.run("mailbox", "add", "ann@domain.com", *argv, stdin=stdin)
    assert addresses(server) == before
