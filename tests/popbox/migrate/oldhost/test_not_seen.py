"""What SOURCE does not show is never taken for absent: directories that may not be entered, links, disks not copied."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.popbox.migrate.oldhost.test_remote import SSH, by_ssh
from tests.popbox.migrate.oldhosts import HOSTS, QMAIL, audited, put

from popbox.migrate.audit.audit import Audit
from popbox.migrate.oldhost.source import open_source
from popbox.migrate.verify.files.pairs import known, pairs

BOXES = f"{QMAIL}/popboxes/domain-com"
PLAIN_UID = 65534


@contextmanager
def plain_user() -> Iterator[None]:
    """Whose permissions count."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(PLAIN_UID)
    try:
        yield
    finally:
        os.seteuid(0)


def lost(found: Audit) -> list[str]:
    return [str(one) for one in found.lost]


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everyone may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="popbox-old-") as made:
        top = Path(made)
        top.chmod(0o755)
        yield top


def closed(root: Path, path: str, mode: int) -> Path:
    """The HOWTO's host for whom it may read all but this directory."""
    old = HOSTS["howto"](root)
    root.chmod(0o755)
    for each in old.rglob("*"):
        each.chmod(0o755 if each.is_dir() else 0o644)
    (old / path).chmod(mode)
    return old


def as_plain_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program named ssh whose commands run here with the permissions of a plain user."""
    dropped = f"setpriv --reuid={PLAIN_UID} --regid={PLAIN_UID} --clear-groups " if os.geteuid() == 0 else ""
    put(tmp_path / "bin/ssh", SSH.format(log="/dev/null").replace("exec sh -c", f"exec {dropped}sh -c"), 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("path", "mode", "named"),
    [
        (f"{BOXES}/ann", 0o000, f"{BOXES}/ann"),
        (f"{BOXES}/ann", 0o644, f"{BOXES}/ann"),
        (f"{BOXES}/ann/Maildir", 0o000, f"{BOXES}/ann/Maildir"),
        (f"{BOXES}/ann/Maildir/cur", 0o000, f"{BOXES}/ann/Maildir/cur"),
        (f"{QMAIL}/popboxes", 0o000, f"{QMAIL}/popboxes"),
        (f"{QMAIL}/control", 0o000, f"{QMAIL}/control"),
    ],
)
def test_a_directory_that_may_not_be_entered_is_lost_by_name(
    path: str, mode: int, named: str, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = closed(public / "old", path, mode)
    as_plain_user(public, monkeypatch)
    try:
        with plain_user():
            near = audited(old)
        far = by_ssh(old)
    finally:
        (old / path).chmod(0o755)
    for found in (near, far):
        assert any(one.startswith(f"/{named}: what it holds: cannot be ") for one in lost(found)), lost(found)


def test_what_has_a_name_in_a_directory_that_may_not_be_listed_is_read(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mode 0711, as /home often has."""
    old = closed(public / "old", f"{QMAIL}/popboxes", 0o711)
    as_plain_user(public, monkeypatch)
    far = by_ssh(old)
    assert lost(far) == []
    assert [held.messages for held in far.held] == [3, 3]


@pytest.mark.parametrize("part", ["new", "cur"])
def test_a_part_of_a_maildir_that_is_a_link_is_followed_and_one_to_nothing_is_lost(part: str, tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    here = old / BOXES / f"ann/Maildir/{part}"
    here.rename(old / "disk2")
    here.symlink_to("/disk2")
    found = audited(old)
    assert (lost(found), [held.messages for held in found.held]) == ([], [3, 3])
    (old / "disk2").rename(old / "gone")
    assert lost(audited(old)) == [f"/{BOXES}/ann/Maildir/{part}: mail: a link leads to '/disk2', which is not there"]


@pytest.mark.parametrize("what", ["Maildir", "."])
def test_mail_on_a_disk_that_was_not_copied_is_lost_by_name(what: str, tmp_path: Path) -> None:
    """A link that leads to nothing is there because something was."""
    old = HOSTS["howto"](tmp_path / "old")
    here = old / BOXES / "ann" / what
    here.rename(tmp_path / "elsewhere")
    here.symlink_to("/disk2/ann")
    told = lost(audited(old))
    assert any("/disk2" in one for one in told), told


def test_a_login_whose_home_is_on_a_disk_that_was_not_copied_is_lost_and_not_verified(tmp_path: Path) -> None:
    old = HOSTS["howto"](tmp_path / "old")
    with (old / QMAIL / "users/poppasswd").open("a") as out:
        out.write("zoe:x:popuser:/home2/zoe\nzac:x:popuser:/var/qmail/popboxes/domain-com/zac\n")
    assert lost(audited(old)) == [
        f"/{QMAIL}/users/poppasswd:3: mail of login zoe: /home2/zoe/Maildir: {old} has no '/home2'"
    ]
    host = known(open_source(str(old)), None, b"/var/qmail")
    assert [pair.outside != "" for pair in pairs(host, host) if pair.old_login in ("zac", "zoe")] == [False, True]


def test_a_system_account_whose_home_was_not_copied_is_lost_by_name(tmp_path: Path) -> None:
    old = HOSTS["system"](tmp_path / "old")
    (old / "home").rename(tmp_path / "home")
    told = lost(audited(old, "system"))
    assert [one.split(": ")[1] for one in told] == ["mail of ann", "mail of ben", "mail of cat"]
