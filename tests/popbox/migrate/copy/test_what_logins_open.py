"""What a login of the old host opens, it opens on the new one, whatever the .qmail there says (Q-POP3-1)."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.migrate.copy.test_accounts import imported, left
from tests.popbox.migrate.oldhosts import HASH, HOSTS, MBOX, QMAIL, assign, audited, maildir, put

BOXES = f"{QMAIL}/popboxes/domain-com"


def opened(source: Path, to: Path) -> tuple[int, dict[str, tuple[str, int]], dict[str, Any]]:
    """Exit code; login -> its address and number of messages; the domain's table."""
    result = imported(source, to)
    assert result.exception is None, result.output
    table = tomllib.loads((to / "accounts.toml").read_text())["domains"]["domain.com"]
    there = {
        box["login"]: (local, len(list(to.glob(f"popboxes/domain-com/{local}/Maildir/[nc]*/*"))))
        for local, box in table.get("mailboxes", {}).items()
        if "login" in box
    }
    return result.return_value, there, table


@pytest.mark.parametrize(
    "line",
    [
        "| /usr/bin/deliverquota ./Maildir",
        "|deliverquota -c -w 90 ./Maildir 10000000S",
        "| true\n| /usr/bin/deliverquota ./Maildir",
        "|preline procmail",
        "|preline -f /usr/bin/procmail -t DEFAULT=./Maildir/",
        "|preline /usr/bin/maildrop",
        "|safecat ./Maildir/tmp ./Maildir/new",
        '|safecat "$HOME"/Maildir/tmp "$HOME"/Maildir/new',
        "|/usr/local/bin/something unknown",
        "./Mailbox",
        "./Other/",
        "/var/elsewhere/",
        "# nothing",
        "./Maildir/.Inbox/",
    ],
)
def test_the_maildir_of_a_login_comes_under_its_address(line: str, tmp_path: Path) -> None:
    old, new = HOSTS["howto"](tmp_path / "old"), tmp_path / "new"
    put(old / BOXES / "ann/.qmail", f"{line}\n")
    code, there, _ = opened(old, new)
    assert code == 0
    assert there == {"aa0001": ("joe", 3), "aa0002": ("ann", 3)}
    told = {text.rpartition(": ")[0] for text in left(new)}
    assert bool(told) == line.startswith(("|", "#"))


@pytest.mark.parametrize("where", ["./Other/", "./Maildir/.Inbox/", "/var/elsewhere/"])
def test_mail_that_lies_elsewhere_comes_too_in_a_mailbox_of_its_own(where: str, tmp_path: Path) -> None:
    old, new = HOSTS["howto"](tmp_path / "old"), tmp_path / "new"
    put(old / BOXES / "ann/.qmail", f"{where}\n")
    maildir(old / where.lstrip("/") if where.startswith("/") else old / BOXES / "ann" / where, 2)
    _, there, table = opened(old, new)
    assert there["aa0002"] == ("ann", 3)
    assert len(list(new.glob("popboxes/domain-com/*/Maildir/[nc]*/*"))) == 8
    (target,) = table["forwards"]["ann"]
    assert target.removesuffix("@domain.com") in table["mailboxes"]
    assert not any("folder" in line for line in left(new))


def test_a_mailbox_that_only_forwards_by_now_keeps_its_mail_and_gets_none(tmp_path: Path) -> None:
    old, new = HOSTS["howto"](tmp_path / "old"), tmp_path / "new"
    put(old / BOXES / "ann/.qmail", "&ann@elsewhere.example\n")
    code, there, table = opened(old, new)
    assert (code, there["aa0002"]) == (0, ("aa0002-box", 3)), "aa0002@domain.com is the catchall's"
    assert table["forwards"]["ann"] == ["ann@elsewhere.example"]
    told = f"/{QMAIL}/users/poppasswd:2: mailbox of login aa0002: no address led to it; it gets aa0002-box@domain.com"
    assert told in left(new)


@pytest.mark.parametrize("dialect", ["howto", "vpopmail", "system"])
def test_a_program_of_which_nothing_is_known_beside_a_forward_may_be_the_delivery(dialect: str, tmp_path: Path) -> None:
    """So the mail comes into the mailbox too, as it does where the program stands alone."""
    old = HOSTS[dialect](tmp_path / "old")
    home = {"howto": f"{BOXES}/ann", "vpopmail": "home/vpopmail/domains/v.example/joe", "system": "home/ann"}[dialect]
    put(old / home / ".qmail", "|/usr/local/bin/deliver\n&copy@elsewhere.example\n")
    accounts = audited(old, dialect).accounts
    local = home.rpartition("/")[2]
    (entry,) = (one for one in accounts.domains.values() if local in one.boxes)
    assert entry.boxes[local].login is not None
    assert entry.forwards[local] == ["copy@elsewhere.example"]


