"""vpopmail: who takes the mail for an address, by vdelivermail's rules; users in SQL; catchalls of every kind."""

# ruff: noqa: S608  # the dumps are read here, and no database is asked

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.popbox.migrate.oldhosts import HASH, HOSTS, QMAIL, audited, maildir, put

from popbox.cli.migrate import migrate
from popbox.migrate.oldhost.dialects.vpopmail_sql import rows

TOP = "/home/vpopmail/domains/v.example"
ELSEWHERE = "&x@elsewhere.example\n"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """joe, postmaster and the alias info; unknown addresses bounce."""
    root = HOSTS["vpopmail"](tmp_path / "old")
    put(root / TOP[1:] / ".qmail-default", "| /home/vpopmail/bin/vdelivermail '' bounce-no-mailbox\n")
    return root


def run(old: Path) -> tuple[Result, dict[str, Any], str, int]:
    """An import: its result, v.example of accounts.toml, not-carried.txt, and how many messages came."""
    to = old.parent / "to"
    result = CliRunner().invoke(migrate, ["import", str(old), "--to", str(to)], standalone_mode=False)
    assert result.exception is None, result.exception
    table = tomllib.loads((to / "accounts.toml").read_text())["domains"]["v.example"]
    return result, table, (to / "not-carried.txt").read_text(), len(list(to.glob("popboxes/*/*/Maildir/[cn]*/*")))


def with_tom(old: Path, rows: str) -> str:
    """Rows of vpasswd more, and two messages for tom, who comes with both; what is left."""
    with (old / TOP[1:] / "vpasswd").open("a") as out:
        out.write(rows)
    maildir(old / TOP[1:] / "tom/Maildir", 2)
    _, domain, left, messages = run(old)
    assert domain["mailboxes"]["tom"] == {"login": "tom@v.example", "crypt": HASH}
    assert messages == 8
    return left


def test_a_password_as_it_is_typed_may_hold_colons(old: Path) -> None:
    """The last field of vpasswd goes to the end of the line (vcdb.c of vpopmail 5.4, vgetent)."""
    with_tom(old, f"tom:{HASH}:1:0:Tom:{TOP}/tom:NOQUOTA:a:b::c\n")


def test_a_row_without_a_quota_opens_its_mailbox(old: Path) -> None:
    """What a row lacks behind the directory is empty (vcdb.c of vpopmail 5.4, vauth_getpw)."""
    left = with_tom(old, f"tom:{HASH}:1:0:Tom:{TOP}/tom\nana:{HASH}:1:0:Ana\n")
    assert "'ana' of v.example: its line cannot be read" in left


def test_a_user_that_only_forwards_keeps_login_and_old_mail_and_no_copy(old: Path) -> None:
    put(old / TOP[1:] / "joe/.qmail", ELSEWHERE)
    result, domain, left, messages = run(old)
    assert result.return_value == 0
    assert domain["forwards"]["joe"] == ["x@elsewhere.example"]
    assert set(domain["mailboxes"]) == {"joe-box", "postmaster"}
    assert domain["mailboxes"]["joe-box"]["login"] == "joe@v.example"
    assert messages == 6
    assert "new mail for joe@v.example goes to x@elsewhere.example, without a copy" in left


@pytest.mark.parametrize(
    ("text", "forwards"),
    [
        ("", None),
        (f"{TOP}/joe/Maildir/\n", None),
        ("./Maildir/\n" + ELSEWHERE, ["x@elsewhere.example"]),
        ("| /usr/bin/some-filter\n", None),
    ],
)
def test_a_user_whose_own_file_keeps_mail_has_his_box(old: Path, text: str, forwards: list[str] | None) -> None:
    put(old / TOP[1:] / "joe/.qmail", text)
    _, domain, _, messages = run(old)
    assert set(domain["mailboxes"]) == {"joe", "postmaster"}
    assert domain["forwards"].get("joe") == forwards
    assert messages == 6


