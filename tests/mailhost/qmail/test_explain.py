"""``mailhost explain``: what an operator and a script see."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.mailhost.qmail.support import GID, UID, Home

from mailhost.cli import main


@pytest.fixture
def sales(howto: Home) -> Home:
    """The HOWTO's host with a forward to two addresses."""
    howto.box("sales", "&joe@domain.com\nx@far.org\n")
    howto.assign("=domain-com-joe:IDS:BOX/joe:::", "=domain-com-sales:IDS:BOX/sales:::")
    return howto


def explain(host: Home, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(host.path), "explain", *arguments])


def test_a_delivered_address_in_full(howto: Home) -> None:
    result = explain(howto, "joe@domain.com")
    home = howto.path / "box/joe"
    wide = len(f"{home}/.qmail")
    assert result.output == (
        "joe@domain.com\n"
        f"  accepted      {'control/rcpthosts:1':{wide}}  domain.com\n"
        f"  virtual       {'control/virtualdomains:1':{wide}}  domain.com -> domain-com-joe@domain.com\n"
        f"  assigned      {'users/assign:1':{wide}}  =domain-com-joe -> popuser {UID}:{GID} {home}\n"
        f"  instructions  {home}/.qmail\n"
        f"  maildir       {'.qmail:1':{wide}}  ./Maildir/\n"
        f"Delivered: maildir {home}/Maildir/\n"
    )
    assert result.exit_code == 0


def test_a_refused_address(howto: Home) -> None:
    result = explain(howto, "joe@other.com")
    assert result.exit_code == 1
    assert "  refused  control/rcpthosts  no line for it\n" in result.output
    assert "Refused by qmail-smtpd, while the sender is connected: 553 sorry" in result.output
    advice = f"`mailhost --home {howto.path} domain add other.com` makes it a domain of this host"
    assert f"  hint: {advice}" in result.output


def test_a_bounced_address_names_who_says_so(howto: Home) -> None:
    result = explain(howto, "nobody@domain.com")
    assert result.exit_code == 1
    assert "assigned  the user alias" in result.output
    assert "not in users/cdb -> alias" in result.output
    assert "Bounced to the sender: Sorry, no mailbox here by that name. (#5.1.1) (said by qmail-local)" in result.output


def test_forwards_are_explained_below(sales: Home) -> None:
    result = explain(sales, "sales@domain.com")
    assert result.exit_code == 0
    assert "Delivered: forward to joe@domain.com, forward to x@far.org\n" in result.output
    assert "\n\njoe@domain.com\n  virtual " in result.output
    assert "\n\nx@far.org\nLeaves this host: x@far.org is for qmail-remote.\n" in result.output


@pytest.mark.parametrize(
    ("address", "spoil", "words"),
    [
        ("joe@domain.com", "box/joe/Maildir/new", "FAILS: Temporary error on maildir delivery. (#4.3.0)"),
        ("joe@domain.com", "control/badmailfrom/", "unreadable  control/badmailfrom"),
        ("joe@domain.com", "control/locals/", "unreadable  control/locals"),
    ],
)
def test_a_deferred_address(howto: Home, address: str, spoil: str, words: str) -> None:
    path = howto.path / spoil
    if spoil.endswith("/"):
        path.mkdir()
    else:
        path.rmdir()
    result = explain(howto, address)
    assert result.exit_code == 1
    assert words in result.output
    assert "Deferred, and tried again until queuelifetime ends: " in result.output


def test_discarded_remote_exception_and_percenthack(howto: Home) -> None:
    howto.control("percenthack", "domain.com\n")
    howto.control("virtualdomains", "far.org:\n")
    result = explain(howto, "x%far.org@domain.com")
    assert "percent hack  control/percenthack:1     domain.com -> x@far.org\n" in result.output
    assert "exception     control/virtualdomains:1  far.org -> x@far.org\n" in result.output
    howto.control("locals", "domain.com\n")
    assert "Dropped: accepted, and nothing is kept." in explain(howto, "@domain.com").output


def test_without_a_domain_and_without_rcpthosts(howto: Home) -> None:
    assert "not asked: no domain" in explain(howto, "joe").output
    assert "host added" in explain(howto, "joe").output
    (howto.path / "control/rcpthosts").unlink()
    assert "absent: every domain is accepted" in explain(howto, "joe@domain.com").output


def test_an_extension_and_a_program(howto: Home) -> None:
    box = howto.box("list")
    (box / ".qmail-x").write_text("|cat\n")
    howto.own(box)
    howto.assign("+domain-com-list-:IDS:BOX/list:-::")
    result = explain(howto, "list-X@domain.com")
    assert "+domain-com-list- -> popuser" in result.output
    assert ", dash '-', ext 'X'\n" in result.output
    assert "Delivered: program cat\n" in result.output


