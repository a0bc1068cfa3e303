"""`mailhost forward`, `catchall` and `alias`: each verb, and each refusal."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

BOX = "popboxes/domain-com"


def test_a_forward_and_its_targets(howto: Host) -> None:
    howto.ok("forward", "add", "sales@domain.com", "joe@domain.com", "Some.One@Elsewhere.example")
    assert howto.text(f"{BOX}/sales/.qmail") == "&joe@domain.com\n&Some.One@elsewhere.example\n"
    assert not (howto.home / BOX / "sales/Maildir").exists()
    assert "=domain-com-sales:" in howto.text("users/assign")
    howto.ok("forward", "add", "sales@domain.com", "third@elsewhere.example")
    howto.ok("forward", "del", "sales@domain.com", "joe@domain.com")
    assert howto.text(f"{BOX}/sales/.qmail") == "&Some.One@elsewhere.example\n&third@elsewhere.example\n"
    howto.ok("forward", "del", "sales@domain.com")
    assert "sales" not in howto.text("users/assign")
    assert not (howto.home / BOX / "sales").exists()


def test_a_mailbox_that_forwards_keeps_a_copy(howto: Host) -> None:
    assert "a copy is kept" in howto.ok("forward", "add", "joe@domain.com", "x@elsewhere.example")
    assert howto.text(f"{BOX}/joe/.qmail") == "./Maildir/\n&x@elsewhere.example\n"
    howto.ok("mailbox", "set", "joe@domain.com", "--extensions")
    assert howto.text(f"{BOX}/joe/.qmail-default") == "./Maildir/\n&x@elsewhere.example\n"
    listed = json.loads(howto.ok("forward", "list", "--json"))
    assert listed == [{"address": "joe@domain.com", "targets": ["x@elsewhere.example"], "keeps_copy": True}]
    howto.ok("forward", "del", "joe@domain.com")
    assert howto.text(f"{BOX}/joe/.qmail") == "./Maildir/\n"


def test_a_forward_becomes_a_mailbox_and_goes_on_forwarding(howto: Host) -> None:
    howto.ok("forward", "add", "ann@domain.com", "x@elsewhere.example")
    howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)
    assert howto.text(f"{BOX}/ann/.qmail") == "./Maildir/\n&x@elsewhere.example\n"
    assert (howto.home / BOX / "ann/Maildir/new").is_dir()


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["sales@domain.com", "nowhere"], "local@domain"),
        (["sales@domain.com", "a b@x.example"], "target"),
        (["sales@domain.com", "sales@domain.com"], "go to itself"),
        (["info@domain.com", "x@x.example"], "is an alias of joe@domain.com"),
        (["sales@other.example", "x@x.example"], "is not declared"),
        (["both@domain.com", "x@x.example", "x@x.example"], "already"),
    ],
)
def test_forwards_that_cannot_be(howto: Host, words: list[str], rule: str) -> None:
    howto.ok("alias", "add", "info@domain.com", "joe")
    assert rule in howto.refused("forward", "add", *words)


def test_forwards_that_are_not_there(howto: Host) -> None:
    assert "is not a forward" in howto.refused("forward", "del", "joe@domain.com")
    howto.ok("forward", "add", "sales@domain.com", "x@x.example")
    assert "does not go to" in howto.refused("forward", "del", "sales@domain.com", "y@x.example")


def test_h36_a_qmail_file_written_by_hand_is_not_rewritten(howto: Host) -> None:
    path = howto.home / BOX / "joe/.qmail"
    path.write_text("./Maildir/\n|vacation\n")
    said = howto.refused("forward", "add", "joe@domain.com", "x@x.example")
    assert f"{BOX}/joe/.qmail: line 2" in said


def test_h17_catchall_has_a_dash_and_a_default_file(howto: Host) -> None:
    howto.ok("catchall", "set", "domain.com", "joe@domain.com")
    assert f"+domain-com-:{howto.owner}:{howto.home}/{BOX}/joe:-::\n" in howto.text("users/assign")
    assert howto.text(f"{BOX}/joe/.qmail-default") == "./Maildir/\n"
    assert json.loads(howto.ok("catchall", "list", "--json")) == [
        {"domain": "domain.com", "catchall": "joe@domain.com"}
    ]
    assert "(H-17)" in howto.ok("domain", "show", "domain.com")
    howto.ok("forward", "add", "rest@domain.com", "boss@elsewhere.example")
    howto.ok("catchall", "set", "domain.com", "rest")
    assert howto.text(f"{BOX}/rest/.qmail-default") == "&boss@elsewhere.example\n"
    assert not (howto.home / BOX / "joe/.qmail-default").exists()
    howto.ok("catchall", "unset", "domain.com")
    assert "+domain-com-" not in howto.text("users/assign")
    assert "has no catchall" in howto.refused("catchall", "unset", "domain.com")


def test_catchalls_that_cannot_be(howto: Host) -> None:
    assert "is not declared" in howto.refused("catchall", "set", "domain.com", "nobody")
    assert "must be in domain.com" in howto.refused("catchall", "set", "domain.com", "x@elsewhere.example")


@pytest.mark.parametrize("words", [("catchall", "set", "nodom.com"), ("alias", "add", "info@nodom.com")])
def test_a_domain_that_is_not_declared_is_what_is_said(howto: Host, words: tuple[str, ...]) -> None:
    said = howto.refused(*words, "joe@domain.com")
    advice = f"`mailhost --home {howto.home} domain add nodom.com` does"
    assert said == f"mailhost: domain nodom.com: is not declared; {advice}\n"


def test_aliases_lead_into_the_same_box(howto: Host) -> None:
    howto.ok("alias", "add", "info@domain.com", "joe@domain.com")
    assert f"=domain-com-info:{howto.owner}:{howto.home}/{BOX}/joe:::\n" in howto.text("users/assign")
    assert howto.ok("alias", "add", "info@domain.com", "joe@domain.com") == "nothing to change\n"
    howto.ok("mailbox", "add", "ann@domain.com", "--generate")
    for taken, box in (("info", "ann"), ("ann", "joe"), ("joe", "joe")):
        said = howto.refused("alias", "add", f"{taken}@domain.com", f"{box}@domain.com")
        assert f"{taken}@domain.com: is declared already" in said
    assert "must be in the same domain" in howto.refused("alias", "add", "a@domain.com", "x@elsewhere.example")
    assert "is not declared" in howto.refused("alias", "add", "a@domain.com", "nobody@domain.com")
    howto.ok("alias", "del", "info@domain.com")
    assert "info" not in howto.text("users/assign")
    assert "is not an alias" in howto.refused("alias", "del", "joe@domain.com")


def test_an_alias_of_a_forward_is_refused(howto: Host) -> None:
    howto.ok("forward", "add", "sales@domain.com", "x@x.example")
    assert "is a forward" in howto.refused("alias", "add", "a@domain.com", "sales@domain.com")


def test_h6_the_alias_trio(howto: Host) -> None:
    howto.ok("alias", "system", "all", "joe@domain.com")
    for name in ("postmaster", "mailer-daemon", "root"):
        assert howto.text(f"alias/.qmail-{name}") == "&joe@domain.com\n"
    assert "postmaster  " in howto.ok("alias", "list") or "postmaster" in howto.ok("alias", "list")
    howto.ok("alias", "system", "root")
    assert not (howto.home / "alias/.qmail-root").exists()
    howto.refused("alias", "system", "uucp", "x@x.example")


@pytest.mark.parametrize(
    "words",
    [
        ["forward", "add", "sales@domain.com", "x@x.example"],
        ["catchall", "set", "domain.com", "joe"],
        ["alias", "add", "info@domain.com", "joe"],
        ["alias", "system", "root", "joe@domain.com"],
        ["domain", "alias", "domain.net", "domain.com"],
    ],
)
def test_dry_run_says_and_does_nothing(howto: Host, words: list[str]) -> None:
    before = howto.tree()
    assert howto.ok(*words, "--dry-run").startswith("would add ")
    assert howto.tree() == before


@pytest.mark.parametrize("place", ["popboxes/domain-com/joe/.qmail", "alias/.qmail-root"])
@pytest.mark.parametrize("kind", ["fifo", "device", "loop"])
@pytest.mark.timeout(60)
def test_q_dot_7_what_is_no_file_holds_nobody_up(howto: Host, place: str, kind: str) -> None:
    """Whoever delivers there owns the directory: root would wait at a FIFO for ever, /dev/zero would fill memory."""
    (howto.home / place).unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(howto.home / place)
    else:
        (howto.home / place).symlink_to("/dev/zero" if kind == "device" else Path(place).name)
    for words in (["mailbox", "list"], ["export"], ["forward", "list"], ["lint"]):
        howto.run(*words)
    howto.run("forward", "add", "joe@domain.com", "x@elsewhere.example")
    if kind == "loop" and place.startswith("alias"):
        (howto.home / place).unlink()  # named by an error, exit 111
    howto.ok("alias", "system", "root", "joe@domain.com")
    assert howto.text("alias/.qmail-root") == "&joe@domain.com\n"


def test_a_link_in_alias_is_replaced_and_not_followed(howto: Host, tmp_path: Path) -> None:
    """~alias may belong to a user of that name, and root writes there."""
    (tmp_path / "cron").write_text("")
    (howto.home / "alias/.qmail-root").symlink_to(tmp_path / "cron")
    howto.ok("alias", "system", "root", "joe@domain.com")
    assert (tmp_path / "cron").read_text() == ""
    assert howto.text("alias/.qmail-root") == "&joe@domain.com\n"
    assert not (howto.home / "alias/.qmail-root").is_symlink()


@pytest.mark.parametrize("target", ["/dev/zero", "program"])
def test_nothing_of_a_links_target_comes_over(howto: Host, target: str, tmp_path: Path) -> None:
    """Neither a device's mode nor a program's set-uid bit nor an owner whom a plain user cannot make one's own."""
    link = howto.home / "alias/.qmail-root"
    (tmp_path / "program").touch()
    (tmp_path / "program").chmod(0o4755)
    link.symlink_to(tmp_path / target)
    owner = link.lstat().st_uid, link.lstat().st_gid
    plain = howto.home / "alias/.qmail-postmaster"
    howto.ok("alias", "system", "postmaster", "joe@domain.com")
    howto.ok("alias", "system", "root", "joe@domain.com")
    assert link.lstat().st_mode == plain.lstat().st_mode
    assert (link.lstat().st_uid, link.lstat().st_gid) == owner
