"""`mailhost mailbox`: each verb, and each refusal; where passwords come from and where they never appear."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.poppasswd import crypt as hashing
from mailhost.poppasswd.file import Row, find

BOX = "popboxes/domain-com"


def row(host: Host, login: str) -> Row:
    found = find(host.home / "users/poppasswd", login.encode())
    assert found is not None
    return found


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_from_stdin(howto: Host, end: str) -> None:
    howto.ok("mailbox", "add", "ann@domain.com", "--login", "ann", "--password-stdin", stdin="p w" + end)
    assert hashing.verify(b"p w", row(howto, "ann").crypt)


def test_a_password_from_a_file(howto: Host, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    howto.ok("mailbox", "add", "ann@domain.com", "--login", "ann", "--password-file", str(tmp_path / "pw"))
    assert hashing.verify(b"secret", row(howto, "ann").crypt)


def test_a_generated_password_is_shown_once_and_works(howto: Host) -> None:
    said = howto.ok("mailbox", "add", "ann@domain.com", "--login", "ann", "--generate")
    password = re.search(r"^password: (\S{20})$", said, re.MULTILINE)
    assert password
    assert hashing.verify(password[1].encode(), row(howto, "ann").crypt)
    made = json.loads(howto.ok("mailbox", "add", "bob@domain.com", "--generate", "--json"))
    assert hashing.verify(made["password"].encode(), row(howto, made["login"]).crypt)


def test_a_dry_run_makes_no_password_up(howto: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailhost.cli.verbs.passwords.generated", lambda: pytest.fail("made for nothing"))
    before = howto.tree()
    for words in (["add", "ann@domain.com"], ["passwd", "joe@domain.com"]):
        said = howto.ok("mailbox", *words, "--generate", "--dry-run")
        assert said.startswith("would ")
        assert "password:" not in said
    said = howto.ok("mailbox", "add", "ann@domain.com", "--generate", "--dry-run", "--json")
    assert json.loads(said)["password"] is None
    assert howto.tree() == before


def test_no_source_and_no_terminal(howto: Host) -> None:
    assert "no terminal to ask on" in howto.refused("mailbox", "add", "ann@domain.com")


def test_mkpasswd_suggests_only_what_it_has(empty: Host) -> None:
    done = empty.run("mkpasswd", stdin="")
    assert done.exit_code == 2
    assert done.stderr == "mailhost: no terminal to ask on: give --password-stdin or --password-file\n"


def test_one_source_only(howto: Host) -> None:
    assert "give one of" in howto.refused("mailbox", "add", "a@domain.com", "--generate", "--crypt", HOWTO_CRYPT)


@pytest.mark.parametrize("password", ["", " leading", "two\nlines", "nul\0", "x" * 256])
def test_passwords_that_pop3_cannot_send(howto: Host, password: str) -> None:
    said = howto.refused("mailbox", "add", "ann@domain.com", "--password-stdin", stdin=password)
    assert "password" in said
    assert not password.strip() or password not in said


@pytest.mark.parametrize("crypt", ["", "plain", "*", "DmIMm9e5Hc8i", "a:b", "$9$x$y", HOWTO_CRYPT + "\nx:y:z:/h"])
def test_a_crypt_that_is_no_hash_is_refused_unshown(howto: Host, crypt: str) -> None:
    said = howto.refused("mailbox", "add", "ann@domain.com", "--crypt", crypt)
    assert "is not a crypt(3) hash" in said
    assert not crypt or crypt not in said


def test_a_hash_that_would_hold_a_thread_for_minutes_is_refused(howto: Host) -> None:
    evil, before = f"$6$rounds=999999999$abcdefgh${'x' * 86}", howto.text("users/poppasswd")
    for verb, address in (("add", "ann@domain.com"), ("passwd", "joe@domain.com")):
        said = howto.refused("mailbox", verb, address, "--crypt", evil)
        assert "crypt: asks for other than 1 to 1,000,000 rounds" in said
        assert evil not in said
    assert howto.text("users/poppasswd") == before


def test_extensions_are_two_lines_and_a_default_file(howto: Host) -> None:
    howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT, "--extensions")
    assert f"+domain-com-ann-:{howto.owner}:{howto.home}/{BOX}/ann:-::\n" in howto.text("users/assign")
    assert howto.text(f"{BOX}/ann/.qmail-default") == "./Maildir/\n"
    howto.ok("mailbox", "set", "ann@domain.com", "--no-extensions")
    assert "+domain-com-ann-" not in howto.text("users/assign")
    assert not (howto.home / BOX / "ann/.qmail-default").exists()
    howto.ok("mailbox", "set", "ann@domain.com", "--extensions")
    assert howto.text(f"{BOX}/ann/.qmail-default") == "./Maildir/\n"
    assert howto.ok("mailbox", "set", "ann@domain.com", "--extensions") == "nothing to change\n"
    assert "(H-13)" in howto.ok("mailbox", "show", "ann@domain.com")


def test_mbox_where_asked_and_it_says_what_that_means(howto: Host) -> None:
    assert "POP3 does not see" in howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT, "--mbox")
    assert howto.text(f"{BOX}/ann/.qmail") == "./Mailbox\n"
    assert "POP3 does not see (H-33)" in howto.ok("mailbox", "show", "ann@domain.com")
    howto.ok("mailbox", "set", "ann@domain.com", "--maildir")
    assert howto.text(f"{BOX}/ann/.qmail") == "./Maildir/\n"


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("joe@domain.com", "is declared already"),
        ("JOE@DOMAIN.COM", "is declared already"),
        ("info@domain.com", "is an alias of joe@domain.com"),
        ("joe@other.example", "domain other.example: is not declared"),
        ("joe", "has no @"),
        ("../joe@domain.com", "'/'"),
        ("a:b@domain.com", "local part"),
        ("x\n=y@domain.com", "local part"),
    ],
)
def test_addresses_that_cannot_be_added(howto: Host, address: str, rule: str) -> None:
    howto.ok("alias", "add", "info@domain.com", "joe@domain.com")
    assert rule in howto.refused("mailbox", "add", address, "--crypt", HOWTO_CRYPT)


def test_h31_a_login_is_one_boxs_only(howto: Host) -> None:
    said = howto.refused("mailbox", "add", "ann@domain.com", "--login", "testid", "--crypt", HOWTO_CRYPT)
    assert "users/poppasswd: login testid: is taken, by" in said
    howto.ok("domain", "add", "bloggs-n-co.com")
    for domain in ("domain.com", "bloggs-n-co.com"):
        howto.ok("mailbox", "add", f"joebloggs@{domain}", "--crypt", HOWTO_CRYPT)
    assert row(howto, "jo0001").home != row(howto, "jo0002").home


def test_a_line_somebody_else_wrote_for_the_address(howto: Host) -> None:
    part = howto.home / "users/domains/domain.com"
    part.write_text(part.read_text() + "=domain-com-ann:ann:1000:1000:/home/ann:::\n")
    assert "takes this address" in howto.refused("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)


def test_a_part_edited_by_hand_into_something_broken_is_not_rewritten(howto: Host) -> None:
    part = howto.home / "users/domains/domain.com"
    part.write_text("# my notes\n" + part.read_text())
    said = howto.refused("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)
    assert "users/domains/domain.com: line 1" in said


@pytest.mark.parametrize(
    ("policy", "logins"),
    [
        ("jb0001", ["jb0001", "jo0001", "jb0002"]),
        ("pop1", ["pop1", "pop2", "pop3"]),
        ("pop00001", ["pop00001", "pop00002", "pop00003"]),
    ],
)
def test_numbered_logins_are_never_given_again(empty: Host, policy: str, logins: list[str]) -> None:
    empty.ok("init", "--me", "m.example", "--logins", policy)
    empty.ok("domain", "add", "domain.com")
    given = []
    for local in ("joe.bloggs", "joe", "jim.beam"):
        made = empty.ok("mailbox", "add", f"{local}@domain.com", "--crypt", HOWTO_CRYPT, "--json")
        given.append(json.loads(made)["login"])
    assert given == logins
    empty.ok("mailbox", "del", "jim.beam@domain.com")
    again = json.loads(empty.ok("mailbox", "add", "jim.beam@domain.com", "--crypt", HOWTO_CRYPT, "--json"))["login"]
    assert again not in logins


def test_a_numbered_login_given_by_hand_is_not_given_again_either(howto: Host) -> None:
    howto.ok("mailbox", "add", "a@domain.com", "--login", "jb0041", "--crypt", HOWTO_CRYPT)
    howto.ok("mailbox", "del", "a@domain.com", "--purge")
    said = howto.ok("mailbox", "add", "b@domain.com", "--name", "Joe Bloggs", "--crypt", HOWTO_CRYPT)
    assert "login jb0042" in said


def test_passwd(howto: Host) -> None:
    said = howto.ok("mailbox", "passwd", "joe@domain.com", "--password-stdin", stdin="new pw")
    assert said == "changed mailbox joe@domain.com: password of login testid\n"
    assert hashing.verify(b"new pw", row(howto, "testid").crypt)
    assert "has no such login" in howto.refused("mailbox", "passwd", "nobody@domain.com", "--crypt", HOWTO_CRYPT)


def test_passwd_of_a_box_with_two_logins_asks_which(howto: Host) -> None:
    path = howto.home / "users/poppasswd"
    path.write_text(path.read_text() + path.read_text().replace("testid", "second"))
    said = howto.refused("mailbox", "passwd", "joe@domain.com", "--crypt", HOWTO_CRYPT)
    assert "several logins (testid, second)" in said
    howto.ok("mailbox", "passwd", "joe@domain.com", "--login", "second", "--generate")
    assert row(howto, "testid").crypt == HOWTO_CRYPT.encode()


def test_disable_and_enable(howto: Host) -> None:
    howto.ok("mailbox", "disable", "joe@domain.com")
    assert not hashing.verify(b"testpw", row(howto, "testid").crypt)
    assert "testid, disabled, hash des" in howto.ok("mailbox", "show", "joe@domain.com")
    assert howto.ok("mailbox", "disable", "joe@domain.com") == "nothing to change\n"
    howto.ok("mailbox", "enable", "joe@domain.com")
    assert row(howto, "testid").crypt == HOWTO_CRYPT.encode()
    howto.refused("mailbox", "disable", "nobody@domain.com")


def test_rename_keeps_mail_login_and_aliases(howto: Host) -> None:
    howto.ok("alias", "add", "info@domain.com", "joe@domain.com")
    howto.ok("mailbox", "set", "joe@domain.com", "--extensions")
    (howto.home / BOX / "joe/Maildir/new/1").write_text("kept")
    howto.ok("mailbox", "rename", "joe@domain.com", "joseph")
    assert howto.text(f"{BOX}/joseph/Maildir/new/1") == "kept"
    assert row(howto, "testid").home == f"{howto.home}/{BOX}/joseph".encode()
    assert "-joe" not in howto.text("users/assign").replace("-joseph", "")
    assert [a["target"] for a in json.loads(howto.ok("alias", "list", "--json"))] == ["joseph@domain.com"]
    howto.ok("mailbox", "add", "joe@domain.com", "--crypt", HOWTO_CRYPT)
    assert "is declared already" in howto.refused("mailbox", "rename", "joe@domain.com", "joseph@domain.com")
    assert "stays in its domain" in howto.refused("mailbox", "rename", "joe@domain.com", "x@other.example")


def test_del_moves_the_mail_aside_and_purge_does_not(howto: Host) -> None:
    (howto.home / BOX / "joe/Maildir/new/1").write_text("kept")
    assert "mail kept in popboxes/.removed" in howto.ok("mailbox", "del", "joe@domain.com")
    assert [p.read_text() for p in (howto.home / "popboxes/.removed").rglob("new/1")] == ["kept"]
    assert howto.text("users/poppasswd") == ""
    assert howto.text("users/assign") == ".\n"
    howto.refused("mailbox", "del", "joe@domain.com")
    howto.ok("mailbox", "add", "joe@domain.com", "--crypt", HOWTO_CRYPT)
    howto.ok("mailbox", "del", "joe@domain.com", "--purge")
    assert len(list((howto.home / "popboxes/.removed").rglob("Maildir"))) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["add", "ann@domain.com", "--crypt", HOWTO_CRYPT],
        ["del", "joe@domain.com"],
        ["passwd", "joe@domain.com", "--crypt", "$6$a$" + "x" * 86],
        ["rename", "joe@domain.com", "jim"],
        ["disable", "joe@domain.com"],
        ["set", "joe@domain.com", "--extensions", "--mbox"],
    ],
)
def test_dry_run_says_and_does_nothing(howto: Host, words: list[str]) -> None:
    before = howto.tree()
    said = howto.ok("mailbox", *words, "--dry-run")
    assert said.startswith("would ")
    assert howto.tree() == before
    howto.ok("mailbox", *words)
    assert howto.tree() != before


def test_list_and_show_never_show_the_hash(howto: Host) -> None:
    howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)
    for words in (
        ["list"],
        ["list", "domain.com", "--json"],
        ["show", "joe@domain.com"],
        ["show", "joe@domain.com", "--json"],
    ):
        said = howto.ok("mailbox", *words)
        assert HOWTO_CRYPT not in said
        assert "testid" in said
    listed = json.loads(howto.ok("mailbox", "list", "--json"))
    assert [(m["address"], m["state"], m["scheme"]) for m in listed] == [
        ("ann@domain.com", "enabled", "des"),
        ("joe@domain.com", "enabled", "des"),
    ]
    assert "not a mailbox" in howto.refused("mailbox", "show", "nobody@domain.com")


def test_mkpasswd_is_the_howtos_mkpasswd_pl(host: Host) -> None:
    made = host.ok("mkpasswd", "--scheme", "des", "--password-stdin", stdin="testpw").strip().encode()
    assert hashing.scheme_of(made) == "des"
    assert hashing.verify(b"testpw", made)
    made = host.ok("mkpasswd", "--password-stdin", stdin="testpw").strip().encode()
    assert hashing.scheme_of(made) == hashing.DEFAULT
    assert "first 8 octets" in host.run("mkpasswd", "--scheme", "des", "--password-stdin", stdin="123456789").stderr
