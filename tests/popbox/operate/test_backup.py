"""Backup and restore over the files of a host: what is saved, what is not restored, what a failure leaves."""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tests.mailhost.pop3.support import remove
from tests.needs import lacks
from tests.popbox.operate.file_host import BOX, POPUSER, Files, moved_in

from popbox.errors import HostError
from popbox.hosts.base import Command
from popbox.operate import archive as form
from popbox.operate import backup as work
from popbox.operate import on_host_restore
from popbox.operate.archive import ArchiveError
from popbox.operate.backup import backup, restore

AS_ROOT = pytest.mark.needs("root")


@pytest.fixture
def old(tmp_path: Path) -> Files:
    """With a domain and mail of many kinds; as root the box is popuser's."""
    host = Files(tmp_path / "old")
    box = host.place / BOX
    (host.place / "control/rcpthosts").write_text("domain.com\n")
    (host.place / "users/domains/domain.com").write_text("=domain-com-joe:popuser:888:888::::\n")
    (host.place / "users/poppasswd").write_text("testid:x:popuser:/\n")
    for folder in ("", ".backup/", ".Sent/"):
        for part in ("tmp", "new", "cur"):
            (box / "Maildir" / folder / part).mkdir(parents=True)
    for name in (b"1.2.host:2,S", b"with\nnewline", b"not-utf8-\xff", b"3.4.host"):
        (box / "Maildir/.backup/cur" / os.fsdecode(name)).write_bytes(b"Subject: " + name)
    (box / "Maildir/new/5.6.host").hardlink_to(box / "Maildir/.backup/cur/3.4.host")
    (box / ".qmail").write_text("./Maildir/\n")
    (box / "Mailbox").write_text("From joe\n")
    os.utime(box / "Maildir/new/5.6.host", (1_000, 1_000))
    if os.geteuid() == 0:
        for path in [box, *box.rglob("*")]:
            os.lchown(path, POPUSER, POPUSER)
        box.chmod(0o700)
    return host


@pytest.fixture
def new(tmp_path: Path) -> Files:
    """An empty one that stands where the old one stood."""
    return Files(tmp_path / "new")


def names(path: Path) -> list[str]:
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as tar:
        return tar.getnames()


@pytest.mark.parametrize("name", ["mail.tar", "mail.tar.gz"])
def test_a_restored_host_has_the_same_files(old: Files, new: Files, tmp_path: Path, name: str) -> None:
    was = old.tree()
    saved = backup(old, tmp_path / name)
    assert (saved.messages, saved.remarks) == (5, ())
    assert old.tree() == was, "nothing of the snapshot is left"
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    moved_in(old, new, tmp_path)
    manifest = restore(new, tmp_path / name)
    assert manifest["messages"] == 5
    assert new.tree() == was
    assert new.done == ["stop smtp", "stop pop3", "restart smtp", "restart pop3"]


def test_extended_attributes_of_users_come_along(old: Files, new: Files, tmp_path: Path) -> None:
    message = old.place / BOX / "Maildir/new/5.6.host"
    try:
        os.setxattr(message, "user.seen", b"\xffyes")
    except OSError as why:
        lacks("extended attributes", str(why.strerror))
    backup(old, tmp_path / "mail.tar")
    moved_in(old, new, tmp_path)
    restore(new, tmp_path / "mail.tar")
    assert os.getxattr(new.place / BOX / "Maildir/new/5.6.host", "user.seen") == b"\xffyes"


def test_what_is_no_mail_is_left_out_and_told(old: Files, tmp_path: Path) -> None:
    """Links and FIFOs silently, as ever; sparse files, which would fill the archive's disk, by name."""
    box = old.place / BOX
    (tmp_path / "secret").write_text("of root")
    for folder in ("Maildir/new", "Maildir", ""):
        (box / folder / "link").symlink_to(tmp_path / "secret")
        (box / folder / "loop").symlink_to(tmp_path)
        os.mkfifo(box / folder / "pipe")
        (box / folder / "sparse").write_text("")
        os.truncate(box / folder / "sparse", 64 << 30)
    saved = backup(old, tmp_path / "mail.tar")
    assert sorted(saved.remarks) == [
        f"left out: {BOX}/{folder}sparse: is sparse: of 68719476736 octets 68719476736 are holes"
        for folder in ("Maildir/new/", "Maildir/", "")
    ]
    assert not [name for name in names(tmp_path / "mail.tar") if Path(name).name in ("link", "loop", "pipe", "sparse")]
    assert (tmp_path / "mail.tar").stat().st_size < 1 << 20


