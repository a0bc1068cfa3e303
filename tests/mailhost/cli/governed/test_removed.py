"""Mail of mailboxes that were taken away: who gets it back, and `mailhost removed`."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

OTHER = "OJjOE//xNFrIQ"  # of the password another


@pytest.fixture
def gone(howto: Host) -> Host:
    """The HOWTO's host without joe, who had mail in his inbox and in a folder."""
    put(howto, "domain-com/joe", "new/1", "cur/2:2,S", ".Sent/cur/3:2,S")
    howto.ok("mailbox", "del", "joe@domain.com")
    return howto


def put(host: Host, box: str, *names: str) -> None:
    for name in names:
        path = host.home / "popboxes" / box / "Maildir" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mail {name}")


def mail(host: Host, box: str = "domain-com/joe") -> list[str]:
    maildir = host.home / "popboxes" / box / "Maildir"
    return sorted(str(path.relative_to(maildir)) for path in maildir.rglob("*") if path.is_file())


def listed(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(host.ok("removed", "list", "--json"))
    return found


def add(host: Host, login: str, crypt: str = HOWTO_CRYPT) -> str:
    return host.ok("mailbox", "add", "joe@domain.com", "--login", login, "--crypt", crypt)


MAIL = [".Sent/cur/3:2,S", "cur/2:2,S", "new/1"]


def test_the_same_login_and_password_get_the_mail_back(gone: Host) -> None:
    (one,) = listed(gone)
    assert (one["address"], one["logins"], one["messages"]) == ("joe@domain.com", ["testid"], 3)
    assert f"with the mail that was kept in popboxes/.removed/{one['name']}" in add(gone, "testid")
    assert mail(gone) == MAIL
    assert listed(gone) == []
    assert gone.text("popboxes/domain-com/joe/.qmail") == "./Maildir/\n"
    assert "0 errors" in gone.ok("lint")


@pytest.mark.parametrize("words", [[], ["--purge"]])
def test_of_a_box_whose_directory_has_gone_nothing_is_kept(howto: Host, words: list[str]) -> None:
    shutil.rmtree(howto.home / "popboxes/domain-com/joe")
    howto.ok("mailbox", "del", "joe@domain.com", *words)
    assert listed(howto) == []
    assert [path.name for path in (howto.home / "popboxes").iterdir()] == ["domain-com"]


@pytest.mark.parametrize(("login", "crypt"), [("testid", OTHER), ("newid", HOWTO_CRYPT), ("newid", OTHER)])
def test_another_login_or_password_is_another_owner_and_gets_none_of_it(gone: Host, login: str, crypt: str) -> None:
    said = add(gone, login, crypt)
    assert "earlier mail of another login or password stays in popboxes/.removed/domain-com/joe." in said
    assert mail(gone) == []
    assert listed(gone)[0]["messages"] == 3


def test_a_domain_that_comes_back_in_a_file_has_its_mail_logins_and_passwords(howto: Host, tmp_path: Path) -> None:
    howto.ok("mailbox", "add", "ann@domain.com", "--login", "ann", "--crypt", OTHER)
    howto.ok("domain", "alias", "domain.net", "domain.com")
    put(howto, "domain-com/joe", "new/1")
    put(howto, "domain-com/ann", "new/2")
    file = tmp_path / "accounts.toml"
    file.write_text(howto.ok("export"))
    rows = howto.text("users/poppasswd")
    (tmp_path / "half.toml").write_text("")
    howto.ok("apply", str(tmp_path / "half.toml"), "--yes")
    assert not (howto.home / "popboxes/domain-com").exists()
    howto.ok("apply", str(file))
    assert (mail(howto), mail(howto, "domain-com/ann")) == (["new/1"], ["new/2"])
    assert howto.text("users/poppasswd") == rows
    assert listed(howto) == []


def test_a_password_file_is_proof_and_a_login_that_the_file_does_not_say_comes_back_too(
    gone: Host, tmp_path: Path
) -> None:
    (tmp_path / "pw").write_text("testpw\n")
    (tmp_path / "accounts.toml").write_text('[domains."domain.com".mailboxes.joe]\npassword_file = "pw"\n')
    assert "login testid; with the mail" in gone.ok("apply", str(tmp_path / "accounts.toml"))
    assert mail(gone) == MAIL


def test_the_newest_of_several_comes_back_and_the_others_stay(gone: Host) -> None:
    add(gone, "testid", OTHER)
    put(gone, "domain-com/joe", "new/other")
    gone.ok("mailbox", "del", "joe@domain.com")
    add(gone, "testid")
    assert mail(gone) == MAIL, "the one whose password it is"
    assert [one["messages"] for one in listed(gone)] == [1]


def test_a_record_that_is_not_ours_or_not_whole_gives_nothing_back(gone: Host) -> None:
    (record,) = (gone.home / "popboxes/.removed.records").iterdir()
    record.write_text('{"": ["joe@domain.com", 7]}')
    assert listed(gone)[0]["address"] is None
    assert "with the mail" not in add(gone, "testid")
    assert mail(gone) == []


def test_restore_moves_the_mail_into_a_box_with_mail_and_writes_nothing_over(gone: Host) -> None:
    add(gone, "newid")
    put(gone, "domain-com/joe", "new/1", "new/9")
    (gone.home / "popboxes/domain-com/joe/Maildir/new/1").write_text("another")
    assert "would move 3 messages" in gone.ok("removed", "restore", "joe@domain.com", "--dry-run")
    said = gone.ok("removed", "restore", "joe@domain.com")
    assert "moved 2 messages to joe@domain.com" in said
    assert "1 message left in popboxes" in said
    assert mail(gone) == [".Sent/cur/3:2,S", "cur/2:2,S", "new/1", "new/9"]
    assert gone.text("popboxes/domain-com/joe/Maildir/new/1") == "another"
    assert listed(gone)[0]["messages"] == 1
    assert (gone.home / "popboxes/domain-com/joe/Maildir/.Sent").stat().st_uid == (
        888 if os.geteuid() == 0 else os.geteuid()
    )


def test_restore_needs_a_box_and_says_which_when_several_are_kept(gone: Host) -> None:
    assert "is not declared" in gone.refused("removed", "restore", "joe@domain.com")
    assert "no such mailbox is kept" in gone.refused("removed", "restore", "ann@domain.com")
    add(gone, "newid")
    gone.ok("mailbox", "del", "joe@domain.com")
    assert "several are kept, say which: domain-com/joe." in gone.refused("removed", "restore", "joe@domain.com")
    gone.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)
    oldest = listed(gone)[-1]["name"]
    assert "moved" in gone.ok("removed", "restore", oldest, "--to", "ann@domain.com")


