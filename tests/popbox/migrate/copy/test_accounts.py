"""accounts.toml of each dialect: what is in it, what is left, and that mailhost takes it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from passlib.hash import sha512_crypt
from tests.popbox.migrate.oldhosts import HASH, HOSTS, QMAIL, assign, put

from popbox.cli.migrate import migrate
from popbox.migrate.copy.accounts import LOCKED


def imported(source: Path, to: Path, *options: str) -> Result:
    """Run the command; the accounts are in ``to/accounts.toml``."""
    return CliRunner().invoke(migrate, ["import", str(source), "--to", str(to), *options], standalone_mode=False)


def declared(source: Path, to: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """The domains of the accounts.toml made, which mailhost has taken (the import asks it)."""
    result = imported(source, to, *options)
    assert result.return_value == code, (result.output, result.exception)
    domains: dict[str, Any] = tomllib.loads((to / "accounts.toml").read_text())["domains"]
    return domains


def left(to: Path) -> list[str]:
    """The lines of not-carried.txt."""
    return (to / "not-carried.txt").read_text().splitlines()


def test_howto(tmp_path: Path) -> None:
    domains = declared(HOSTS["howto"](tmp_path / "old"), tmp_path / "new")
    assert domains == {
        "domain.com": {
            "catchall": "joe",
            "mailboxes": {
                "joe": {"login": "aa0001", "crypt": HASH, "extensions": True, "aliases": ["info"]},
                "ann": {"login": "aa0002", "crypt": HASH},
            },
            "forwards": {"ann": ["ann@elsewhere.example"], "sales": ["joe@domain.com", "x@elsewhere.example"]},
        },
        "domain.net": {"alias_of": "domain.com"},
    }
    toml = tomllib.loads((tmp_path / "new/accounts.toml").read_text())
    assert toml["system"] == {"postmaster": ["joe@domain.com"]}
    assert (tmp_path / "new/accounts.toml").stat().st_mode & 0o777 == 0o600


def test_dtc_with_its_catchall_box_that_has_no_line(tmp_path: Path) -> None:
    assert declared(HOSTS["dtc"](tmp_path / "old"), tmp_path / "new") == {
        "site.example": {
            "catchall": "info",
            "mailboxes": {
                "bob": {"login": "bob@site.example", "crypt": HASH},
                "info": {"login": "info@site.example", "crypt": HASH},
            },
        }
    }


def test_vpopmail(tmp_path: Path) -> None:
    assert declared(HOSTS["vpopmail"](tmp_path / "old"), tmp_path / "new") == {
        "v.example": {
            "catchall": "postmaster",
            "mailboxes": {
                "postmaster": {"login": "postmaster@v.example", "crypt": HASH},
                "joe": {"login": "joe@v.example", "crypt": HASH},
            },
            "forwards": {"info": ["joe@v.example"]},
        },
        "w.example": {"alias_of": "v.example"},
    }


def test_a_catchall_into_a_box_that_forwards_sends_its_copies_once(tmp_path: Path) -> None:
    root = HOSTS["vpopmail"](tmp_path / "old")
    put(root / "home/vpopmail/domains/v.example/postmaster/.qmail", "./Maildir/\n&p@elsewhere.example\n")
    domain = declared(root, tmp_path / "new")["v.example"]
    assert domain["catchall"] == "postmaster"
    assert domain["forwards"]["postmaster"] == ["p@elsewhere.example"]
    assert "catchall" not in domain["forwards"]


def test_system(tmp_path: Path) -> None:
    boxes = {name: {"login": name, "crypt": HASH} for name in ("ann", "ben", "cat")}
    assert declared(HOSTS["system"](tmp_path / "old"), tmp_path / "new") == {"users.example": {"mailboxes": boxes}}


def test_plain_passwords_are_hashed_once_and_never_shown(tmp_path: Path) -> None:
    old, new = HOSTS["dtc"](tmp_path / "old"), tmp_path / "new"
    put(old / "etc/poppasswd", f"bob@site.example:hush-hush\ninfo@site.example:{HASH}:nobody:/x\n", 0o600)
    result = imported(old, new)
    crypt = tomllib.loads((new / "accounts.toml").read_text())["domains"]["site.example"]["mailboxes"]["bob"]["crypt"]
    assert sha512_crypt.verify("hush-hush", crypt)
    assert "/etc/poppasswd:1: the plain password of bob@site.example: hashed with sha512-crypt" in left(new)
    assert "hush-hush" not in result.output
    assert all(b"hush-hush" not in path.read_bytes() for path in new.rglob("*") if path.is_file())
    before = (new / "accounts.toml").read_bytes()
    imported(old, new)
    assert (new / "accounts.toml").read_bytes() == before, "the same password, so the same hash"
    put(old / "etc/poppasswd", "bob@site.example:another\n", 0o600)
    imported(old, new)
    crypt = tomllib.loads((new / "accounts.toml").read_text())["domains"]["site.example"]["mailboxes"]["bob"]["crypt"]
    assert sha512_crypt.verify("another", crypt)


def test_vpopmail_switches_that_mailhost_has_not(tmp_path: Path) -> None:
    old, new = HOSTS["vpopmail"](tmp_path / "old"), tmp_path / "new"
    domain = old / "home/vpopmail/domains/v.example"
    top = "/home/vpopmail/domains/v.example"
    put(
        domain / "vpasswd",
        f"joe:{HASH}:1:2:Joe:{top}/joe:10485760S\npostmaster:{HASH}:1:16::{top}/postmaster:NOQUOTA:clear\n",
        0o600,
    )
    put(domain / ".qmail-default", "| /home/vpopmail/bin/vdelivermail '' delete\n", 0o600)
    put(domain / ".qmail-list", "| /usr/local/bin/ezmlm-send list\n", 0o600)
    boxes = declared(old, new, code=1)["v.example"]["mailboxes"]
    assert boxes["joe"]["crypt"] == "!" + HASH, "POP3 was barred"
    assert boxes["postmaster"]["crypt"] == HASH
    said = "\n".join(left(new))
    assert "vpasswd:1: POP3 barred" in said
    assert "vpasswd:1: quota 10485760S" in said
    assert "vpasswd:2: mail for postmaster@v.example bounces" in said
    assert ".qmail-default:1: unknown addresses of v.example are thrown away" in said
    assert ".qmail-list:1: program '/usr/local/bin/ezmlm-send list'" in said
    assert "clear" not in said


def test_nothing_is_silently_dropped(tmp_path: Path) -> None:
    old, new = HOSTS["system"](tmp_path / "old"), tmp_path / "new"
    put(old / "home/ann/.procmailrc", ":0\n/dev/null\n")
    put(old / "home/ann/.qmail-lists", "|program\n")
    put(old / "home/ann/Mailbox", (old / "home/ben/Mailbox").read_bytes())
    put(old / QMAIL / "alias/.qmail-webmaster", "&ann@users.example\n")
    put(old / "etc/shadow", f"ann:*:1::\nben:{HASH}:1::\ncat:{HASH}:1::\n", 0o600)
    domain = declared(old, new, code=1)["users.example"]
    assert domain["mailboxes"]["ann"]["crypt"] == LOCKED
    assert domain["forwards"] == {"webmaster": ["ann@users.example"]}
    assert len(list(new.glob("popboxes/users-example/ann-mbox/Maildir/[cn]*/*"))) == 2
    size = (old / "home/ann/Mailbox").stat().st_size
    quoting = "lines `>From ` (1, with more > 1) lose one >; in mboxo those with more than one would stay"
    mboxes = ("/home/ann/Mailbox", "/home/ben/Mailbox", "/var/spool/mail/cat")
    assert sorted(line for line in left(new) if line.endswith(quoting)) == [f"{file}: {quoting}" for file in mboxes]
    assert [line for line in left(new) if not line.endswith(quoting)] == [
        "/etc/shadow:1: password of ann: it has no usable hash; the login is imported locked",
        "/home/ann/.procmailrc: .procmailrc of ann: mailhost runs no filters",
        "/home/ann/.qmail-lists: address ann-lists@users.example: "
        "what its .qmail does cannot be declared; its mail will bounce",
        "/home/ann/.qmail-lists:1: program 'program': mailhost runs none; write its .qmail by hand",
        "/home/ann/Mailbox: login of ann-mbox@users.example: the old host has none; the new one gets a locked one",
        f"/home/ann/Mailbox: more mail of ann, {size} octets: "
        "POP3 is taken to show one place only; this comes into ann-mbox@users.example, which that login does not open",
        "/home/ann/Mailbox: the UIDLs of 3 mbox files: `import --pop3` has them from the server, while it runs",
    ]


def test_what_forwards_to_a_lost_address_is_named_to_the_end_of_the_chain(tmp_path: Path) -> None:
    old, new = HOSTS["howto"](tmp_path / "old"), tmp_path / "new"
    home = "/var/qmail/popboxes/domain-com"
    texts = {
        "far": "&near@domain.com\n",
        "near": "&Gone@domain.com\n",
        "gone": "|program\n",
        "safe": "&joe@domain.com\n",
    }
    texts["both"] = "&safe@domain.com\n&far@domain.com\n"
    texts["round"] = "&round@domain.com\n&near@domain.com\n"
    for name, text in texts.items():
        put(old / home[1:] / name / ".qmail", text)
    lines = [f"=domain-com-{name}:popuser:888:888:{home}/{name}:::" for name in ("joe", *texts)]
    assign(old / QMAIL, *lines)
    declared(old, new, code=1)
    told = [line.split(": ")[1] for line in left(new) if "that address is lost" in line]
    assert sorted(told) == [
        "mail for both@domain.com to far@domain.com",
        "mail for far@domain.com to near@domain.com",
        "mail for near@domain.com to gone@domain.com",
        "mail for round@domain.com to near@domain.com",
    ]


def test_prefixes_that_mailhost_refuses_become_others(tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    for name, prefix in (("domain.com.br", "domain-com-br"), ("alias.example", "alias-example")):
        for file, text in (("virtualdomains", f"{name}:{prefix}\n"), ("rcpthosts", f"{name}\n")):
            with (old / QMAIL / "control" / file).open("a") as out:
                out.write(text)
    boxes = "/var/qmail/popboxes/domain-com"
    assign(
        old / QMAIL,
        f"=domain-com-joe:popuser:888:888:{boxes}/joe:::",
        f"=domain-com-br-joe:popuser:888:888:{boxes}/ann:::",
        f"=alias-example-joe:popuser:888:888:{boxes}/sales:::",
    )
    domains = declared(old, tmp_path / "new")
    assert domains["domain.com.br"]["prefix"] == "domain_com_br"
    assert domains["alias.example"]["prefix"] == "alias_example"
    assert "prefix" not in domains["domain.com"]


def test_vpopmails_home_alone_is_enough(tmp_path: Path) -> None:
    domains = declared(HOSTS["vpopmail"](tmp_path / "old") / "home/vpopmail", tmp_path / "new")
    assert set(domains["v.example"]["mailboxes"]) == {"joe", "postmaster"}
    assert len(list((tmp_path / "new/popboxes/v-example").glob("*/Maildir/[cn]*/*"))) == 6


def test_mail_of_other_accounts_is_named(tmp_path: Path) -> None:
    old, new = HOSTS["howto"](tmp_path / "old"), tmp_path / "new"
    put(old / "etc/passwd", "root:x:0:0::/root:/bin/sh\npopuser:x:888:888::/:/x\nann:x:1000:1000::/home/ann:/bin/sh\n")
    put(old / "home/ann/Mailbox", "From x\n")
    put(old / "var/spool/mail/root", "From x\n")
    declared(old, new, code=1)
    assert left(new) == [
        "/etc/passwd:1: mail of the system account root: import it by --dialect system into another --to",
        "/etc/passwd:3: mail of the system account ann: import it by --dialect system into another --to",
    ]


@pytest.mark.parametrize("quoted", ["a login that is long " * 10, "tab\tin", "#hash"])
def test_names_that_mailhost_refuses_are_left(quoted: str, tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    with (old / QMAIL / "users/poppasswd").open("a") as out:
        out.write(f" {quoted}:{HASH}:popuser:/var/qmail/popboxes/domain-com/joe\n")
    declared(old, tmp_path / "new")
    assert any(line.startswith("/var/qmail/users/poppasswd:3: login ") for line in left(tmp_path / "new"))


def test_accounts_that_mailhost_refuses_stop_the_import_before_any_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popbox.migrate.copy.run.accounts", lambda *_: {"domains": {"x..y": {}}})
    result = imported(HOSTS["howto"](tmp_path / "old"), tmp_path / "new")
    assert "x..y" in str(result.exception)
    assert not (tmp_path / "new/popboxes").exists()