@AS_ROOT
def test_a_second_name_of_roots_file_is_not_saved_as_mail(old: Files, tmp_path: Path) -> None:
    """Where fs.protected_hardlinks is 0, popuser can make one of any file."""
    (tmp_path / "secret").write_text("of root")
    for place in ("Maildir/new/7", ".qmail-x"):
        (old.place / BOX / place).hardlink_to(tmp_path / "secret")
    saved = backup(old, tmp_path / "mail.tar")
    assert len(saved.remarks) == 2
    assert "Maildir/new/7: is a second name of uid 0's file in uid 888's folder" in "\n".join(saved.remarks)
    assert b"of root" not in (tmp_path / "mail.tar").read_bytes()
    assert saved.messages == 5


@AS_ROOT
def test_nobody_but_root_gets_into_the_snapshot_after_the_thaw(old: Files, tmp_path: Path) -> None:
    """popuser owns the messages that are linked there, and perhaps the folder that the snapshot lies in."""
    reachable = Path(tempfile.mkdtemp(prefix="popbox-backup-"))  # on the disk that the host lies on
    reachable.chmod(0o755)
    old.place = old.place.rename(reachable / "old")
    for part in (old.place, old.place / "popboxes"):
        part.chmod(0o755)  # whatever the umask of who runs the tests
    (tmp_path / "secret").write_text("of root")
    (tmp_path / "secret").chmod(0o600)
    os.chown(old.place / "popboxes", POPUSER, POPUSER)
    entered: list[int] = []

    def attack() -> None:
        child = os.fork()
        if child == 0:
            os.setgid(POPUSER)
            os.setuid(POPUSER)
            place = old.place / "popboxes" / work.on_host_walk.SNAPSHOT
            try:
                os.listdir(place)
                os._exit(1)
            except PermissionError:
                pass
            try:  # popboxes is popuser's: the folder can be exchanged, for one that leads to root's
                place.rename(place.with_name(".aside"))
                (place / "domain-com").mkdir(parents=True)
                (place / "domain-com/mail").symlink_to(tmp_path / "secret")
                os._exit(2)
            except OSError:
                os._exit(3)
        entered.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    old.thawed = attack
    with pytest.raises(HostError, match="ended with 1"):
        backup(old, tmp_path / "mail.tar")
    remove(reachable)
    assert entered == [2], "it was not entered, and the exchange was seen"
    assert not (tmp_path / "mail.tar").exists()


def written(path: Path, home: str, members: list[tarfile.TarInfo], manifest: dict[str, object] | None = None) -> Path:
    """An archive with these members."""
    said = {"format": 2, "mta": "stand-in", "home": home, "made": "today", "messages": 0, "octets": 0, "qmailq": None}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        form.note(tar, form.MANIFEST, said | (manifest or {}))
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
        form.note(tar, form.END, {"members": len(members)})
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, **facts: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size = kind, 3 if kind == tarfile.REGTYPE else 0
    made.uid, made.gid = os.geteuid(), os.getegid()
    for key, value in facts.items():
        setattr(made, key, value)
    return made


