"""Mail and logins of the old host that no file of its dialect leads to are named, and the exit code is 1."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox.migrate.oldhosts import HASH, HOSTS, QMAIL, audited, maildir, put

MBOX = "From a@b.example Sat Jan  3 01:05:34 1998\nSubject: one\n\ntext\n\n"
SPOOL = "mail of a hashed spool or of another server"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The accounts ann, ben and cat."""
    return HOSTS["system"](tmp_path / "old")


def lost(old: Path) -> list[str]:
    return [f"{one.where} {one.what}: {one.why.partition(':')[0]}" for one in audited(old).lost]


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["a/ann"], ["/var/mail/a", "/var/mail/a/ann"]),
        (["a/n/ann", "a/b/abe"], ["/var/mail/a", "/var/mail/a/b/abe"]),
        (["vhosts/x.example/joe"], ["/var/mail/vhosts", "/var/mail/vhosts/x.example/joe"]),
        (["a/.ann.lock", "dovecot"], []),
    ],
)
def test_an_mbox_in_a_directory_of_the_spool_is_lost_by_name(files: list[str], named: list[str], old: Path) -> None:
    for file in files:
        put(old / "var/mail" / file, MBOX)
    put(old / "var/mail/a/index", "no mail\n")
    put(old / "var/mail/a/empty", "")
    found = [(str(one.where), one.what) for one in audited(old).lost]
    assert found == ([(named[0], f"{SPOOL} ({named[1]})")] if named else [])


def test_a_maildir_in_a_directory_of_the_spool_is_lost_by_name(old: Path) -> None:
    maildir(old / "var/mail/vhosts/x.example/joe/Maildir", 1)
    maildir(old / "var/mail/vhosts/x.example/eva", 0)
    found = [(str(one.where), one.what) for one in audited(old).lost]
    assert found == [("/var/mail/vhosts", f"{SPOOL} (/var/mail/vhosts/x.example/joe/Maildir)")]


@pytest.mark.parametrize("host", ["howto", "system"])
@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("etc/dovecot/users", f"# all\neve@x:{HASH}::::\nzoe:{{PLAIN}}x\n", "2 logins of another POP3 server: eve@x"),
        ("etc/courier/userdb", f"eve\tuid=8|home=/mail/eve|systempw={HASH}\n", "a login of another POP3 server: eve"),
        ("usr/local/etc/authlib/userdb/x", f"eve\tuid=8|systempw={HASH}\n", "a login of another POP3 server: eve"),
        ("etc/dovecot/users", "# user:hash\n\n", None),
    ],
)  # fmt: skip
def test_logins_of_another_server_are_lost_by_name(
    host: str, file: str, text: str, named: str | None, tmp_path: Path
) -> None:
    old = HOSTS[host](tmp_path / "old")
    before = lost(old)
    put(old / file, text)
    assert sorted(set(lost(old)) - set(before)) == ([f"/{file} {named}"] if named else [])


def test_logins_that_are_known_are_no_loss(old: Path) -> None:
    put(old / "etc/dovecot/users", "".join(f"{name}:{HASH}:::::\n" for name in ("ann", "ben", "cat")))
    assert lost(old) == []


def test_accounts_of_qmail_ldap_and_vmailmgr_are_lost_by_name(old: Path) -> None:
    put(old / QMAIL / "control/ldapserver", "ldap.example.net\n")
    put(old / "home/ann/passwd.cdb", b"")
    assert lost(old) == [
        "/home/ann/passwd.cdb virtual users of vmailmgr: no dialect reads them, nor the mail in users/",
        "/var/qmail/control/ldapserver accounts of qmail-ldap: they are not in SOURCE",
    ]
