"""What a file's name, a control file or a stranger's envelope holds never reaches a terminal as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.cli.output import print_json, print_table
from mailhost.cli.terminal import UNSEEN, visible

PAINT = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202e\r\x08x"
PAINTED = r"\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202e\r\x08x"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """joe@domain.com, and PAINT wherever the owner of a box, or a hand in control/, can put it."""
    made = Host(tmp_path / "qmail")
    made.ok("init", "--me", "mail.example.net")
    made.ok("domain", "add", "domain.com")
    made.ok("mailbox", "add", "joe@domain.com", "--login", "testid", "--crypt", HOWTO_CRYPT)
    box = made.home / "popboxes/domain-com/joe"
    (box / f".qmail-{PAINT}").write_text("&nobody\n")
    (box / ".qmail").write_text(f"/{PAINT}/x\n&{PAINT}\n")
    (made.home / f"alias/.qmail-{PAINT}").write_text("&x@y.example\n")
    for name, line in {"virtualdomains": f"{PAINT}:{PAINT}", "locals": PAINT}.items():
        with (made.home / "control" / name).open("a", newline="") as file:
            file.write(line + "\n")
    with (made.home / "users/poppasswd").open("a", newline="") as file:
        file.write(f"{PAINT}:{PAINT}:popuser:/{PAINT}\n")
    return made


def test_what_cannot_be_seen_is_made_visible_and_the_rest_stays() -> None:
    assert visible(PAINT) == PAINTED
    assert visible("Grüße\tan\nJoe \\x1b") == "Grüße\tan\nJoe \\x1b"
    assert visible(os.fsdecode(b"not UTF-8: \x9b")) == r"not UTF-8: \x9b"


@pytest.mark.parametrize(
    "verb",
    ["accounts",
     "lint", "lint --fix --dry-run", "lint --json", "domain list", "domain list --json", "mailbox list", "forward list",
     "export", "explain joe@domain.com", "mailbox show joe@domain.com", "domain show domain.com", "lint --fix"],
)  # fmt: skip
def test_no_verb_hands_it_to_the_terminal(host: Host, verb: str) -> None:
    done = host.run(*verb.split())
    assert done.exit_code in (0, 1, 2, 111), done.output
    assert UNSEEN.search(done.output) is None
    if verb == "lint":
        assert r"\x1b]0;pwned\x07\x1b[2j" in done.output


def test_json_has_the_same_value_and_columns_their_width(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([PAINT, "Grüße"])
    said = capsys.readouterr().out
    assert UNSEEN.search(said) is None
    assert "Grüße" in said
    assert json.loads(said) == [PAINT, "Grüße"]
    print_table(("name", "is"), [("\x1b", "a"), ("a\n\tb", "b")])
    assert capsys.readouterr().out.splitlines()[1:] == [r"\x1b    a", r"a\n\tb  b"]


@pytest.mark.parametrize(
    "argv", [["removed", "restore"], ["removed", "purge", "--yes"], ["nodes", "forget"], ["apply"]]
)
def test_a_name_that_is_given_begins_no_line_of_its_own(tmp_path: Path, argv: list[str]) -> None:
    made = Host(tmp_path / "qmail")
    made.ok("init", "--me", "mail.example.net")
    done = made.run(*argv, "x\nmailhost: all is well")
    assert done.exit_code in (2, 111)
    assert r"x\nmailhost: all is well" in done.output
    assert done.output.count("\n") == 1