@pytest.mark.parametrize(
    ("text", "boxes", "forwards"),
    [
        (ELSEWHERE, {"joe-box", "postmaster"}, ["x@elsewhere.example"]),
        (f"{TOP}/joe/Maildir/\n" + ELSEWHERE, {"joe", "postmaster"}, ["x@elsewhere.example"]),
        ("| /home/vpopmail/bin/vdelivermail '' bounce-no-mailbox\n", {"joe", "postmaster"}, ["own@elsewhere.example"]),
        ("&joe@v.example\n", {"joe", "postmaster"}, ["own@elsewhere.example"]),
    ],
)
def test_a_file_of_the_domain_decides_before_the_user(
    old: Path, text: str, boxes: set[str], forwards: list[str]
) -> None:
    put(old / TOP[1:] / "joe/.qmail", "./Maildir/\n&own@elsewhere.example\n")
    put(old / TOP[1:] / ".qmail-joe", text)
    _, domain, _, messages = run(old)
    assert set(domain["mailboxes"]) == boxes
    assert domain["forwards"]["joe"] == forwards
    assert messages == 6


def test_a_file_for_a_prefix_decides_too_and_one_in_upper_case_never(old: Path) -> None:
    with (old / TOP[1:] / "vpasswd").open("a") as out:
        out.write(f"joe-smith:{HASH}:1:0::{TOP}/joe-smith:NOQUOTA\n")
    maildir(old / TOP[1:] / "joe-smith/Maildir", 1)
    put(old / TOP[1:] / ".qmail-joe-default", ELSEWHERE)
    put(old / TOP[1:] / ".qmail-Joe", ELSEWHERE)
    _, domain, _, _ = run(old)
    assert domain["forwards"]["joe-smith"] == ["x@elsewhere.example"]
    assert "joe" in domain["mailboxes"]
    assert "joe" not in domain["forwards"]


@pytest.mark.parametrize(
    ("text", "catchall", "targets"),
    [
        (f"| /home/vpopmail/bin/vdelivermail '' {TOP}/joe\n", "joe", None),
        (f"| /home/vpopmail/bin/vdelivermail '' {TOP}/joe/Maildir/\n", "joe", None),
        ("| /usr/bin/spamc | /home/vpopmail/bin/vdelivermail '' joe@v.example\n", "joe", None),
        ("| /home/vpopmail/bin/vdelivermail '' x@elsewhere.example\n", "catchall", ["x@elsewhere.example"]),
        (ELSEWHERE, "catchall", ["x@elsewhere.example"]),
        (f"{TOP}/joe/Maildir/\n", "joe", None),
        ("./joe/Maildir/\n", "joe", None),
    ],
)
def test_catchalls(old: Path, text: str, catchall: str, targets: list[str] | None) -> None:
    put(old / TOP[1:] / ".qmail-default", text)
    _, domain, _, messages = run(old)
    assert domain["catchall"] == catchall
    assert domain.get("forwards", {}).get(catchall) == targets
    assert {box["login"] for box in domain["mailboxes"].values()} == {"joe@v.example", "postmaster@v.example"}
    assert messages == 6


def test_a_catchall_into_a_box_that_forwards_goes_where_that_goes(old: Path) -> None:
    put(old / TOP[1:] / "joe/.qmail", ELSEWHERE)
    put(old / TOP[1:] / ".qmail-default", f"| /home/vpopmail/bin/vdelivermail '' {TOP}/joe\n")
    _, domain, _, _ = run(old)
    assert domain["forwards"]["joe"] == domain["forwards"][domain["catchall"]] == ["x@elsewhere.example"]


def test_where_no_vdelivermail_is_called_the_catchall_takes_the_mail_of_the_boxes(old: Path) -> None:
    put(old / TOP[1:] / ".qmail-default", ELSEWHERE)
    _, domain, _, _ = run(old)
    assert domain["forwards"]["joe"] == ["x@elsewhere.example"]
    assert domain["mailboxes"]["joe-box"]["login"] == "joe@v.example"
    assert "vpopmail-not-asked" in {finding.rule for finding in audited(old).findings}