def test_restore_follows_no_link(gone: Host, tmp_path: Path) -> None:
    add(gone, "newid")
    new, elsewhere = gone.home / "popboxes/domain-com/joe/Maildir/new", tmp_path / "elsewhere"
    new.rmdir()
    elsewhere.mkdir()
    new.symlink_to(elsewhere)
    done = gone.run("removed", "restore", "joe@domain.com")
    assert done.exit_code == 111
    assert list(elsewhere.iterdir()) == []
    assert "new/1" in [str(path.relative_to(path.parents[1])) for path in (gone.home / "popboxes/.removed").rglob("1")]


def test_purge_takes_what_is_old_or_named_and_its_record(gone: Host) -> None:
    name = listed(gone)[0]["name"]
    assert gone.ok("removed", "purge", "--older-than", "1") == "nothing to remove\n"
    assert "give --yes" in gone.refused("removed", "purge", name)
    assert "would remove" in gone.ok("removed", "purge", "--older-than", "0", "--dry-run")
    old = gone.home / "popboxes/.removed" / name
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 91 * 86400))
    aged = old.with_name(f"joe.{stamp}")
    old.rename(aged)
    gone.ok("removed", "purge", "--older-than", "90", "--yes")
    assert not aged.exists()
    assert gone.ok("removed", "list") == ""


