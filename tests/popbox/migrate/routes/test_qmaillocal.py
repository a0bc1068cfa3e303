"""`popbox migrate routes --sample --qmail-local`: the real qmail-local against our rules, right and broken ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click import UsageError
from click.testing import CliRunner
from tests.needs import QMAIL
from tests.popbox.migrate.oldhosts import put
from tests.popbox.migrate.routes.hosts import ALIAS_UID, ELSEWHERE, UID, box, in_forks, own, routes

from mailhost.qmail import dotqmail
from mailhost.qmail.assign import newu
from popbox.cli.migrate import migrate
from popbox.errors import UnusableError
from popbox.migrate.routes.qmaillocal import Dry, passed

ADDRESSES = ("joe@d.com", "joe-Some.List@d.com", "joe-other@d.com", "sticky@d.com", "x@d.com", "joe%d.com@here.net",
             f"far@{ELSEWHERE}", "root@d.com", "postmaster@here.net")  # fmt: skip
real = pytest.mark.needs("real qmail", "root")


@pytest.fixture
def home(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A qmail home with boxes of popuser's, that names itself; and a list of addresses beside it."""
    in_forks(monkeypatch)
    home = place / "qmail"
    for name in ("control", "users", "alias"):
        (home / name).mkdir(parents=True)
    put(home / "control/me", "here.net\n")
    put(home / "control/rcpthosts", "d.com\nhere.net\n")
    put(home / "control/virtualdomains", "d.com:d\n")
    put(home / "control/percenthack", "here.net\n")
    joe = box(home / "boxes/joe", f"./Maildir/\n&x@{ELSEWHERE}\n|cat >/dev/null\n./Mailbox\n")
    put(joe / ".qmail-some:list", "# a list\n&one@d.com\n", 0o600)
    put(joe / ".qmail-default", "|exit 99\n", 0o700)
    own(joe, UID)
    box(home / "boxes/sticky").chmod(0o1700)
    put(home / "alias/.qmail-list", "&one@d.com\n")
    put(home / "alias/.qmail-postmaster", "")  # as qmail's INSTALL.alias has it
    own(home / "alias", ALIAS_UID)
    lines = [f"=d-{name}:popuser:{UID}:{UID}:{home}/boxes/{name}:::" for name in ("joe", "sticky")]
    lines += [f"+d-joe-:popuser:{UID}:{UID}:{home}/boxes/joe:-::", f"=d-root:root:0:0:{home}/boxes/joe:::"]
    put(home / "users/assign", "".join(f"{line}\n" for line in lines) + ".\n")
    newu(home)
    put(place / "list", "".join(f"{one}\n" for one in ADDRESSES))
    return home


def argv(home: Path) -> tuple[str, ...]:
    return ("--addresses", str(home.parent / "list"), "--sample", "200", "--seed", "1", "--qmail-local", str(QMAIL))


@real
def test_the_real_program_says_what_our_rules_say_and_what_it_cannot_be_asked_is_named(home: Path) -> None:
    code, report, text = routes(home, home, *argv(home))
    tried = {one["address"]: one for one in report["qmail_local"][1]["tried"]}
    assert not any(one["faults"] for one in tried.values()), text
    assert code == 0, text
    for name in ("joe@d.com", "joe-Some.List@d.com", "joe-other@d.com", "sticky@d.com", "joe%d.com@here.net",
                 "postmaster@here.net"):  # fmt: skip
        assert tried[name]["tried"] == "asked", (name, tried[name])
    assert tried[f"far@{ELSEWHERE}"]["why"] == "qmail-local is not started for it: remote"
    assert tried["root@d.com"]["why"].startswith("qmail-local is not started for it: deferred")
    assert " asked, seed 1, 0 not as the rules say" in text
    assert report["qmail_local"][0]["seed"] == 1
    assert " not asked: qmail-local is not started for it: remote (" in text
    assert sorted(path.name for path in (home / "boxes/joe").iterdir()) == [
        ".qmail", ".qmail-default", ".qmail-some:list", "Maildir"
    ]  # fmt: skip


@real
def test_a_rule_of_ours_that_is_broken_is_caught_with_both_answers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dotqmail, "safe", lambda ext: ext.lower())  # dots stay dots
    code, report, text = routes(home, home, *argv(home))
    bad = {one["address"]: one["faults"] for one in report["qmail_local"][0]["tried"] if one["faults"]}
    assert code == 1, text
    assert "joe-Some.List@d.com" in bad
    assert "joe@d.com" not in bad
    (fault,) = bad["joe-Some.List@d.com"]
    assert fault == (
        "the rules say exit 111: Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0); "
        "it says exit 0: forward one@d.com / did 0+1+0"
    )
    assert f"joe-Some.List@d.com [given]: {fault}" in text


@real
def test_a_copy_is_not_asked_and_says_so(home: Path) -> None:
    _, report, text = routes(home, home, *argv(home), "--old-as", "/var/qmail", "--old-qmail-home", "/var/qmail")
    assert "stand for /var/qmail of another host" in report["qmail_local"][0]["why_not"]
    assert "qmail-local -n: nothing asked of the old host: its files" in text
    assert report["qmail_local"][0]["tried"] == []
    assert any(one["tried"] == "asked" for one in report["qmail_local"][1]["tried"])


def test_where_nothing_was_asked_nothing_is_proved() -> None:
    assert not passed([Dry("old", "/a", 1, "a copy"), Dry("new", "/b", 1)])


def test_no_program_no_root_and_half_a_wish_are_errors(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnusableError, match="there is no such program"):
        routes(home, home, "--sample", "3", "--qmail-local", str(home))
    put(home / "qmail-local", "")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UnusableError, match="only root can start"):
        routes(home, home, "--sample", "3", "--qmail-local", str(home))
    half = ["routes", "--old", str(home), "--new", str(home), "--qmail-local", str(home)]
    assert isinstance(CliRunner().invoke(migrate, half, standalone_mode=False).exception, UsageError)
