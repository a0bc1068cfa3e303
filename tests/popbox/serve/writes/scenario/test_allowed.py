"""Which commands and steps a scenario that a client sends may have; the tricks that must not get past."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox import ROOT

from popbox.errors import UnusableError
from popbox.scenario.load import load_all, parse
from popbox.serve.writes.scenario.allowed import Command, command, refusals

HEAD = 'title = "t"\n'
SENT = '[[step]]\nsend = { from = "a@b.example", to = ["c@d.example"] }\n'


def refused(text: str, *, files: bool = False) -> list[str]:
    return list(refusals(parse(HEAD + text, Path("x")).scenario, files=files))


def test_what_a_command_changes() -> None:
    adds = ["mailbox", "add", "--login", "--dry-run", "joe@d.example", "--crypt=x", "--extensions"]
    assert command(adds) == Command("mailbox add", ("joe@d.example",), True, frozenset({"--extensions"}))
    dry = ["domain", "del", "--dry-run", "--", "--purge"]
    assert command(dry) == Command("domain del", ("--purge",), True, frozenset({"--dry-run"}))
    for looks in (["explain", "--json", "--", "a@b"], ["mailbox", "show", "a@b"], ["lint"], ["queue", "list"]):
        assert not command(looks).changes


@pytest.mark.parametrize(
    "argv",
    [
        ["newu"],
        ["rebuild"],
        ["apply", "/etc/passwd"],
        ["export"],
        ["--home", "/", "domain", "list"],
        ["serve", "pop3"],
        ["queue", "flush"],
        ["domain"],
        ["domain", "--json", "list"],
        ["domain", "add", "d.example", "--newu", "/bin/sh"],
        ["domain", "add", "d.example", "--newu=/bin/sh"],
        ["mailbox", "add", "a@d.example", "--password-file", "/etc/shadow"],
        ["mailbox", "add", "a@d.example", "--password-file=/etc/shadow"],
        ["mailbox", "import", "a@d.example"],
        ["mkpasswd", "--password-file", "x"],
        ["lint", "--fix"],
        ["mailbox", "list", "-x"],
        ["domain", "add", "a\0b"],
        [""],
    ],
)
def test_commands_that_no_scenario_may_run(argv: list[str]) -> None:
    with pytest.raises(UnusableError):
        command(argv)


@pytest.mark.parametrize(
    ("step", "place"),
    [
        ('shell = { script = "id" }', "step 1.shell"),
        ('file = { path = "users/poppasswd", has = "x" }', "step 1.file"),
        ('write = { path = "alias/.qmail-x", text = "|id" }', "step 1.write"),
        ('hup = "smtp"', "step 1.hup"),
        ('send = { from = "a@b", to = ["c@d"], mail = "/etc/passwd" }', "step 1.send.mail"),
        ('break = { remove = "users" }', "step 1.break.remove"),
        ('break = { chmod = { "users/cdb" = "0000" } }', "step 1.break.chmod"),
        ('declare = { argv = ["newu"] }', "step 1.declare.argv"),
        ('telnet = { service = "chain", runs = ["/bin/sh"], transcript = "S: x" }', "step 1.telnet.runs"),
    ],
)
def test_steps_that_reach_beyond_mailboxes(step: str, place: str) -> None:
    [line] = refused("[[step]]\n" + step)
    assert line.startswith(f"{place}: ")


def test_the_sum_of_deadlines_is_limited() -> None:
    assert refused(SENT + "within-s = 600\n") == []
    more = SENT.replace("to =", 'id = "two", to =')
    [line] = refused(SENT + "within-s = 600\n" + more)
    assert line == "within-s is 615 s in sum, and at most 600 s are allowed (a step without one has 15 s)"


def test_a_message_file_is_for_scenarios_that_come_with_popbox() -> None:
    shipped = {one.path.stem: one.scenario for one in load_all([ROOT / "scenarios"])}
    assert list(refusals(shipped["howto-telnet"], files=True)) == []
    assert list(refusals(shipped["howto-telnet"], files=False)) != []
