"""`mailhost lint`: each rule has a host that is wrong in just that way, and --fix where there is one right answer."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from tests.mailhost.cli.lint.cases import BOX, CASES, RELAY, Break, adapted, edit, findings, remove, write
from tests.mailhost.cli.support import Host

from mailhost.accounts.lint import RULES


@pytest.mark.parametrize(("rule", "wrong", "file", "line", "fixable"), CASES)
def test_each_rule(howto: Host, rule: str, wrong: Break, file: str, line: int, fixable: bool) -> None:
    adapted(howto, wrong)
    found = [f for f in findings(howto) if f["rule"] == rule]
    assert (file, line or None) in [(f["file"], f["line"]) for f in found]
    assert all((f["fix"] is not None) == fixable for f in found) or rule == "assign-refused"
    before = howto.tree()
    howto.run("lint")
    assert howto.tree() == before, "lint alone changes nothing"
    howto.run("lint", "--fix")
    left = [f for f in findings(howto) if f["rule"] == rule]
    assert (not left) == fixable


def test_q_def_1_a_default_delivery_into_the_maildir_needs_no_file(howto: Host) -> None:
    remove(BOX + "/.qmail")(howto)
    for text, missing in (("./Maildir/\n", False), ("./Mailbox\n", True)):
        write("control/defaultdelivery", text)(howto)
        assert ("qmail-missing" in {one["rule"] for one in findings(howto)}) is missing
    write("control/defaultdelivery", "./Maildir/\n")(howto)
    write(BOX + "/.qmail", "\n")(howto)
    assert "qmail-missing" in {one["rule"] for one in findings(howto)}, "a blank line defers"


def test_every_rule_has_a_case() -> None:
    source = "".join(inspect.getsource(inspect.getmodule(rule)) for rule in RULES)  # type: ignore[arg-type]
    known = set(re.findall(r'Finding\(\s*(?:"error"|"warning"|level),\s*"([a-z-]+)"', source))
    tried = {getattr(case, "values", case)[0] for case in CASES}
    assert known == tried


def test_a_clean_host(howto: Host) -> None:
    howto.ok("mailbox", "passwd", "joe@domain.com", "--generate")
    assert howto.ok("lint") == "nothing wrong\n"
    assert howto.ok("lint", "--strict") == "nothing wrong\n"


def test_good_relayclients_are_a_warning_only(howto: Host) -> None:
    write(RELAY, "# ours\n127.0.0.0/8\n10.0.0.1 @fix\n2001:db8::/32\n")(howto)
    assert "control/relayclients: warning: is read by the stand-in only" in howto.ok("lint")


def test_warnings_fail_only_when_strict(howto: Host) -> None:
    assert "users/poppasswd: line 1: warning: testid has a des hash" in howto.ok("lint")
    assert howto.run("lint", "--strict").exit_code == 1


@pytest.mark.parametrize(
    "wrong",
    [remove("users/assign"), remove("users/cdb"), write("users/cdb", "x")],
    ids=["no assign", "no cdb", "a broken cdb"],
)
def test_each_command_that_is_advised_ends_well_and_helps(howto: Host, wrong: Break) -> None:
    wrong(howto)
    advice = howto.run("lint").output + howto.run("explain", "joe@domain.com").output
    commands = set(re.findall(r"`mailhost ([^`]+)`", advice))
    assert commands
    for command in commands:
        howto.ok(*command.split())
    assert howto.run("lint").exit_code == 0


def test_the_closing_line_counts_in_english(howto: Host) -> None:
    assert howto.ok("lint").endswith("\n0 errors, 1 warning\n")
    (howto.home / BOX).chmod(0o777)
    assert howto.run("lint").stdout.endswith("\n1 error, 1 warning\n")
    (howto.home / "popboxes/domain-com/lost").mkdir()
    assert howto.run("lint").stdout.endswith("\n1 error, 2 warnings\n")


def test_the_hash_itself_is_never_shown(howto: Host) -> None:
    edit("users/poppasswd", ":DmIMm9e5Hc8ic:", ":plain-secret:")(howto)
    assert "plain-secret" not in howto.run("lint").output


def test_nothing_at_all(empty: Host, tmp_path: Path) -> None:
    empty.home.mkdir()
    rules = {f["rule"] for f in findings(empty)}
    assert {"open-relay", "cdb-missing", "poppasswd-missing"} <= rules
