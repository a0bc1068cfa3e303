"""An export to Dovecot: verify finds the same UIDLs in the same order, and fetching programs download nothing again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click import Abort
from tests.needs import require
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.export.homes import dovecot, export, home_of, maildir, served
from tests.popbox.migrate.houses import DOVECOT_NEEDS, NOW, csv, own, text
from tests.popbox.migrate.houses import dovecot as houses_dovecot
from tests.popbox.migrate.matrix import ASPECTS
from tests.popbox.migrate.oldhosts import tree_of

from popbox.errors import UnusableError
from popbox.migrate.oldhost.dovecot_uidlist import parse
from popbox.migrate.verify.oracle import CLIENTS

FORMATS = {"default": "pop3_uidl_format = %08Xu%08Xv\n", "%f": ""}
USERS = [f"user{number}" for number in range(5)]


def put(home: Path, name: str, file: str, octets: bytes, age_s: int) -> None:
    path = maildir(home, name) / file
    path.write_bytes(octets)
    os.utime(path, (NOW + age_s, NOW + age_s))
    own(path)


@pytest.mark.slow
@pytest.mark.needs(*DOVECOT_NEEDS)
@pytest.mark.parametrize("profile", ["rfc1939", "qmail"])
@pytest.mark.parametrize("uidl", FORMATS)
def test_nothing_is_downloaded_again(place: Path, verify: Verify, uidl: str, profile: str) -> None:
    require(*CLIENTS)
    home = home_of(place)
    before = tree_of(home)
    code, said = export(place, "dovecot", "--profile", profile)
    assert code == 0, said
    assert tree_of(home) == before
    with served(home, profile) as old, dovecot(place / "out", FORMATS[uidl]) as new:
        oracles = [f"--oracle={name}" for name in CLIENTS]
        code, report = verify(old, new, csv(place / "a.csv", USERS), *oracles)
    assert (code, report["totals"]["messages_old"]) == (0, 95), report["output"]
    assert all(report["totals"]["verdicts"][aspect]["equal"] == len(USERS) for aspect in ASPECTS)
    assert {one["client"]: one["again"] for one in report["oracles"]} == dict.fromkeys(CLIENTS, 0)


@pytest.mark.needs(*DOVECOT_NEEDS)
def test_odd_names_keep_their_uidls_and_twins_are_named(place: Path, verify: Verify) -> None:
    home = home_of(place)
    odd = ["a b", "y" * 90, "x,S=9,W=9", "!#$%&()*+-;<=>?@[]^_{|}~", "caf\xe9", "tab\there"]
    for number, name in enumerate(odd):
        put(home, "user0", f"new/{name}", text(50 + number), 200 + number)
    code, said = export(place, "dovecot")
    assert code == 0, said
    with served(home) as old, dovecot(place / "out") as new:
        code, report = verify(old, new, csv(place / "a.csv", USERS))
    assert code == 0, report["output"]
    put(home, "user1", "new/twin", text(60), 300)
    put(home, "user1", "cur/twin:2,S", text(61), 301)
    put(home, "user2", "new/two\nlines", text(62), 302)
    (place / "again").mkdir()
    code, said = export(place, "dovecot", "--out", str(place / "again"))
    assert code == 1
    assert "not done: user1@users.example: twin: the UIDL cannot be kept: another message has its name too" in said
    assert "not done: user2@users.example: two\\x0alines: the UIDL cannot be kept: no line of dovecot-uidlist" in said


@pytest.mark.needs("root")
def test_a_second_run_follows_until_dovecot_has_been_at_work(place: Path) -> None:
    home = home_of(place)
    assert export(place, "dovecot")[0] == 0
    file = place / "out/mail/users.example/user0/Maildir/dovecot-uidlist"
    first = parse(file.read_bytes())
    put(home, "user0", "new/early", text(70), -500)
    gone = next((maildir(home, "user0") / "cur").iterdir())
    gone.unlink()
    code, said = export(place, "dovecot")
    assert code == 0, said
    assert "copied 1 message" in said
    assert "removed 1" in said
    second = parse(file.read_bytes())
    assert (second.validity, second.guid) == (first.validity, first.guid)
    assert second.rows[0].name == b"early"
    assert len(second.rows) == len(first.rows)
    file.write_bytes(file.read_bytes() + b"99 :new-mail\n")
    changed = file.read_bytes()
    code, said = export(place, "dovecot")
    assert (code, file.read_bytes()) == (1, changed)
    assert "user0@users.example: its dovecot-uidlist is not the one that an export wrote; left as it is" in said


def test_a_directory_of_others_is_refused(place: Path) -> None:
    home_of(place)
    (place / "out").mkdir()
    (place / "out/theirs").write_text("x")
    with pytest.raises(Exception, match="is not empty, and no export has made it"):
        export(place, "dovecot")
    assert [path.name for path in (place / "out").iterdir()] == ["theirs"]


def test_a_link_in_the_place_of_a_box_is_not_followed(place: Path) -> None:
    home_of(place)
    assert export(place, "dovecot")[0] == 0
    box, elsewhere = place / "out/mail/users.example/user3/Maildir", place / "elsewhere"
    box.rename(elsewhere)
    box.symlink_to(elsewhere)
    (elsewhere / "dovecot-uidlist").unlink()
    code, said = export(place, "dovecot")
    assert code == 1
    assert "is a link, which is not followed" in said
    assert not (elsewhere / "dovecot-uidlist").exists()


def test_users_have_their_hashes_and_locked_ones_no_line(place: Path) -> None:
    home_of(place)
    path = place / "home/users/poppasswd"
    lines = path.read_text().splitlines()
    lines[1] = ":".join([lines[1].split(":")[0], "!" + lines[1].split(":")[1], *lines[1].split(":")[2:]])
    path.write_text("".join(f"{line}\n" for line in lines))
    code, said = export(place, "dovecot", "--root", "/srv/mail", "--owner", "5000:5001")
    assert code == 0, said
    users = (place / "out/users").read_text().splitlines()
    hash_ = lines[0].split(":")[1]
    name = lines[0].split(":")[0]
    assert f"{name}:{{CRYPT}}{hash_}:5000:5001::/srv/mail/users.example/{name}::" in users
    assert len(users) == 4
    assert "args = username_format=%u /srv/users" in (place / "out/dovecot.conf.part").read_text()
    assert (place / "out/users").stat().st_mode & 0o777 == 0o600


@pytest.mark.needs(*DOVECOT_NEEDS)
def test_maildir_plus_plus_is_what_dovecot_reads_by_name(place: Path, verify: Verify) -> None:
    home = home_of(place)
    code, said = export(place, "maildir++")
    assert code == 0, said
    with served(home) as old, houses_dovecot(place, moved_out(place), "pop3_uidl_format = %f\n") as new:
        code, report = verify(old, new, csv(place / "a.csv", USERS))
    assert code == 1  # the order is Dovecot's own
    equal = {aspect for aspect in ASPECTS if report["totals"]["verdicts"][aspect]["equal"] == len(USERS)}
    assert equal == {*ASPECTS} - {"order"}
    put(home, "user0", "new/x,S=9", text(80), 400)
    code, said = export(place, "maildir++")
    assert code == 1
    assert "not done: user0@users.example: x,S=9: its name says a size that may not be its own" in said


def moved_out(place: Path) -> Path:
    """The boxes of the export, by login."""
    return place / "out/mail/users.example"


@pytest.mark.parametrize("done", [False, True])
def test_a_run_that_is_killed_around_the_uidlist_is_no_stranger(
    place: Path, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    home = home_of(place)
    assert export(place, "dovecot")[0] == 0
    put(home, "user0", "new/more", text(70), 600)
    real = os.rename

    def killed(old: bytes, new: bytes, **folders: int) -> None:
        if done:
            real(old, new, **folders)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        with pytest.raises(Abort):
            export(place, "dovecot")
    code, said = export(place, "dovecot")
    assert code == 0, said
    file = place / "out/mail/users.example/user0/Maildir/dovecot-uidlist"
    assert b"more" in {row.name for row in parse(file.read_bytes()).rows}


@pytest.mark.parametrize(
    "more", [["--out", "home/away"], ["--root", "srv"], ["--root", "/srv/a b"], ["--root", "/a:b"]]
)
def test_what_would_harm_is_refused(place: Path, more: list[str]) -> None:
    home = home_of(place)
    before = tree_of(home)
    argv = [str(place / word) if word == "home/away" else word for word in more]
    with pytest.raises(UnusableError, match=f"{more[0]} "):
        export(place, "dovecot", *argv)
    assert tree_of(home) == before
