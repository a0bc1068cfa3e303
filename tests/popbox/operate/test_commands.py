"""up, status, provision, send, telnet, logs, exec, down: an operator's session from outside."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from popbox.cli.main import cli
from popbox.errors import HostError
from popbox.hosts import docker
from popbox.hosts.state import Registry
from popbox.operate.target import NO_OWNER, target, targets
from popbox.settings import Settings, find_assets

ACCOUNTS = """
[domains."domain.com".mailboxes.joe]
login = "testid"
crypt = "DmIMm9e5Hc8ic"
"""
ADDED = "added domain domain.com: prefix domain-com\nadded mailbox joe@domain.com: login testid\n"
MESSAGE = "Subject: by hand\n\n.a line with a dot\n"


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    state = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setattr(docker, "projects", lambda _environ: {})
    yield state / "popbox"
    popbox("down")


def popbox(*argv: str, stdin: str = "") -> tuple[int, str]:
    """Exit code and everything printed, on both streams."""
    done = CliRunner().invoke(cli, argv, input=stdin, standalone_mode=False)
    if isinstance(done.exception, HostError | click.ClickException):
        return 3 if isinstance(done.exception, HostError) else 2, str(done.exception)
    assert done.exception is None, done.exception
    return done.return_value, done.output


def test_an_operators_session(tmp_path: Path) -> None:
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    assert popbox("up", "--host", "local")[0] == 0
    code, said = popbox("status")
    assert (code, said.count("  ok   ")) == (0, 3)
    assert "ok   accounts: 0 domains, 0 mailboxes" in said

    code, said = popbox("provision", str(tmp_path / "accounts.toml"), "--plan")
    assert (code, "2 changes" in said) == (0, True)
    code, said = popbox("provision", str(tmp_path / "accounts.toml"))
    assert (code, said) == (
        0,
        "added domain domain.com: prefix domain-com\nadded mailbox joe@domain.com: login testid\n",
    )

    code, said = popbox("send", "paul@example.org", "joe@domain.com", stdin=MESSAGE)
    assert code == 0
    assert "C: RCPT TO:<joe@domain.com>\nS: 250 ok\n" in said
    code, said = popbox("send", "paul@example.org", "joe@elsewhere.example", stdin=MESSAGE)
    assert code == 1
    assert "S: 553 sorry" in said

    until_listed()
    code, said = popbox("telnet", stdin="USER testid\nPASS testpw\nLIST\nRETR 1\nQUIT\n")
    assert code == 0
    assert said.startswith("+OK POP3 ready\n+OK send PASS\n+OK maildrop ready\n+OK 1 messages\n1 ")
    assert "\nSubject: by hand\n\n..a line with a dot\n.\n+OK bye\n" in said
    assert popbox("telnet", "smtp", stdin="QUIT\n")[1].startswith("220 ")

    assert "info msg" in popbox("logs", "smtp")[1]
    assert popbox("logs", "smtp", "--tail", "1")[1].count("\n") == 1
    code, said = popbox("exec", "mailbox", "list", "--json")
    assert [row["login"] for row in json.loads(said)] == ["testid"]
    assert popbox("exec", "mailbox", "del", "nobody@domain.com")[0] == 2
    assert "removed host local" in popbox("down")[1]


def until_listed() -> None:
    """Wait until the MTA has said that it is done."""
    deadline = time.monotonic() + 60
    while "end msg" not in popbox("logs", "smtp")[1]:
        assert time.monotonic() < deadline, "the message was not delivered"
        time.sleep(0.05)


def test_a_dead_service_is_named(state: Path) -> None:
    popbox("up", "--host", "local")
    record = Registry(state).all()[0]
    os.killpg(record.processes["smtp"].pid, signal.SIGKILL)
    while record.processes["smtp"].lives():
        time.sleep(0.01)
    code, said = popbox("status")
    assert code == 1
    assert "FAIL smtp 127.0.0.1:" in said
    assert "its process is gone" in said
    assert popbox("status", "--json")[0] == 1


def test_a_sender_that_stands_still_is_a_failure_of_the_machine(state: Path) -> None:
    assert popbox("up", "--host", "local")[0] == 0
    todo = Path(Registry(state).all()[0].place, "home/queue/todo")
    todo.mkdir()
    (todo / "4711").touch()
    os.utime(todo / "4711", (time.time() - 300,) * 2)
    code, said = popbox("status")
    assert code == 1
    assert "FAIL machine: queue/todo: 1 waiting for more than 120 s" in said


def test_a_host_that_a_file_governs_says_so_and_what_waits(state: Path, tmp_path: Path) -> None:
    popbox("up", "--host", "local")
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    record = Path(Registry(state).all()[0].place, "home/users/.mailhost/governed")
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"file": "/etc/of/the/host.toml", "waits": "takes away domain.com"}))
    code, said = popbox("status")
    assert (code, "wait accounts: takes away domain.com" in said) == (0, True)
    code, said = popbox("provision", str(tmp_path / "accounts.toml"), "--yes")
    assert (code, "/etc/of/the/host.toml is" in said) == (2, True)
    code, said = popbox("exec", "domain", "add", "domain.com")
    assert (code, "this file governs the accounts of this host" in said) == (2, True)


def test_without_a_host_or_with_several_the_words_say_what_to_do(state: Path) -> None:
    assert popbox("status")[0] == 3
    assert popbox("logs") == (3, "no host is up: `popbox up` brings one up, `docker compose up --wait` a deployment")
    for _ in range(2):
        popbox("up", "--host", "local")
    names = [record.id for record in Registry(state).all()]
    code, said = popbox("logs")
    assert (code, said) == (
        3,
        f"name the host with --on NAME; there are: {names[0]} (local, stand-in), {names[1]} (local, stand-in)",
    )
    assert popbox("exec", "--on", names[1], "domain", "list")[0] == 0
    assert popbox("exec", "--on", "x", "domain", "list")[1].startswith("no host is up by the name 'x'; there are: ")


def test_a_server_that_is_not_there_is_exit_code_3() -> None:
    assert popbox("telnet", "127.0.0.1:1") == (3, "popbox: cannot connect to 127.0.0.1:1: Connection refused\n")
    assert popbox("send", "a@b", "c@d", "--to-host", "127.0.0.1:1", stdin=MESSAGE)[0] == 3
    assert popbox("telnet", "nonsense")[0] == 2


def test_a_deployment_is_found_by_its_project_and_is_not_ours_to_remove(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "projects", lambda _environ: {"mail": "qmail", "popbox-0123abcd": "stand-in"})
    settings = Settings(find_assets(), state, None)
    found = targets(settings)
    assert list(found) == ["mail"], "a run of some popbox, perhaps another user's, is no deployment"
    assert found["mail"].owner == NO_OWNER
    assert popbox("down")[1] == "no host is up\n"


@pytest.mark.docker
@pytest.mark.needs("engine")
def test_a_deployment_says_what_it_is(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "projects", lambda _environ: {"mail": "qmail"})
    assert target(Settings(find_assets(), state, None), "mail").describe() == "host docker, MTA qmail"
