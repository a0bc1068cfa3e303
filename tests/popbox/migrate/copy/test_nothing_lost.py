"""Exit code 0: every login opens its mail and every address takes mail. All else is named, with exit code 1."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.migrate.copy.test_accounts import imported, left
from tests.popbox.migrate.oldhosts import HOSTS, MBOX, QMAIL, assign, audited, maildir, put

BOXES = f"{QMAIL}/popboxes/domain-com"
ELSEWHERE = "&x@elsewhere.example\n"


def run(old: Path, *options: str) -> tuple[int, dict[str, Any], list[str], str]:
    """An import: exit code, the table of accounts.toml, not-carried.txt, the output."""
    result = imported(old, old.parent / "to", *options)
    assert result.exception is None, result.exception
    table = tomllib.loads((old.parent / "to/accounts.toml").read_text())
    return result.return_value, table, left(old.parent / "to"), result.output


def count(old: Path, prefix: str, local: str) -> int:
    return len(list((old.parent / "to").glob(f"popboxes/{prefix}/{local}/Maildir/[cn]*/*")))


@pytest.mark.parametrize("place", ["Maildir", "Mailbox", "spool", "linked spool"])
def test_a_system_account_that_only_forwards_keeps_login_and_old_mail(place: str, tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    if place == "Maildir":
        maildir(old / "home/ben/Maildir", 2)
        (old / "home/ben/Mailbox").unlink()
    elif place != "Mailbox":
        (old / "home/ben/Mailbox").unlink()
        put(old / "var/spool/mail/ben", MBOX)
    if place == "linked spool":
        (old / "var/mail").symlink_to("spool/mail")
    put(old / "home/ben/.qmail", ELSEWHERE)
    code, table, _, _ = run(old)
    domain = table["domains"]["users.example"]
    assert code == 0
    assert domain["forwards"]["ben"] == ["x@elsewhere.example"]
    assert domain["mailboxes"]["ben-box"]["login"] == "ben"
    assert count(old, "users-example", "ben-box") == 2
    assert set(domain["mailboxes"]) == {"ann", "ben-box", "cat"}


@pytest.mark.parametrize("line", [ELSEWHERE, "./Maildir/\n", ""])
def test_mail_in_two_places_comes_whole_and_is_named(line: str, tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    maildir(old / "home/ben/Maildir", 3)
    put(old / "var/spool/mail/ben", MBOX + MBOX)
    put(old / "home/ben/.qmail", line or "# nothing\n")
    code, table, lines, _ = run(old)
    assert code == 1
    assert len(list((old.parent / "to").glob("popboxes/users-example/*en*/Maildir/[cn]*/*"))) == 3 + 2 + 4
    assert sum("more mail of ben" in line for line in lines) == 2
    logins = [box["login"] for box in table["domains"]["users.example"]["mailboxes"].values() if "login" in box]
    assert sorted(logins) == ["ann", "ben", "cat"]


def test_an_empty_maildir_does_not_hide_the_mail_in_the_spool(tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    maildir(old / "home/cat/Maildir", 0)
    code, _, _, _ = run(old)
    assert (code, count(old, "users-example", "cat")) == (0, 2)


@pytest.mark.parametrize(
    ("row", "home"),
    [
        ("al\xefce:{}:1:::::::", "alice"),
        (f"{'n' * 70}:{{}}:1:::::::", "long"),
        ("#ann:{}:1:::::::", "hash"),
        ("a..b:{}:1:::::::", "dots"),
    ],
)
def test_an_account_whose_name_mailhost_refuses_is_lost_by_name(row: str, home: str, tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    name = row.partition(":")[0]
    passwd = (old / "etc/passwd").read_bytes()
    put(old / "etc/passwd", passwd + f"{name}:x:1009:1009::/home/{home}:/bin/sh\n".encode("latin-1"))
    maildir(old / "home" / home / "Maildir", 1)
    code, _, _, output = run(old)
    assert code == 1
    assert "lost: /etc/passwd:6: account " in output


def test_addresses_of_a_system_host_that_come_and_those_that_are_lost(tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    alias = old / QMAIL / "alias"
    put(alias / ".qmail-sales", "&ann@users.example\n" + ELSEWHERE)
    put(alias / ".qmail-ann-x", ELSEWHERE)  # ann is an account, so it is not asked (Q-GETPW-1)
    put(alias / ".qmail-list-owner", ELSEWHERE)
    put(alias / ".qmail-postmaster", ELSEWHERE)
    put(old / "home/ann/.qmail-default", "./Maildir/\n")
    put(old / "home/ann/.qmail-news", "./Maildir/\n")
    code, table, _, output = run(old)
    domain = table["domains"]["users.example"]
    assert code == 0, output
    assert domain["mailboxes"]["ann"]["extensions"] is True
    assert domain["mailboxes"]["ann"]["aliases"] == ["ann-news"]
    assert set(domain["forwards"]) == {"sales", "list-owner", "postmaster"}
    assert table["system"] == {"postmaster": ["x@elsewhere.example"]}


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("home/ann/.qmail-default", ELSEWHERE, "addresses ann-...@users.example"),
        ("home/ann/.qmail-list-default", "./Maildir/\n", "addresses ann-list-...@users.example"),
        ("home/ann/.qmail-default", "|vdeliver\n", "addresses ann-...@users.example"),
        (f"{QMAIL}/alias/.qmail-list-default", ELSEWHERE, "addresses list-...@users.example"),
        (f"{QMAIL}/alias/.qmail-majordomo", "|/usr/lib/majordomo/wrapper\n", "address majordomo@users.example"),
        (f"{QMAIL}/alias/.qmail-x y", ELSEWHERE, "address x y@users.example"),
        (f"{QMAIL}/alias/.qmail-postmaster", "|program\n", "system alias postmaster"),
        (f"{QMAIL}/alias/.qmail-mailer-daemon", "# thrown away\n", "system alias mailer-daemon"),
        ("root/Mailbox", MBOX, "mail of root"),
    ],
)
def test_an_address_of_a_system_host_that_cannot_come_is_lost_by_name(
    file: str, text: str, what: str, tmp_path: Path
) -> None:
    old = HOSTS["system"](tmp_path / "old")
    put(old / file, text)
    code, _, _, output = run(old)
    assert code == 1
    assert any(line.startswith("lost: /") and f": {what}: " in line for line in output.splitlines()), output


def test_a_catchall_of_alias_takes_the_extensions_of_a_forward_too(tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    put(old / QMAIL / "alias/.qmail-list-default", ELSEWHERE)
    put(old / QMAIL / "alias/.qmail-default", ELSEWHERE)
    code, table, _, output = run(old)
    assert code == 0, output
    assert table["domains"]["users.example"]["catchall"] == "catchall"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("=domain-com-tim:popuser:888:888:/nowhere/tim:::", "address domain-com-tim: "),
        ("=domain-com-t im:popuser:888:888:/{0}/ann:::", "address t im@domain.com: "),
        (f"=domain-com-{'t' * 65}:popuser:888:888:/{{0}}/ann:::", f"address {'t' * 65}@domain.com: "),
        ("=ann:popuser:888:888:/{0}/ann:::", "address ann: "),
        ("+domain-com-ann:popuser:888:888:/{0}/ann:::", "addresses ann...@domain.com without a dash behind it: "),
        ("+domain-com-sales-:popuser:888:888:/{0}/sales:-::", "addresses sales-...@domain.com: "),
        ("+domain-com-info-:popuser:888:888:/{0}/tom:-::", "addresses info-...@domain.com: "),
        ("rubbish", "what users/cdb holds: "),
    ],
)
def test_a_line_of_users_assign_that_cannot_come_is_lost_by_name(line: str, what: str, tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    text = (old / QMAIL / "users/assign").read_text()
    assign(old / QMAIL, *text.splitlines()[:-1], line.format(BOXES))
    put(old / BOXES / "sales/.qmail-default", ELSEWHERE)
    put(old / BOXES / "tom/.qmail-default", ELSEWHERE)
    code, _, _, output = run(old)
    assert code == 1
    assert any(told.startswith(f"lost: /{QMAIL}/") and f": {what}" in told for told in output.splitlines()), output


@pytest.mark.parametrize(
    "text", ["", "./Mailbox\n", "|program\n", "# thrown away\n", "&x@elsewhere.example\n|program\n"]
)
@pytest.mark.parametrize("alias", ["root", "postmaster", "mailer-daemon", "webmaster", "default"])
def test_an_alias_of_a_howto_host_that_cannot_come_is_lost_by_name(alias: str, text: str, tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    put(old / QMAIL / "alias" / f".qmail-{alias}", text)
    lost = [one.what for one in audited(old).lost]
    comes = text in ("", "./Mailbox\n") and alias not in ("webmaster", "default")
    assert lost == ([] if comes else [f"system alias {alias}"])


TRIO = ("postmaster", "mailer-daemon", "root")


@pytest.mark.parametrize("dialect", HOSTS)
@pytest.mark.parametrize("mail", [None, "", MBOX])
def test_the_files_of_alias_that_qmail_installs_are_no_loss(dialect: str, mail: str | None, tmp_path: Path) -> None:
    """INSTALL.alias: three empty files, so all of it comes into ~alias/Mailbox, which no login opens."""
    old = HOSTS[dialect](tmp_path / "old")
    for name in TRIO:
        put(old / QMAIL / f"alias/.qmail-{name}", "")
    if mail is not None:
        put(old / QMAIL / "alias/Mailbox", mail, 0o600)
    code, table, _, output = run(old)
    assert code == 0, output
    address = "mailer-daemon@users.example" if dialect == "system" else "alias-mbox@local.invalid"
    assert table["system"] == {name: [address] for name in TRIO}
    local, _, domain = address.partition("@")
    assert "login" not in table["domains"][domain]["mailboxes"][local]
    assert count(old, domain.replace(".", "-"), local) == (2 if mail else 0)


@pytest.mark.parametrize("default", ["./Maildir/", "./Maildir/\n", "./Maildir/\n&x@elsewhere.example\n"])
def test_an_empty_file_means_what_qmail_start_was_given(default: str, tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    put(old / QMAIL / "control/defaultdelivery", default)
    put(old / QMAIL / "alias/.qmail-root", "")
    maildir(old / QMAIL / "alias/Maildir", 2)
    put(old / BOXES / "joe/.qmail", "")
    (old / BOXES / "ann/.qmail").unlink()
    code, table, _, output = run(old)
    assert code == 0, output
    more = ["x@elsewhere.example"] if "&" in default else []
    assert table["system"]["root"] == [*more, "alias-maildir@local.invalid"]
    forwards = table["domains"]["domain.com"]["forwards"]
    assert (forwards.get("joe", []), forwards.get("ann", [])) == (more, more)
    assert count(old, "local-invalid", "alias-maildir") == 2


def test_the_domain_of_alias_overlaps_no_other(tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    for file, text in (("virtualdomains", "b.example:local\n"), ("rcpthosts", "b.example\n")):
        with (old / QMAIL / "control" / file).open("a") as out:
            out.write(text)
    put(old / QMAIL / "alias/.qmail-root", "")
    assert audited(old).accounts.domains["local.invalid"].prefix == "local_invalid"


def test_a_line_for_the_whole_host_and_a_short_one_are_catchalls(tmp_path: Path) -> None:
    """E-28: the longest prefix decides, so `+:` has what no other line takes, of every domain."""
    old = HOSTS["howto"](tmp_path / "old")
    for file in ("virtualdomains", "rcpthosts"):
        with (old / QMAIL / "control" / file).open("a") as out:
            out.write("b.example:b-example\n" if file == "virtualdomains" else "b.example\n")
    lines = (old / QMAIL / "users/assign").read_text().splitlines()[:-1]
    assign(old / QMAIL, "+:popuser:888:888:/var/all:-::", *lines)
    put(old / "var/all/.qmail-b-example-tim", "&tim@elsewhere.example\n")
    put(old / "var/all/.qmail-default", ELSEWHERE)
    code, table, _, output = run(old)
    lost = [line for line in output.splitlines() if line.startswith("lost: ")]
    assert (code, len(lost)) == (1, 1)
    assert f"lost: /{QMAIL}/users/assign:1: all addresses of the local domains: " in lost[0]
    assert table["domains"]["domain.com"]["catchall"] == "joe"
    forwards = table["domains"]["b.example"]["forwards"]
    assert forwards == {"tim": ["tim@elsewhere.example"], "catchall": ["x@elsewhere.example"]}


@pytest.mark.parametrize("key", ["joe@domain.com:special", ".domain.com:domain-com", "_x.example:x", "xn--0.example:x"])
def test_a_virtual_domain_that_cannot_be_declared_is_lost_by_name(key: str, tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    with (old / QMAIL / "control/virtualdomains").open("a") as out:
        out.write(f"{key}\n")
    code, _, _, output = run(old)
    assert code == 1
    assert f"lost: /{QMAIL}/control/virtualdomains:3: " in output


@pytest.mark.parametrize("file", ["control/virtualdomains", "users/poppasswd", "users/assign", "control/rcpthosts"])
def test_a_file_that_cannot_be_read_is_lost_by_name(file: str, tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    (old / QMAIL / file).unlink()
    (old / QMAIL / file).mkdir()
    code, _, _, output = run(old, "--dialect", "howto")
    assert code == 1
    assert f"lost: /{QMAIL}/{file}: what it holds: " in output


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("control/rcpthosts", "old.example.net\ndomain.com\ndomain.net\nb.org\n", "rcpthosts:4: addresses of b.org"),
        ("control/percenthack", "domain.com\n", "percenthack:1: addresses NAME%DOMAIN@domain.com"),
        ("../../etc/passwd", "bill:x:500:5::/home/bill:\n", "passwd:1: address and login of the system account bill"),
    ],
)  # fmt: skip
def test_an_address_beside_the_virtual_domains_is_lost_by_name(
    file: str, text: str, named: str, tmp_path: Path
) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    put(old / "home/bill/.qmail", ELSEWHERE)
    put(old / QMAIL / file, text)
    lost = [str(one) for one in audited(old).lost]
    assert len(lost) == 1
    assert f"/{named}: " in lost[0]


def test_accounts_that_take_no_mail_are_no_loss(tmp_path: Path) -> None:
    """The owner of the mailboxes, an account that has never had mail, root, and alias."""
    old = HOSTS["howto"](tmp_path / "old")
    for home in ("home/bill", "root"):
        (old / home).mkdir(parents=True)
    put(old / "root/.qmail", ELSEWHERE)
    rows = ("popuser:x:888:888::/var/qmail/popboxes", "bill:x:1000:1000::/home/bill", "root:x:0:0::/root",
            "alias:x:71:71::/var/qmail/alias")  # fmt: skip
    put(old / "etc/passwd", "".join(f"{row}:/bin/sh\n" for row in rows))
    assert audited(old).lost == []


@pytest.mark.parametrize("text", ["|unknown\n", "|safecat ./Other/tmp ./Other/new 2>/tmp/log\n", "./Maildir/\n"])
def test_mail_that_an_unknown_program_may_have_put_beside_the_mailbox_is_lost(text: str, tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    maildir(old / BOXES / "ann/Other", 2)
    put(old / BOXES / "ann/.qmail", text)
    found = audited(old)
    named = [one for one in found.left if one.where.file == f"/{BOXES}/ann/Other"]
    assert [(one.what, one.lost) for one in named] == [("mail", text.startswith("|"))]


def test_a_program_whose_output_goes_to_dev_null_is_known(tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    maildir(old / BOXES / "ann/Other", 2)
    put(old / BOXES / "ann/.qmail", "|safecat $HOME/Other/tmp $HOME/Other/new >/dev/null 2>&1\n")
    code, _, _, _ = run(old)
    assert (code, count(old, "domain-com", "ann"), count(old, "domain-com", "aa0002")) == (0, 3, 2)


def test_a_program_of_which_nothing_is_known_has_the_mail_that_a_later_line_refuses(tmp_path: Path) -> None:
    """It may be the delivery: the mail comes into the mailbox, and elsewhere it is lost by name."""
    old = HOSTS["vpopmail"](tmp_path / "old")
    domain = old / "home/vpopmail/domains/v.example"
    put(domain / "joe/.qmail", "|unknown\n|bouncesaying gone\n")
    put(domain / ".qmail-sales", "|unknown\n|bouncesaying gone\n")
    found = audited(old)
    assert [one.what for one in found.lost] == ["address sales@v.example"]
    assert "joe" in found.accounts.domains["v.example"].boxes


@pytest.mark.parametrize("empty", [True, False])
def test_an_extension_of_a_system_account_comes_to_what_its_login_opens(empty: bool, tmp_path: Path) -> None:
    """Mail for a place of the account that holds none; one that holds mail is a mailbox of its own, and named."""
    old = HOSTS["system"](tmp_path / "old")
    put(old / "home/ann/.qmail-list", "./Mailbox\n")
    put(old / "home/ann/Mailbox", "" if empty else MBOX)
    found = audited(old)
    boxes = found.accounts.domains["users.example"].boxes
    if empty:
        assert boxes["ann"].aliases == ["ann-list"]
        assert found.lost == []
    else:
        assert [one.what.split(",")[0] for one in found.lost] == ["more mail of ann"]


def test_an_account_whose_home_is_gone_leaves_its_address_to_the_catchall(tmp_path: Path) -> None:
    """Q-GETPW-1; what it has in the spool, its login still opens."""
    old = HOSTS["system"](tmp_path / "old")
    (old / "home/cat").rmdir()
    put(old / QMAIL / "alias/.qmail-default", ELSEWHERE)
    code, table, _, _ = run(old)
    domain = table["domains"]["users.example"]
    assert (code, domain["mailboxes"]["cat-box"]["login"]) == (0, "cat")
    assert "cat" not in {*domain["mailboxes"], *domain["forwards"]}
    assert domain["forwards"][domain["catchall"]] == ["x@elsewhere.example"]


def test_a_program_that_forwards_has_done_so_when_a_later_line_refuses(tmp_path: Path) -> None:
    """Lines with & wait for the end (E-52), forward(1) does not."""
    old = HOSTS["howto"](tmp_path / "old")
    put(old / BOXES / "sales/.qmail", "|forward a@elsewhere.example\n&b@elsewhere.example\n|bouncesaying gone\n")
    assert audited(old).accounts.domains["domain.com"].forwards["sales"] == ["a@elsewhere.example"]


def test_a_line_of_users_assign_for_a_local_address_comes_and_those_of_pw2u_are_known(tmp_path: Path) -> None:
    """A system host that runs qmail-pw2u(8), with users/append; a line decides before passwd does."""
    old = HOSTS["system"](tmp_path / "old")
    put(old / "home/ann/.qmail-info", "./Maildir/\n")
    people = [line.split(":") for line in (old / "etc/passwd").read_text().splitlines()[2:]]
    lines = [f"={row[0]}:{row[0]}:{row[2]}:{row[3]}:{row[5]}:::" for row in people]
    lines += [f"+{row[0]}-:{row[0]}:{row[2]}:{row[3]}:{row[5]}:-::" for row in people]
    assign(old / QMAIL, *lines, "=info:ann:1000:1000:/home/ann:-:info:", "+list-:ann:1000:1000:/home/ann:-::")
    code, table, _, output = run(old, "--dialect", "system")
    lost = [line for line in output.splitlines() if line.startswith("lost: ")]
    assert (code, len(lost)) == (1, 1)
    assert f"lost: /{QMAIL}/users/assign:8: addresses list-...: " in lost[0]
    assert sorted(table["domains"]["users.example"]["mailboxes"]["ann"]["aliases"]) == ["ann-info", "info"]


def test_a_daemon_that_forwards_its_mail_has_an_address(tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    put(old / "var/news/.qmail", ELSEWHERE)
    with (old / "etc/passwd").open("a") as out:
        out.write("news:*:9:9::/var/news:/bin/false\n")
    assert audited(old).accounts.domains["users.example"].forwards["news"] == ["x@elsewhere.example"]


@pytest.mark.parametrize(("dialect", "file"), [("howto", f"{QMAIL}/users/poppasswd"), ("system", "etc/shadow")])
def test_passwords_that_the_copy_does_not_hold_are_lost_by_file(dialect: str, file: str, tmp_path: Path) -> None:
    old = HOSTS[dialect](tmp_path / "old")
    (old / file).unlink()
    assert [str(one.where) for one in audited(old, dialect).lost] == [f"/{file}"]


def test_hashes_in_passwd_itself_need_no_shadow(tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    hashes = dict(line.split(":")[:2] for line in (old / "etc/shadow").read_text().splitlines())
    rows = [line.split(":") for line in (old / "etc/passwd").read_text().splitlines()]
    put(old / "etc/passwd", "".join(":".join([row[0], hashes.get(row[0], "*"), *row[2:]]) + "\n" for row in rows))
    (old / "etc/shadow").unlink()
    found = audited(old)
    assert ([one.rule for one in found.findings], found.lost) == (["uidl-mbox"], [])