@pytest.mark.parametrize("line", ["|/usr/bin/vdeliver", "# nothing"])
@pytest.mark.parametrize("dialect", HOSTS)
def test_a_catchall_that_delivers_nowhere_is_named_and_costs_the_exit_code(
    dialect: str, line: str, tmp_path: Path
) -> None:
    root = HOSTS[dialect](tmp_path / "old")
    file = {
        "howto": f"{QMAIL}/popboxes/domain-com/joe/.qmail-default",
        "dtc": "var/www/sites/admin/site.example/Mailboxs/.qmail-default",
        "vpopmail": f"{TOP[1:]}/.qmail-default",
        "system": "home/ann/.qmail-default",
    }[dialect]
    if dialect == "system":
        put(root / QMAIL / "control/virtualdomains", "bobs.example:ann\n")
    put(root / file, f"{line}\n")
    result = CliRunner().invoke(migrate, ["audit", str(root), "--dialect", dialect], standalone_mode=False)
    assert result.return_value == 1, result.exception
    assert "[catchall-lost]" in result.output
    into = ["import", str(root), "--dialect", dialect, "--to", str(tmp_path / "to")]
    result = CliRunner().invoke(migrate, into, standalone_mode=False)
    assert result.return_value == 1, result.exception
    assert "lost: " in result.output


COLUMNS = "pw_name, pw_domain, pw_passwd, pw_uid, pw_gid, pw_gecos, pw_dir, pw_shell"
ONE = f"'joe','v.example','{HASH}',1,0,'Joe; (O''Neil), x','{TOP}/joe','NOQUOTA'"
TWO = f"'postmaster','v.example','{HASH}',1,0,NULL,'{TOP}/postmaster','NOQUOTA'"
CREATE = "CREATE TABLE `{}` (\n `pw_name` char(32) NOT NULL,\n {} `pw_passwd` char(40), `pw_uid` int(11), `pw_gid` int(11),\n `pw_gecos` char(48), `pw_dir` char(160), `pw_shell` char(20),\n PRIMARY KEY (`pw_name`)\n) ENGINE=MyISAM;\n"  # noqa: E501
TABS = [one.strip("'").replace("NULL", r"\N") for one in TWO.split(",")]
DUMPS = {
    "mysqldump": "-- MySQL dump 10.13\n/*!40101 SET NAMES utf8 */;\n"
    + CREATE.format("vpopmail", "`pw_domain` char(96) NOT NULL,")
    + f"INSERT INTO `vpopmail` VALUES ({ONE.replace(chr(39) * 2, chr(92) + chr(39))}),({TWO});\n",
    "a table a domain": CREATE.format("v_example", "")
    + f"INSERT INTO `v_example` VALUES ({ONE}),({TWO});\n".replace("'v.example',", ""),
    "columns named": f"INSERT INTO users ({COLUMNS}) VALUES ({ONE});\nREPLACE INTO users ({COLUMNS}) VALUES ({TWO});\n",
    "pg_dump": f"-- PostgreSQL database dump\nINSERT INTO public.vpopmail ({COLUMNS}) VALUES ({ONE});\n"
    f"COPY public.vpopmail ({COLUMNS}) FROM stdin;\n" + "\t".join(TABS) + "\n\\.\n\nSELECT 1;\n",
    "sqlite": "PRAGMA foreign_keys=OFF;\n"
    + CREATE.format("vpopmail", "`pw_domain` char(96),")
    + f'INSERT INTO "vpopmail" VALUES({ONE});\nINSERT INTO vpopmail VALUES({TWO});\nCOMMIT;\n',
}


@pytest.mark.parametrize("dump", DUMPS)
def test_users_of_a_sql_dump(dump: str, old: Path) -> None:
    _, before, _, _ = run(HOSTS["vpopmail"](old.parent / "plain/old"))
    (old / TOP[1:] / "vpasswd").unlink()
    put(old / TOP[1:] / ".qmail-default", f"| /home/vpopmail/bin/vdelivermail '' {TOP}/postmaster\n")
    put(old / "home/vpopmail/etc/vpopmail.mysql", "localhost|0|v|secret|vpopmail\n")
    put(old / "home/vpopmail/vpopmail.sql", DUMPS[dump], 0o600)
    result, domain, left, messages = run(old)
    assert result.return_value == 0, result.output
    assert domain == before
    assert messages == 6
    assert left == ""


