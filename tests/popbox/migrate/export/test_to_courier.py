"""An export to courier: its UIDLs are those that clients know; what it cannot give, and another order, is named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.export.homes import DOMAIN, export, home_of, maildir, run, served
from tests.popbox.migrate.houses import NOW, ON_DISK, csv, own, text
from tests.popbox.migrate.matrix import ASPECTS
from tests.popbox.migrate.oldhosts import tree_of
from tests.popbox.migrate.programs import mailhost

from popbox.migrate.oldhost.courier_sizelist import parse

COURIER, COURIER_NEEDS = ON_DISK["courier"]
SIZELIST = "courierpop3dsizelist"
pytestmark = pytest.mark.needs("root")


def put(home: Path, name: str, file: str, octets: bytes, age_s: int) -> None:
    path = maildir(home, name) / file
    path.write_bytes(octets)
    os.utime(path, (NOW + age_s, NOW + age_s))
    own(path)


def dated_names(home: Path, *users: str) -> None:
    """The same messages, under names that sort as their dates do, as deliveries make them."""
    for user in users:
        for path in maildir(home, user).glob("[nc]*/*"):
            flags = path.name[len(path.name.partition(":")[0]) :]
            path.rename(path.with_name(f"{int(path.stat().st_mtime)}.{path.stat().st_ino}.mail{flags}"))


def boxes(place: Path) -> Path:
    """The mailboxes of an export, where a server of another user can read them."""
    for path in (place / "out", place / "out/mail", place / "out/mail" / DOMAIN):
        path.chmod(0o755)
    return place / "out/mail" / DOMAIN


def rows(place: Path, user: str) -> dict[str, str]:
    """UIDL -> file, of one sizelist."""
    text = (place / "out/mail" / DOMAIN / user / "Maildir" / SIZELIST).read_bytes()
    return {row.uidl.decode(): row.name.decode() for row in parse(text).rows}


@pytest.mark.realqmail
@pytest.mark.needs(*COURIER_NEEDS)
@pytest.mark.parametrize("profile", ["rfc1939", "qmail"])
def test_nothing_is_downloaded_again(place: Path, verify: Verify, profile: str) -> None:
    users = ["user0", "user1"]
    home = home_of(place, users)
    dated_names(home, *users)
    put(home, "user0", "new/UID7-1700", text(50), 200)  # of a move from courier: its file has a name by its date there
    put(home, "user0", "cur/UID12:2,S", text(51), 201)
    put(home, "user0", "cur/1700000300.no-flags", text(52), 300)
    put(home, "user0", "new/1700000301.flags:2,S", text(53), 301)
    put(home, "user0", "new/1700000302.x+20y,S=9", text(54), 302)
    before = tree_of(home)
    code, said = export(place, "courier", "--profile", profile)
    assert code == 0, said
    assert tree_of(home) == before
    for _ in range(2):  # the second session finds what courier has made of the first one's files
        with served(home, profile) as old, COURIER(place, boxes(place)) as new:
            code, report = verify(old, new, csv(place / "a.csv", users))
        assert (code, report["totals"]["messages_old"]) == (0, 43), report["output"]
        assert all(report["totals"]["verdicts"][aspect]["equal"] == len(users) for aspect in ASPECTS)
        assert report["totals"]["uidl"] == 0
        (place / f"{DOMAIN}.log").unlink()
        home.with_suffix(".log").unlink()


def test_what_courier_cannot_give_is_named(place: Path) -> None:
    home = home_of(place, ["user0", "user1"])
    dated_names(home, "user1")
    put(home, "user1", "new/1700000200.plus+plus", text(50), 200)
    put(home, "user1", "new/1700000201.it's", text(51), 201)
    put(home, "user1", "new/1700000202.twin", text(52), 202)
    put(home, "user1", "cur/1700000202.twin:2,S", text(53), 203)
    code, said = export(place, "courier")
    assert code == 1
    assert "user1@users.example: 1700000200.plus+plus: the UIDL cannot be kept: courier makes UIDLs of names" in said
    assert "user1@users.example: 1700000201.it's: the UIDL cannot be kept" in said
    assert "1700000202.twin: the UIDL cannot be kept: another message has its name too" in said
    assert "of 19 messages have another number: courier orders by the number that a file's name begins" in said
    assert said.count("not done: ") == 5  # and the audit's own word on the twin
    assert len(rows(place, "user0")) == 19
    assert len(rows(place, "user1")) == 20
    files = [path.name for path in (place / "out/mail" / DOMAIN / "user1/Maildir").glob("[nc]*/*")]
    assert len(files) == 23


def test_a_second_run_follows_until_courier_has_been_at_work(place: Path) -> None:
    home = home_of(place, ["user0"])
    dated_names(home, "user0")
    assert export(place, "courier")[0] == 0
    file = place / "out/mail" / DOMAIN / "user0/Maildir" / SIZELIST
    first = parse(file.read_bytes())
    gone = next((maildir(home, "user0") / "cur").iterdir())
    put(home, "user0", "new/UID9-5", b"Subject: x\n\n1\n2\n", 500)
    gone.unlink()
    code, said = export(place, "courier")
    assert code == 0, said
    assert "copied 1 message" in said
    assert "removed 1" in said
    second = parse(file.read_bytes())
    assert (second.after, second.validity, len(second.rows)) == (first.after, first.validity, len(first.rows))
    assert [(row.uidl, row.size) for row in second.rows if row.uid] == [(b"UID9-5", 16 + 4)]
    assert [row for row in second.rows if row in first.rows] == list(second.rows[:-1])
    inode = file.stat().st_ino
    assert export(place, "courier")[0] == 0
    assert file.stat().st_ino == inode
    file.write_bytes(file.read_bytes().replace(b"/2 ", b"/3 "))
    changed = file.read_bytes()
    code, said = export(place, "courier")
    assert (code, file.read_bytes()) == (1, changed)
    assert "user0@users.example: its courierpop3dsizelist is not the one that an export wrote; left as it is" in said


@pytest.mark.parametrize("what", ["fifo", "link", "directory"])
def test_what_has_the_place_of_the_sizelist_is_left(place: Path, what: str) -> None:
    home_of(place, ["user0"])
    export(place, "courier")
    file, elsewhere = place / "out/mail" / DOMAIN / "user0/Maildir" / SIZELIST, place / "elsewhere"
    file.rename(elsewhere)
    {"fifo": lambda: os.mkfifo(file), "link": lambda: file.symlink_to(elsewhere), "directory": file.mkdir}[what]()
    before = elsewhere.read_bytes()
    code, said = export(place, "courier")
    assert code == 1
    assert "its courierpop3dsizelist is not the one that an export wrote; left as it is" in said
    assert elsewhere.read_bytes() == before


def test_a_link_in_the_place_of_a_message_is_not_followed(place: Path) -> None:
    home = home_of(place, ["user0"])
    dated_names(home, "user0")
    assert export(place, "courier")[0] == 0
    box = place / "out/mail" / DOMAIN / "user0/Maildir"
    path = next((box / "cur").iterdir())
    path.unlink()
    path.symlink_to("/etc/passwd")
    (box / SIZELIST).unlink()
    code, said = export(place, "courier")
    assert code == 1
    assert "cannot be read: Too many levels of symbolic links" in said


@pytest.mark.parametrize("done", [False, True])
def test_a_run_that_is_killed_around_the_sizelist_is_no_stranger(
    place: Path, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    home = home_of(place, ["user0"])
    dated_names(home, "user0")
    assert export(place, "courier")[0] == 0
    put(home, "user0", "new/1700000500.more", text(70), 500)
    real = os.rename

    def killed(source: bytes, target: bytes, **at: int) -> None:
        if target == SIZELIST.encode():
            if done:
                real(source, target, **at)
            raise OSError(28, "No space left on device")
        real(source, target, **at)

    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", killed)
        with pytest.raises(Exception, match="No space"):
            export(place, "courier")
    code, said = export(place, "courier")
    assert code == 0, said
    assert "1700000500.more" in rows(place, "user0")
    box = place / "out/mail" / DOMAIN / "user0/Maildir"
    assert sorted(path.name for path in box.iterdir()) == [SIZELIST, "cur", "new", "tmp"]


def test_logins_are_in_userdb_and_locked_ones_are_not(place: Path) -> None:
    home = home_of(place, ["user0", "user1"])
    path = home / "users/poppasswd"
    lines = path.read_text().splitlines()
    name, digest, rest = lines[1].split(":", 2)
    path.write_text(f"{lines[0]}\n{name}:!{digest}:{rest}\n")
    export(place, "courier", "--root", "/srv/mail", "--owner", "5000:5001")
    other = "user0" if name == "user1" else "user1"
    where = f"/srv/mail/{DOMAIN}/{other}"
    said = (place / "out/userdb").read_text()
    assert said == f"{other}\tuid=5000|gid=5001|home={where}|mail={where}/Maildir|systempw={digest}\n"
    assert (place / "out/userdb").stat().st_mode & 0o777 == 0o600
    assert (
        f"{name}@{DOMAIN}: its login is locked, so it has no line in userdb"
        in (place / "out/not-carried.txt").read_text()
    )


def arrived(folder: Path, name: str, number: int) -> None:
    """A message that came while courier served the box."""
    path = folder / "new" / name
    path.write_bytes(text(number))
    os.utime(path, (NOW + number, NOW + number))
    own(path)


@pytest.mark.realqmail
@pytest.mark.needs(*COURIER_NEEDS)
def test_there_and_back(place: Path, verify: Verify) -> None:
    users = ["user0", "user1"]
    home = home_of(place, users)
    dated_names(home, *users)
    assert export(place, "courier")[0] == 0
    accounts, old, new = csv(place / "a.csv", users), place / "back", place / "new"
    with served(home) as first, COURIER(place, boxes(place)) as second:
        assert verify(first, second, accounts)[0] == 0
        for name in users:
            arrived(boxes(place) / name / "Maildir", "1700000400.came.courier", 400)
        verify(second, second, accounts)  # a session: courier numbers them
        shutil.copytree(home, old, symlinks=True)
        for name in users:
            shutil.rmtree(maildir(old, name))
            shutil.copytree(boxes(place) / name / "Maildir", maildir(old, name))
        mailhost(new, "init", "--me", "mail.popbox.invalid")
        argv = ["import", str(old), "--to", str(place / "to"), "--home", str(new), "--as", str(home)]
        code, said = run(*argv)
        assert code == 0, said
        for profile in ("rfc1939", "qmail"):
            with served(new, profile) as third:
                code, report = verify(second, third, accounts)
                assert (code, report["totals"]["messages_old"]) == (0, 40), report["output"]
                (place / "new.log").unlink()
    assert sum(path.name.startswith("UID1-") for path in new.rglob("Maildir/*/*")) == 2
    code, said = run(*argv, "--final")
    assert code == 0, said
    assert "copied 0 messages" in said
    (place / "once-more").mkdir()
    argv = ["export", "--home", str(new), "--to", "courier", "--out", str(place / "once-more")]
    code, said = run(*argv)
    assert code == 0, said
    for name in users:  # and to courier once more: the same UIDLs
        there = place / "once-more/mail" / DOMAIN / name / "Maildir" / SIZELIST
        again = {row.uidl for row in parse(there.read_bytes()).rows}
        courier = {row.uidl for row in parse((boxes(place) / name / "Maildir" / SIZELIST).read_bytes()).rows}
        assert again == courier