HOSTILE = {
    "a path out": ([member("control/../../etc/cron.d/x")], "its path does not lie in"),
    "an absolute path": ([member("/etc/cron.d/x")], "its path does not lie in"),
    "a file beside the parts": ([member("bin/qmail-send")], "its path does not lie in"),
    "our own folder": ([member("popboxes/.popbox-undo/log")], "of popbox's own work"),
    "a link": ([member("popboxes/x", tarfile.SYMTYPE, linkname="/etc")], "neither a file nor a folder"),
    "a hard link": ([member("popboxes/x", tarfile.LNKTYPE, linkname="control/me")], "neither a file nor a folder"),
    "a device": ([member("popboxes/x", tarfile.CHRTYPE, devmajor=1, devminor=3)], "neither a file nor a folder"),
    "a FIFO": ([member("popboxes/x", tarfile.FIFOTYPE)], "neither a file nor a folder"),
    "a part that is a file": ([member("popboxes")], "is no folder"),
    "twice the same": ([member("control/me"), member("control/me")], "is there twice"),
    "a file in a file": ([member("popboxes/x"), member("popboxes/x/y")], "lies in a folder that is a file"),
    "a folder in a file's place": ([member("popboxes/x/y"), member("popboxes/x")], "is there twice"),
    "an owner that is none": ([member("popboxes/x", uid=(1 << 32) - 1)], "is no uid and gid"),
    "a name too long": ([member("popboxes/" + "x" * 256)], "more than 255 octets"),
    "too deep": ([member("popboxes" + "/d" * 64)], "deeper than 64 folders"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_member_that_does_not_belong_changes_nothing_and_stops_nothing(new: Files, tmp_path: Path, what: str) -> None:
    members, rule = HOSTILE[what]
    path = written(tmp_path / "evil.tar", new.home(), [member("control/me"), *members][-2:])
    was = new.tree()
    with pytest.raises(ArchiveError, match=rule) as refused:
        restore(new, path)
    assert f"{path}: member {members[-1].name!r}" in str(refused.value)
    assert new.tree() == was
    assert new.done == []


@pytest.mark.parametrize("key", ["mta", "home", "made", "messages", "octets", "qmailq"])
@pytest.mark.parametrize("value", ["missing", True, ["x"]])
def test_a_manifest_without_one_of_its_keys_is_refused(new: Files, tmp_path: Path, key: str, value: object) -> None:
    path = written(tmp_path / "keys.tar", new.home(), [member("control/me")], {key: value})
    if value == "missing":
        octets = path.read_bytes()
        path.write_bytes(octets.replace(f'"{key}"'.encode(), f'"{key[:-1]}_"'.encode(), 1))
    with pytest.raises(ArchiveError, match=f"popbox.json: {key} is"):
        restore(new, path)
    assert new.done == []


def test_octets_that_are_not_those_written_are_seen(old: Files, tmp_path: Path) -> None:
    path = tmp_path / "mail.tar"
    backup(old, path)
    path.write_bytes(path.read_bytes().replace(b"From joe\n", b"From job\n"))
    with pytest.raises(ArchiveError, match=r"popbox\.end: the octets are not those that were written"):
        form.read_whole(path)


def test_an_archive_of_an_older_version_is_still_read(old: Files, new: Files, tmp_path: Path) -> None:
    """Its end has the number alone."""
    backup(old, tmp_path / "mail.tar")
    with tarfile.open(tmp_path / "mail.tar") as tar, tarfile.open(tmp_path / "older.tar", "w") as older:
        found = list(tar)
        for one in found[:-1]:
            older.addfile(one, tar.extractfile(one))
        form.note(older, form.END, {"members": len(found) - 2})
    was = old.tree()
    moved_in(old, new, tmp_path)
    restore(new, tmp_path / "older.tar")
    assert new.tree() == was


def test_set_id_bits_are_not_restored(new: Files, tmp_path: Path) -> None:
    members = [member("popboxes/d", tarfile.DIRTYPE, mode=0o755), member("popboxes/d/x", mode=0o6755)]
    restore(new, written(tmp_path / "evil.tar", new.home(), members))
    assert new.tree()["popboxes/d/x"][0] & 0o7777 == 0o755


@AS_ROOT
def test_nobody_gets_files_who_has_none_here(new: Files, tmp_path: Path) -> None:
    members = [member("popboxes/x", uid=4242, gid=4242), member("control/x", uid=4242, gid=4242)]
    restore(new, written(tmp_path / "evil.tar", new.home(), members))
    assert new.tree()["popboxes/x"][1:3] == (POPUSER, POPUSER)
    assert new.tree()["control/x"][1:3] == (0, 0)


@pytest.mark.parametrize("fails", ["restart smtp", "restart pop3"])
def test_where_a_service_does_not_come_back_the_host_is_as_it_was(
    old: Files, new: Files, tmp_path: Path, fails: str
) -> None:
    backup(old, tmp_path / "mail.tar")
    moved_in(old, new, tmp_path)
    was, new.fails = new.tree(), fails
    with pytest.raises(HostError, match="does not answer"):
        restore(new, tmp_path / "mail.tar")
    assert new.tree() == was
    assert new.done[-4:] == ["stop smtp", "stop pop3", "restart smtp", "restart pop3"]


def test_killed_at_any_step_it_can_be_taken_back(
    old: Files, new: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(old, tmp_path / "mail.tar")
    moved_in(old, new, tmp_path)
    was, rename, steps = new.tree(), os.rename, 0

    class Killed(BaseException):
        pass

    for last in range(1_000):
        with form.opened(tmp_path / "mail.tar") as (tar, _):
            work._stage(new, tar)
        steps = 0

        def until(*words: Any, last: int = last, **more: Any) -> None:
            nonlocal steps
            if steps == last:
                raise Killed
            steps += 1
            rename(*words, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", until)
            try:
                on_host_restore.place(new.place)
            except Killed:
                pass
            else:
                break
        work.take_back(new)
        assert new.tree() == was, f"killed at step {last}"
    assert last > 5


def test_a_restore_of_a_newer_popbox_is_not_taken_back_by_half(old: Files, new: Files, tmp_path: Path) -> None:
    backup(old, tmp_path / "mail.tar")
    moved_in(old, new, tmp_path)
    with form.opened(tmp_path / "mail.tar") as (tar, _):
        work._stage(new, tar)
    on_host_restore.place(new.place)
    log = new.place / "users/.popbox-undo/log"
    log.write_text(log.read_text() + '["linked", "poppasswd", 7]\n')
    was = new.tree()
    with pytest.raises(HostError, match=r"users/\.popbox-undo/log: step 'linked' is not known"):
        work.take_back(new)
    assert new.tree() == was


def test_what_does_not_fit_is_refused_before_anything_is_done(
    old: Files, new: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(old, tmp_path / "mail.tar")
    moved_in(old, new, tmp_path)
    monkeypatch.setattr(work, "SPARE_OCTETS", 1 << 62)
    was = new.tree()
    with pytest.raises(HostError, match=r"octets of disk, \d+ are free; nothing was restored"):
        restore(new, tmp_path / "mail.tar")
    assert (new.tree(), new.done) == (was, [])


def test_mail_that_comes_while_it_is_written_is_not_overwritten(
    old: Files, new: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(old, tmp_path / "mail.tar")
    moved_in(old, new, tmp_path)
    stage = work._stage

    def and_mail(host: Any, archive: tarfile.TarFile) -> None:
        stage(host, archive)
        (new.place / "users/domains/other.example").write_text("")

    monkeypatch.setattr(work, "_stage", and_mail)
    with pytest.raises(HostError, match=r"is not empty, nothing was restored; it has users/domains/other\.example"):
        restore(new, tmp_path / "mail.tar")
    assert not (new.place / BOX).exists()
    assert new.done[-2:] == ["restart smtp", "restart pop3"]
    assert json.loads(work._run(new, "facts")[0])["room"]["control"]


LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); os.execv(sys.argv[1], sys.argv[1:])"
)


def test_a_disk_of_the_host_that_is_full_is_one_line_and_leaves_nothing(old: Files, tmp_path: Path) -> None:
    """Here: that takes no file of more than ten octets."""
    was, beside = old.tree(), old.beside

    def limited(*argv: str) -> Command:
        command = beside(*argv)
        return Command([sys.executable, "-c", LIMITED, *command.argv], command.env)

    old.beside = limited  # type: ignore[method-assign]
    with pytest.raises(HostError) as failed:
        backup(old, tmp_path / "mail.tar")
    assert str(failed.value) == f"snapshot on host files ended with 1: {old.place}/control: File too large"
    assert old.tree() == was
    assert list(tmp_path.glob("*mail.tar*")) == []


@pytest.mark.parametrize("ends", ["echo boom >&2; exit 3", "head -c 700 /dev/zero; echo boom >&2; exit 3"])
def test_a_host_that_cannot_pack_says_why(old: Files, tmp_path: Path, ends: str) -> None:
    beside = old.beside
    old.beside = lambda *argv: Command(["/bin/sh", "-c", ends], {}) if "pack" in argv else beside(*argv)  # type: ignore[method-assign]
    with pytest.raises(HostError, match=r"packing on host files ended with 3: boom$"):
        backup(old, tmp_path / "mail.tar")
    assert list(tmp_path.glob("*mail.tar*")) == []


def test_a_full_disk_here_names_the_archive(old: Files, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (old.place / BOX / "Maildir/new/large").write_bytes(b"x" * 2_000_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/\.mail\.tar\.part'"):
            backup(old, tmp_path / "mail.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.glob("*mail.tar*")) == []
    assert "Traceback" not in capfd.readouterr().err