def test_an_alias_of_the_database_takes_the_mail_before_the_box(old: Path) -> None:
    put(
        old / "home/vpopmail/vpopmail.sql",
        "INSERT INTO valias (alias, domain, valias_line) VALUES ('joe','v.example','&x@elsewhere.example'),"
        f"('team','v.example','&joe@v.example'),('team','v.example','{TOP}/postmaster/Maildir/');\n",
    )
    _, domain, _, _ = run(old)
    assert domain["forwards"]["joe"] == ["x@elsewhere.example"]
    assert domain["forwards"]["team"] == ["joe@v.example", "postmaster@v.example"]
    assert domain["mailboxes"]["joe-box"]["login"] == "joe@v.example"


def test_users_in_sql_without_a_dump_are_the_reason_and_not_exit_0(old: Path) -> None:
    (old / TOP[1:] / "vpasswd").unlink()
    put(old / "home/vpopmail/etc/vpopmail.mysql", "localhost|0|v|secret|vpopmail\n")
    result, _, left, messages = run(old)
    assert result.return_value == 1
    assert messages == 0
    assert "/home/vpopmail/etc/vpopmail.mysql says that users are in SQL, and no dump (*.sql) has them" in result.output
    assert f"{TOP}/joe: a mailbox directory: who may log in to it is not in SOURCE" in left
    assert "secret" not in result.output + left


def test_rows_of_a_dump_know_their_line_and_survive_what_is_torn() -> None:
    text = b"-- a; comment's\nINSERT INTO t (a,b) VALUES\n(1,'x\\'y;'),(NULL,\"z\");\nINSERT INTO t (a) VALUES ('torn"
    assert [(row.table, row.values, row.line) for row in rows(text)] == [
        ("t", {"a": b"1", "b": b"x'y;"}, 2),
        ("t", {"a": b"", "b": b"z"}, 2),
    ]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("list", "|/usr/bin/ezmlm/ezmlm-send /home/list\n", "address list@v.example"),
        ("auto", "|/usr/bin/autorespond 10000 5 /a/message /a\n", "address auto@v.example"),
        ("void", "# thrown away\n", "address void@v.example"),
        ("list-return-default", "|/usr/bin/ezmlm/ezmlm-return /home/list\n", "addresses list-return-...@v.example"),
        ("list-default", ELSEWHERE, "addresses list-...@v.example"),
        ("x y", ELSEWHERE, "a .qmail file for 'x y'"),
    ],
)
def test_an_alias_that_cannot_come_is_lost_by_name(old: Path, name: str, text: str, what: str) -> None:
    put(old / TOP[1:] / f".qmail-{name}", text)
    assert [one.what for one in audited(old).lost] == [what]


@pytest.mark.parametrize("text", ["|bouncesaying gone\n", "| /home/vpopmail/bin/vdelivermail '' bounce-no-mailbox\n"])
def test_an_alias_that_refuses_is_none(old: Path, text: str) -> None:
    put(old / TOP[1:] / ".qmail-gone", text)
    found = audited(old)
    assert found.lost == []
    assert "gone" not in found.accounts.domains["v.example"].forwards


def test_an_owner_address_and_a_link_are_addresses(old: Path) -> None:
    put(old / TOP[1:] / ".qmail-list-owner", ELSEWHERE)
    (old / TOP[1:] / ".qmail-boss").symlink_to(".qmail-list-owner")
    forwards = audited(old).accounts.domains["v.example"].forwards
    assert forwards["list-owner"] == forwards["boss"] == ["x@elsewhere.example"]


def test_extensions_that_go_into_the_box_or_the_way_of_the_catchall_come(old: Path) -> None:
    put(old / TOP[1:] / ".qmail-joe-default", f"{TOP}/joe/Maildir/\n")
    put(old / TOP[1:] / ".qmail-list-default", ELSEWHERE)
    put(old / TOP[1:] / ".qmail-default", f"| /home/vpopmail/bin/vdelivermail '' {ELSEWHERE[1:-1]}\n")
    found = audited(old)
    assert found.lost == []
    assert found.accounts.domains["v.example"].boxes["joe"].extensions


