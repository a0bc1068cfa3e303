"""System accounts whose hashes or lines stand elsewhere (BSD, NIS, directories), and users/assign by qmail-pw2u."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox.migrate.oldhosts import HASH, HOSTS, QMAIL, assign, audited, put

from popbox.migrate.audit.audit import Audit


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The accounts ann, ben and cat."""
    return HOSTS["system"](tmp_path / "old")


def rows(old: Path) -> list[list[str]]:
    return [line.split(":") for line in (old / "etc/passwd").read_text().splitlines()]


def lost(old: Path, dialect: str | None = None) -> list[str]:
    return [f"{one.where} {one.what}" for one in audited(old, dialect).lost]


def crypts(found: Audit) -> dict[str, bytes | None]:
    """The hash of each login."""
    logins = [box.login for box in found.accounts.domains["users.example"].boxes.values()]
    return {login.name: login.crypt for login in logins if login is not None}


def bsd(old: Path, second: str = "*") -> dict[str, str]:
    """passwd without hashes; returns those that shadow had."""
    hashes = dict(line.split(":")[:2] for line in (old / "etc/shadow").read_text().splitlines())
    put(old / "etc/passwd", "# $FreeBSD$\n" + "".join(":".join([row[0], second, *row[2:]]) + "\n" for row in rows(old)))
    (old / "etc/shadow").unlink()
    return hashes


def test_the_hashes_of_a_bsd_are_in_master_passwd(old: Path) -> None:
    before = crypts(audited(old))
    people = {row[0]: row for row in rows(old)}
    hashes = bsd(old)
    master = [f"{name}:{crypt}:{':'.join(people[name][2:4])}::0:0:::" for name, crypt in hashes.items()]
    put(old / "etc/master.passwd", "# $FreeBSD$\n" + "".join(f"{line}\n" for line in master))
    found = audited(old)
    assert ([one.rule for one in found.findings], found.lost) == (["uidl-mbox"], [])
    assert crypts(found) == before == dict.fromkeys(("ann", "ben", "cat"), HASH.encode())
    assert all(before.values())


@pytest.mark.parametrize("second", ["*", "!"])
def test_accounts_without_a_hash_anywhere_have_lost_their_passwords(second: str, old: Path) -> None:
    bsd(old, second)
    assert lost(old) == ["/etc/passwd the passwords of the accounts"]


@pytest.mark.parametrize(
    ("line", "switch", "named"),
    [
        ("+::::::", None, ["/etc/passwd:N accounts of NIS (+)"]),
        ("+ann::::::", "passwd: compat\n", ["/etc/passwd:N accounts of NIS (+ann)"]),
        ("+@people::::::", "# all\npasswd:\tcompat systemd\n", ["/etc/passwd:N accounts of NIS (+@people)"]),
        ("+::::::", "passwd: files\nshadow: nis\n", []),
        ("", "passwd: files systemd\n", []),
        ("", "passwd: files [NOTFOUND=continue] LDAP # all\n", ["/etc/nsswitch.conf:1 accounts of ldap"]),
        ("", "group: nis\npasswd:files winbind\n", ["/etc/nsswitch.conf:2 accounts of winbind"]),
        ("", "passwd: sss files\n", []),
    ],
)  # fmt: skip
def test_users_that_stand_in_no_file_are_lost_by_name(
    line: str, switch: str | None, named: list[str], old: Path
) -> None:
    number = len(rows(old)) + 1
    with (old / "etc/passwd").open("a") as out:
        out.write(f"{line}\n")
    if switch is not None:
        put(old / "etc/nsswitch.conf", switch)
    found = audited(old)
    assert [f"{one.where} {one.what}" for one in found.lost] == [text.replace(":N", f":{number}") for text in named]
    assert [one.rule for one in found.findings] == ["uidl-mbox"]


def test_sss_counts_where_it_is_set_up(old: Path) -> None:
    put(old / "etc/nsswitch.conf", "passwd: sss files\n")
    put(old / "etc/sssd/sssd.conf", "[sssd]\n")
    assert lost(old) == ["/etc/nsswitch.conf:1 accounts of sss"]


def pw2u(old: Path, *more: str) -> None:
    """users/assign as qmail-pw2u(8) makes it of passwd, with all others to ~alias; ``more``: of users/append."""
    people = [row for row in rows(old) if row[2] != "0"]
    lines = [f"={row[0]}:{row[0]}:{row[2]}:{row[3]}:{row[5]}:::" for row in people]
    lines += [f"+{row[0]}-:{row[0]}:{row[2]}:{row[3]}:{row[5]}:-::" for row in people]
    lines += ["+alias-:alias:7790:2108:/var/qmail/alias:-::", "+:alias:7790:2108:/var/qmail/alias:-::"]
    assign(old / QMAIL, *lines, *more)


def test_lines_of_pw2u_change_nothing(old: Path) -> None:
    """Neither which dialect it is, nor what is lost, nor virtual domains below a user (Q-GETPW-2)."""
    for file, line in (("virtualdomains", "ann.org:ann-org\n"), ("rcpthosts", "ann.org\n")):
        with (old / QMAIL / "control" / file).open("a") as out:
            out.write(line)
    put(old / "home/ann/.qmail-org-info", "&x@elsewhere.example\n")
    put(old / QMAIL / "alias/.qmail-sales", "&y@elsewhere.example\n")
    before = audited(old)
    assert before.accounts.domains["ann.org"].forwards == {"info": ["x@elsewhere.example"]}
    pw2u(old)
    found = audited(old)
    assert (found.host.dialect, found.lost, found.findings) == ("system", before.lost, before.findings)
    assert found.accounts == before.accounts


def test_no_dialect_is_named_for_a_line_that_none_reads(old: Path) -> None:
    pw2u(old, "+sales-:ann:1000:1000:/home/ann:-:sales-:")
    left = audited(old).lost
    assert [one.what for one in left] == ["addresses sales-..."]
    assert "dialect howto" not in left[0].why
