"""The qmail home: any name that a line of users/assign can hold, one that is mistyped, one that is relative."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.cli import main

TALK = [
    ["init", "--me", "mail.example.net"],
    ["domain", "add", "domain.com"],
    ["mailbox", "add", "joe@domain.com", "--login", "testid", "--crypt", HOWTO_CRYPT, "--extensions"],
    ["mailbox", "show", "joe@domain.com"],
    ["mailbox", "list", "--json"],
    ["forward", "add", "sales@domain.com", "joe@domain.com", "someone@elsewhere.example"],
    ["catchall", "set", "domain.com", "joe@domain.com"],
    ["domain", "show", "domain.com"],
    ["export"],
    ["lint", "--json"],
    ["rebuild"],
    ["mailbox", "rename", "joe@domain.com", "jane@domain.com"],
    ["mailbox", "del", "jane@domain.com"],
]

READING = [
    "accounts",
    "apply a.toml", "plan a.toml", "export", "lint", "lint --json", "lint --fix", "explain joe@domain.com",
    "domain list", "domain list --json", "domain show domain.com", "mailbox list", "mailbox list domain.com",
    "mailbox show joe@domain.com", "forward list", "catchall list", "alias list",
]  # fmt: skip


def spoken(home: Path) -> list[tuple[int, str]]:
    """Exit code and output of each verb, the home's own path taken out and columns squeezed."""
    home.parent.mkdir()
    host, said = Host(home), []
    for words in TALK:
        ran = host.run(*words)
        text = (
            (ran.stdout + ran.stderr)
            .replace(str(home), "HOME")
            .replace(str(home).encode("unicode_escape").decode(), "HOME")
        )
        said.append((ran.exit_code, re.sub(r" {2,}", "  ", text)))
    return said


@pytest.mark.parametrize("name", ["größe", "with two  spaces", "почта"])
def test_every_verb_says_the_same_below_any_name(tmp_path: Path, name: str) -> None:
    plain = spoken(tmp_path / "plain" / "qmail")
    assert [code for code, _ in plain] == [0] * len(TALK)
    assert spoken(tmp_path / name / "qmail") == plain


def test_directories_above_a_new_home_may_be_passed_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Host(tmp_path / "srv" / "mail" / "qmail").ok("init", "--me", "mail.example.net")
    finally:
        os.umask(before)
    modes = [
        path.stat().st_mode & 0o777 for path in (tmp_path / "srv", tmp_path / "srv/mail", tmp_path / "srv/mail/qmail")
    ]
    assert modes == [0o755] * 3


def test_a_home_given_by_a_way_around_is_written_by_its_own_name(tmp_path: Path) -> None:
    """`--home ../home`: with the directory before `..` gone, no login and no address would have its mailbox."""
    (tmp_path / "work").mkdir()
    host = Host(tmp_path / "work" / ".." / "home")
    assert [host.run(*words).exit_code for words in TALK[:3]] == [0, 0, 0]
    for file in ("users/poppasswd", "users/assign"):
        text = (tmp_path / "home" / file).read_text()
        assert f":{tmp_path}/home/popboxes/domain-com/joe" in text
        assert ".." not in text


def test_an_empty_name_makes_no_home_of_the_directory_that_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(main, ["--home", "", "init", "--me", "mail.example.net"])
    assert (ran.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "its name is empty" in ran.output


@pytest.mark.parametrize("home", ["/tmp/a:b", "/tmp/a\nb", "/tmp/gr\udcf6\udcdfe"])
def test_a_home_that_cannot_stand_in_users_assign(home: str) -> None:
    assert "stands in users/assign" in Host(Path(home)).run("init").stderr


@pytest.mark.parametrize("verb", READING)
def test_a_mistyped_home_is_no_empty_host(empty: Host, verb: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("")
    words = [str(tmp_path / word) if word == "a.toml" else word for word in verb.split()]
    done = empty.run(*words)
    assert (done.exit_code, done.stdout) == (111, "")
    assert f"{empty.home}" in done.stderr
    assert f"missing; `mailhost --home {empty.home} init` makes" in done.stderr
    assert not empty.home.exists()
    assert "Usage: " in empty.ok(words[0], "--help")


def test_a_directory_without_control_is_no_empty_host_either(empty: Host) -> None:
    empty.home.mkdir()
    said = empty.refused("export", code=111)
    assert f"{empty.home}/control: missing; `mailhost --home {empty.home} init` makes it" in said


def test_a_relative_home_needs_a_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was `mailhost: output: No such file or directory`."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for home in ("rel", "../rel"):
        asked = CliRunner().invoke(main, ["--home", home, "export"])
        assert asked.exit_code == 2
        assert f"Invalid value for --home: {home} is relative, and the current directory is gone\n" in asked.stderr


def test_advice_names_the_home_that_was_given_and_no_other(empty: Host) -> None:
    """It is to be pasted: quoted for a shell, and without what the shell's own MAILHOST_HOME says."""
    odd = empty.home.with_name("a b")
    asked = CliRunner().invoke(main, ["--home", str(odd), "export"])
    assert asked.stderr == f"mailhost: {odd}: missing; `mailhost --home '{odd}' init` makes it\n"
    asked = CliRunner(env={"MAILHOST_HOME": str(odd)}).invoke(main, ["export"])
    assert asked.stderr == f"mailhost: {odd}: missing; `mailhost init` makes it\n"


def test_a_missing_tree_is_temporary(empty: Host) -> None:
    empty.home.mkdir()
    assert f"mailhost --home {empty.home} init" in empty.refused("domain", "add", "domain.com", code=111)