def test_a_login_without_address_keeps_its_mail(tmp_path: Path) -> None:
    old, new = HOSTS["howto"](tmp_path / "old"), tmp_path / "new"
    with (old / QMAIL / "users/poppasswd").open("a") as out:
        out.write(f"tom:{HASH}:popuser:/{BOXES}/tom\n")
    maildir(old / BOXES / "tom/Maildir", 4)
    code, there, _ = opened(old, new)
    assert (code, there["tom"]) == (0, ("tom-box", 4)), "tom@domain.com is the catchall's"


def test_the_whole_domain_line_without_a_dash(tmp_path: Path) -> None:
    """H-17: its .qmail is never found, so mail goes to ./Mailbox; POP3 shows the Maildir beside it."""
    old, new = HOSTS["howto"](tmp_path / "old"), tmp_path / "new"
    assign(old / QMAIL, f"+domain-com-:popuser:888:888:/{BOXES}:::")
    put(old / QMAIL / "users/poppasswd", f"all:{HASH}:popuser:/{BOXES}\n", 0o600)
    maildir(old / BOXES / "Maildir", 15)
    put(old / BOXES / ".qmail", "./Maildir/\n")
    put(old / BOXES / "Mailbox", MBOX)
    code, there, _ = opened(old, new)
    assert (code, there) == (0, {"all": ("all", 15)})
    assert len(list(new.glob("popboxes/domain-com/*/Maildir/[nc]*/*"))) == 17


def test_procmail_with_rules_is_no_plain_delivery_and_its_default_elsewhere_is_followed(tmp_path: Path) -> None:
    old, new = HOSTS["howto"](tmp_path / "old"), tmp_path / "new"
    put(old / BOXES / "sales/.qmail", "|preline procmail\n")
    put(old / BOXES / "sales/.procmailrc", "DEFAULT=$HOME/Box/\n")
    maildir(old / BOXES / "sales/Box", 2)
    assert "sales" in opened(old, new)[2]["mailboxes"]
    put(old / BOXES / "sales/.procmailrc", "DEFAULT=$HOME/Box/\n:0\n* ^Subject: x\n/dev/null\n")
    code, _, table = opened(old, tmp_path / "again")
    assert code == 1, "the address is lost"
    assert "sales" not in table["mailboxes"]


@pytest.mark.parametrize(
    "row",
    [
        f"second:{HASH}:popuser:/{BOXES}/joe\n",  # two logins of one mailbox
        f"{'x' * 129}:{HASH}:popuser:/{BOXES}/joe\n",  # a name that mailhost refuses
        "third:$7$C6..../....abc:popuser:/" + f"{BOXES}/ann2\n",  # scrypt
    ],
)
def test_a_login_that_is_lost_makes_the_exit_code_1(row: str, tmp_path: Path) -> None:
    old, new = HOSTS["howto"](tmp_path / "old"), tmp_path / "new"
    with (old / QMAIL / "users/poppasswd").open("a") as out:
        out.write(row)
    result = imported(old, new)
    assert result.return_value == 1, result.output
    assert f"lost: /{QMAIL}/users/poppasswd:3: " in result.output


def test_a_login_opens_a_maildir_and_not_an_mbox_of_that_name(tmp_path: Path) -> None:
    """Nothing is there yet: `./Maildir` would make an mbox; POP3 would show `./info/Maildir/`."""
    old = HOSTS["dtc"](tmp_path / "old")
    boxes = "/var/www/sites/admin/site.example/Mailboxs"
    shutil.rmtree(old / boxes[1:] / "info/Maildir")
    put(old / boxes[1:] / "info/.qmail", "./Maildir\n")
    lines = (old / QMAIL / "users/assign").read_text().splitlines()[:-1]
    assign(old / QMAIL, *lines, f"=site-example-info:nobody:65534:65534:{boxes}/info:::")
    entry = audited(old).accounts.domains["site.example"]
    assert entry.catchall is not None
    login = entry.boxes[entry.catchall].login
    assert login is not None
    assert login.name == "info@site.example"