def test_default_delivery_is_what_qmail_start_was_given(howto: Home) -> None:
    (howto.path / "box/joe/.qmail").unlink()
    result = explain(howto, "joe@domain.com", "--default-delivery", "./Maildir/")
    assert "instructions  default delivery          there is no .qmail, .qmaildefault\n" in result.output
    assert result.exit_code == 0


def test_h_20_what_users_assign_would_say(howto: Home) -> None:
    howto.assign("=domain-com-new:IDS:BOX/joe:::", build=False)
    assert "users/assign:1 would take it, but delivery reads users/cdb" in explain(howto, "new@domain.com").output
    assert "assigned      users/cdb" in explain(howto, "joe@domain.com").output


def test_an_address_cannot_move_the_cursor(howto: Home) -> None:
    result = explain(howto, "\x1b[2Jjoe\r@domain.com")
    assert "\x1b" not in result.output
    assert "\\x1b[2Jjoe\\r@domain.com\n" in result.output


def test_an_unreadable_users_assign_is_exit_111(howto: Home) -> None:
    (howto.path / "users/assign").unlink()
    (howto.path / "users/assign").mkdir()
    result = explain(howto, "joe@domain.com")
    assert result.exit_code == 111
    assert result.stderr == f"mailhost: {howto.path}/users/assign: Is a directory\n"


def test_json_in_full(howto: Home) -> None:
    result = explain(howto, "joe@domain.com", "--json")
    home = str(howto.path / "box/joe")
    step = {"file": "control/rcpthosts", "line": 1, "key": "domain.com", "result": ""}
    assert json.loads(result.output) == {
        "version": 1,
        "address": "joe@domain.com",
        "outcome": "delivered",
        "arrives": True,
        "stage": "delivery",
        "failure": None,
        "rewritten": "domain-com-joe@domain.com",
        "steps": [
            {"stage": "rcpthosts", **step},
            {"stage": "virtualdomains", **step, "file": "control/virtualdomains",
             "result": "domain-com-joe@domain.com"},
            {"stage": "assign", "file": "users/assign", "line": 1, "key": "domain-com-joe", "result": home},
            {"stage": "dotqmail", "file": f"{home}/.qmail", "line": None, "key": ".qmail", "result": ""},
        ],
        "assignment": {"source": "users/cdb", "wild": False, "key": "domain-com-joe", "user": "popuser", "uid": UID,
                       "gid": GID, "home": home, "dash": "", "ext": ""},
        "users_cdb": {"stale": False, "error": None, "line_when_rebuilt": 1},
        "deliveries": [{"kind": "maildir", "argument": "./Maildir/", "line": 1, "failure": None, "onward": None}],
        "hints": [],
    }  # fmt: skip


def test_json_of_failures_forwards_and_hints(sales: Home) -> None:
    refused = json.loads(explain(sales, "joe@other.com", "--json").output)
    assert (refused["outcome"], refused["assignment"], refused["failure"]["permanent"]) == ("refused", None, True)
    assert refused["hints"][0]["fact"] == "H-7"
    answer = json.loads(explain(sales, "sales@domain.com", "--json").output)
    assert [each["onward"]["outcome"] for each in answer["deliveries"]] == ["delivered", "remote"]
    sales.assign("rubbish", build=False)
    broken = json.loads(explain(sales, "joe@domain.com", "--json").output)
    assert "users/assign:1" in broken["users_cdb"]["error"]


def test_every_key_of_the_json_is_in_the_readme(sales: Home) -> None:
    readme = (Path(__file__).parents[3] / "images/mailhost/mailhost/qmail/README.md").read_text()

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    answer = json.loads(explain(sales, "sales@domain.com", "--json").output)
    refused = json.loads(explain(sales, "joe@other.com", "--json").output)
    assert [key for key in sorted(keys(answer) | keys(refused)) if f"`{key}`" not in readme] == []


def test_a_home_that_is_mounted_read_only_is_judged_by_modes(sales: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ("joe@domain.com", "sales@domain.com", "nobody@domain.com", "joe@other.com", "x@far.org")
    usual = [explain(sales, "--json", one) for one in addresses]
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and may(path, mode))  # as access(2) says
    assert json.loads(explain(sales, "--json", "joe@domain.com").stdout)["outcome"] == "deferred"
    for one, before in zip(addresses, usual, strict=True):
        mounted = explain(sales, "--json", "--by-modes", one)
        assert (json.loads(mounted.stdout), mounted.exit_code) == (json.loads(before.stdout), before.exit_code)
    (sales.path / "box/joe/Maildir/new").chmod(0o500)
    assert json.loads(explain(sales, "--json", "--by-modes", "joe@domain.com").stdout)["stage"] == "delivery"
    assert explain(sales, "--by-modes", "--known").exit_code == 2