def test_unknown_addresses_that_are_thrown_away_are_lost(old: Path) -> None:
    put(old / TOP[1:] / ".qmail-default", "| /home/vpopmail/bin/vdelivermail '' delete\n")
    assert [one.what for one in audited(old).lost] == ["unknown addresses of v.example are thrown away"]


@pytest.mark.parametrize("text", ["# nothing\n", "|program\n", "#\n|program\n"])
def test_mail_that_a_user_throws_away_or_gives_to_a_program_comes_into_the_box(old: Path, text: str) -> None:
    put(old / TOP[1:] / "joe/.qmail", text)
    found = audited(old)
    assert found.lost == []
    assert "joe" in found.accounts.domains["v.example"].boxes


def test_a_user_that_refuses_mail_keeps_login_and_old_mail(old: Path) -> None:
    put(old / TOP[1:] / "joe/.qmail", "|bouncesaying 'has moved'\n")
    found = audited(old)
    assert found.lost == []
    assert set(found.accounts.domains["v.example"].boxes) == {"joe-box", "postmaster"}


VALIAS = "INSERT INTO valias (alias, domain, valias_line) VALUES ('{}','v.example','{}');\n"


@pytest.mark.parametrize(
    ("rows_", "forwards", "lost"),
    [
        ([("team", "&x@elsewhere.example")], {"team": ["x@elsewhere.example"]}, []),
        ([("team", "./joe/Maildir/")], {}, []),
        ([("team", "# note"), ("team", "x@elsewhere.example")], {"team": ["x@elsewhere.example"]}, []),
        ([("team", "| /usr/bin/ezmlm-send x")], {}, ["address team@v.example"]),
        ([("joe", "| /usr/libexec/dovecot/deliver")], {}, []),
        ([("list-default", "&x@elsewhere.example")], {}, ["addresses list-...@v.example"]),
        ([("team", "not an address")], {}, ["address team@v.example", "alias team to 'not an address'"]),
        ([("te am", "&x@elsewhere.example")], {}, ["alias te am to '&x@elsewhere.example'"]),
    ],
)
def test_aliases_of_the_database(
    old: Path, rows_: list[tuple[str, str]], forwards: dict[str, list[str]], lost: list[str]
) -> None:
    put(old / "home/vpopmail/vpopmail.sql", "".join(VALIAS.format(*row) for row in rows_))
    found = audited(old)
    assert sorted(one.what for one in found.lost) == lost
    assert found.accounts.domains["v.example"].forwards == {"info": ["joe@v.example"], **forwards}


def test_tables_that_hold_no_users_are_passed_by_and_a_domains_own_table_is_found(old: Path) -> None:
    """--disable-many-domains: `vauth_munch_domain` makes `_` of `.` and `-`; lastauth, limits, vlog are beside it."""
    (old / TOP[1:] / "vpasswd").unlink()
    more = "INSERT INTO `lastauth` (user, domain, remote_ip, timestamp) VALUES ('joe','v.example','192.0.2.1',1);\n"
    more += "INSERT INTO `limits` (domain, maxpopaccounts) VALUES ('v.example',5);\n"
    more += "INSERT INTO `vlog` (user, passwd, domain) VALUES ('joe','secret','v.example');\n"
    put(old / "home/vpopmail/vpopmail.sql", DUMPS["a table a domain"] + more, 0o600)
    found = audited(old)
    assert found.lost == []
    assert {login.name for login in found.host.logins} == {"joe@v.example", "postmaster@v.example"}


@pytest.mark.parametrize(
    "file", ["etc/vpopmail.mysql", "etc/vpopmail.pgsql", "etc/vpopmail.ldap", "domains/_vpopmail.sqlite"]
)
def test_each_file_that_says_where_the_users_are(old: Path, file: str) -> None:
    (old / TOP[1:] / "vpasswd").unlink()
    put(old / "home/vpopmail" / file, "x")
    assert [one.what for one in audited(old).lost] == ["users of v.example"]
    assert "vpasswd-sql" in {finding.rule for finding in audited(old).findings}


def test_a_qmail_file_for_extensions_in_a_users_home_may_be_asked(old: Path) -> None:
    put(old / TOP[1:] / "joe/.qmail-default", ELSEWHERE)
    assert [one.what for one in audited(old).lost] == ["extensions of joe@v.example"]