def test_purge_of_a_domain_leaves_nothing(howto: Host) -> None:
    howto.ok("domain", "del", "domain.com")
    howto.ok("removed", "purge", "--older-than", "0", "--yes")
    left = [*(howto.home / "popboxes/.removed").rglob("*"), *(howto.home / "popboxes/.removed.records").rglob("*")]
    assert left == []


def test_purge_proves_that_it_is_ours_and_follows_no_link(gone: Host, tmp_path: Path) -> None:
    aside = gone.home / "popboxes/.removed/domain-com"
    stranger, outside = aside / "by-hand", tmp_path / "outside"
    for folder in (stranger, outside):
        folder.mkdir()
        (folder / "kept").write_text("x")
    (aside / "joe.20200101T000000Z").symlink_to(outside)
    (kept,) = (path for path in aside.iterdir() if path.name.startswith("joe.") and not path.is_symlink())
    (kept / "Maildir/new/link").symlink_to(outside)
    gone.ok("removed", "purge", "--older-than", "0", "--yes")
    assert not kept.exists()
    assert (stranger / "kept").exists()
    assert (outside / "kept").exists()
    (aside.parent).rename(tmp_path / "moved")
    aside.parent.symlink_to(tmp_path / "moved")
    assert "is not a directory" in gone.refused("removed", "purge", "--older-than", "0", "--yes")


NO_DAYS = ["20269999T000000Z", "20260230T000000Z", "20261127T246060Z", "00000101T000000Z"]
NOT_OURS = [
    *(f"x.{day}" for day in NO_DAYS),
    "x.20261127T000000Z\n",
    "x\udcff.20261127T000000Z",
    "\x1b[2J.20261127T000000Z",
]


@pytest.mark.parametrize("name", NOT_OURS)
@pytest.mark.parametrize("place", ["", "domain-com/"])
def test_a_name_that_is_no_time_of_ours_is_passed_over_by_every_verb(gone: Host, name: str, place: str) -> None:
    (ours,) = listed(gone)
    strange = gone.home / "popboxes/.removed" / f"{place}{name}"
    (strange / "box/Maildir/new").mkdir(parents=True)
    (strange / "box/Maildir/new/1").write_text("mail")
    assert listed(gone) == [ours]
    assert len(gone.ok("removed", "list").splitlines()) == 2
    assert "no such mailbox is kept" in gone.refused("removed", "restore", f"{place}{name}")
    assert "no such mailbox is kept" in gone.refused("removed", "purge", "--yes", f"{place}{name}")
    assert "with the mail that was kept" in add(gone, "testid")
    gone.ok("mailbox", "del", "joe@domain.com")
    assert gone.ok("removed", "purge", "--yes", "--older-than", "0").count("removed ") == 1
    assert (strange / "box/Maildir/new/1").exists()


def test_a_record_of_a_newer_mailhost_still_says_whose_it_was(gone: Host) -> None:
    (record,) = (gone.home / "popboxes/.removed.records").iterdir()
    said = json.loads(record.read_text())
    address, rows = said[""]
    record.write_text(json.dumps({"": [address, [[*row, "2030-01-01"] for row in rows], {"quota": 5}]}))
    assert [(one["address"], one["logins"]) for one in listed(gone)] == [("joe@domain.com", ["testid"])]
    assert "with the mail that was kept" in add(gone, "testid")


@pytest.mark.needs("root")
def test_purge_refuses_what_belongs_to_somebody_else(gone: Host) -> None:
    name = listed(gone)[0]["name"]
    os.chown(gone.home / "popboxes/.removed" / name, 4242, 4242)
    assert "belongs to uid 4242" in gone.refused("removed", "purge", name, "--yes")
