"""An import into boxes whose owner has put something else into the place of a folder: nothing outside is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.mailhost.pop3.support import new_home, remove
from tests.popbox.migrate.programs import mailhost

from popbox.cli.migrate import migrate
from popbox.migrate.copy.batch import Batch
from popbox.migrate.copy.folder import FolderError
from popbox.migrate.copy.journal import Record
from popbox.migrate.copy.maildir import Staged, Target

PREFIX = "var/qmail/popboxes/domain-com"
MAIL_UID = 888 if os.geteuid() == 0 else os.geteuid()


def old_host(place: Path) -> Path:
    """A HOWTO's host with joe and ann, a message each."""
    qmail = place / "var/qmail"
    for folder in ("control", "users", "alias"):
        (qmail / folder).mkdir(parents=True)
    for name, text in {
        "control/me": "old.example.net\n",
        "control/locals": "old.example.net\n",
        "control/rcpthosts": "old.example.net\ndomain.com\n",
        "control/virtualdomains": "domain.com:domain-com\n",
        "users/cdb": "",
        "users/assign": "".join(f"=domain-com-{box}:popuser:888:888:/{PREFIX}/{box}:::\n" for box in ("ann", "joe"))
        + ".\n",
        "users/poppasswd": "".join(f"{box}x:DmIMm9e5Hc8ic:popuser:/{PREFIX}/{box}\n" for box in ("ann", "joe")),
    }.items():
        (qmail / name).write_text(text)
    for box in ("ann", "joe"):
        for folder in ("tmp", "new", "cur"):
            (place / PREFIX / box / "Maildir" / folder).mkdir(parents=True)
        (place / PREFIX / box / ".qmail").write_text("./Maildir/\n")
        (place / PREFIX / box / "Maildir/new/1.x.old").write_text(f"Subject: {box}\n\nhello\n")
    return place


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that popuser can reach, as a host's home is."""
    found = new_home()
    found.chmod(0o755)
    yield found
    remove(found)


def imported(place: Path) -> tuple[int, str]:
    """Its exit code, and what it told."""
    argv = ["import", str(place / "old"), "--to", str(place / "move"), "--home", str(place / "qmail")]
    done = CliRunner().invoke(migrate, argv, standalone_mode=False)
    return done.return_value, done.output


def seen(top: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_uid, path.read_bytes() if path.is_file() else b"")
        for path in [top, *top.rglob("*")]
    }


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def hard_link(path: Path, outside: Path) -> None:
    path.hardlink_to(outside / "passwd")


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "link": link,
    "hard link": hard_link,
    "FIFO": lambda path, _outside: os.mkfifo(path),
    "file": lambda path, _outside: path.write_text(""),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"])
def test_nothing_is_written_through_what_its_owner_has_put_there(place: Path, kind: str, name: str) -> None:
    old_host(place / "old")
    mailhost(place / "qmail", "init", "--me", "new.example.net")
    assert imported(place)[0] == 0
    (place / "old" / PREFIX / "joe/Maildir/new/2.x.old").write_text("Subject: later\n\nx\n")
    (place / "old" / PREFIX / "ann/Maildir/new/2.x.old").write_text("Subject: later\n\nx\n")
    outside = place / "outside"
    for folder in ("tmp", "new", "cur"):
        (outside / folder).mkdir(parents=True)
    (outside / "passwd").write_text("root::0:0\n")
    here = place / "qmail/popboxes/domain-com/joe" / name
    here.rename(place / "aside")
    KINDS[kind](here, outside)
    before = seen(outside)
    code, told = imported(place)
    assert seen(outside) == before
    assert code == 1
    assert f"not done: joe@domain.com: {here}: is " in told
    ann = place / "qmail/popboxes/domain-com/ann/Maildir/new"
    assert sorted(path.name for path in ann.iterdir()) == ["1.x.old", "2.x.old"], "the other box has its mail"
    assert {path.stat().st_uid for path in ann.iterdir()} == {MAIL_UID}


@pytest.mark.parametrize("swap", ["another file", "gone", "link"])
def test_only_what_was_written_gets_a_place(tmp_path: Path, swap: str) -> None:
    """Its name in tmp/ is its owner's to change; the message is copied again by the next pass."""
    target = Target(tmp_path / "Maildir", tmp_path / "journal", None)
    (tmp_path / "secret").write_text("of root")
    with Batch() as batch:
        staged = batch.stage(target)
        staged.write(b"ours\n")
        batch.add(staged, Record(b"1.x", 5, staged.sha256, 7, b"new/1.x"))
        here = tmp_path / "Maildir/tmp" / os.fsdecode(staged.name)
        here.unlink()
        if swap == "another file":
            here.hardlink_to(tmp_path / "secret")
        elif swap == "link":
            here.symlink_to(tmp_path / "secret")
    assert len(batch.refused) == 1
    assert isinstance(batch.refused[0], FolderError)
    assert str(here) in str(batch.refused[0])
    assert os.listdir(tmp_path / "Maildir/new") == []
    assert (tmp_path / "secret").read_text() == "of root"
    assert Target(tmp_path / "Maildir", tmp_path / "journal", None).journal.records == {}, "to be copied again"


def added(batch: Batch, target: Target, number: int) -> Staged:
    """A message that is written and waits for its place."""
    staged = batch.stage(target)
    staged.write(b"ours\n")
    batch.add(staged, Record(b"%d.x" % number, 5, staged.sha256, 7, b"new/%d.x" % number))
    return staged


def test_a_refused_message_does_not_count_as_placed_when_a_later_one_is(tmp_path: Path) -> None:
    """Else the next pass would take it for one that a client has fetched and deleted, and never copy it."""
    target = Target(tmp_path / "Maildir", tmp_path / "journal", None)
    with Batch() as batch:
        for number in (1, 2):
            staged = added(batch, target, number)
            if number == 1:
                (tmp_path / "Maildir/tmp" / os.fsdecode(staged.name)).unlink()
            batch.commit()
    assert len(batch.refused) == 1
    assert os.listdir(tmp_path / "Maildir/new") == ["2.x"]
    assert list(Target(tmp_path / "Maildir", tmp_path / "journal", None).journal.records) == [b"2.x"]


def test_a_folder_swapped_between_two_batches(tmp_path: Path) -> None:
    """What was written into a folder that has another path by now gets no place, and is copied again."""
    target = Target(tmp_path / "Maildir", tmp_path / "journal", None)
    with Batch() as batch:
        for number in (1, 2):
            added(batch, target, number)
            if number == 1:
                (tmp_path / "Maildir/tmp").rename(tmp_path / "aside")
                (tmp_path / "Maildir/tmp").mkdir()
    assert [str(why).rpartition(": ")[2] for why in batch.refused] == ["was taken away before it could be placed"] * 2
    assert os.listdir(tmp_path / "Maildir/new") == []
    assert Target(tmp_path / "Maildir", tmp_path / "journal", None).journal.records == {}, "both to be copied again"
