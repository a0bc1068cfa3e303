"""`mailhost lint --fix`: what it mends, and what it leaves alone."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest
from tests.mailhost.cli.lint.cases import BOX, PART, findings, moved_out
from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.accounts import lint as rules
from mailhost.accounts.errors import BusyError
from mailhost.accounts.files import box_directories as boxes
from mailhost.accounts.layout import Identity
from mailhost.system.beneath import Beneath


def test_fix_shows_what_it_does(howto: Host) -> None:
    (howto.home / BOX).chmod(0o777)
    done = howto.run("lint", "--fix")
    assert done.exit_code == 0
    assert f"mending {BOX}: chmod 0700: has mode 0777" in done.stdout
    assert "1 mended" in done.stdout


def test_fix_in_a_copied_home_leaves_the_original_alone(howto: Host, tmp_path: Path) -> None:
    box, uid = howto.home / BOX, os.geteuid() or 4711
    (box / ".qmail").chmod(0o620)
    (box / "Maildir/tmp").rmdir()
    for path in (box, box / "Maildir/new"):
        path.chmod(0o777)
        os.chown(path, uid, -1)
    howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)
    (howto.home / "popboxes/domain-com/ann").rename(tmp_path / "gone")
    copy = Host(tmp_path / "copy")
    shutil.copytree(howto.home, copy.home, symlinks=True)
    before = howto.tree()
    found = findings(copy, "--fix")
    assert howto.tree() == before
    assert [(f["file"], f["line"]) for f in found if f["rule"] == "home-outside"] == [(PART, 1), (PART, 2)]
    assert not [f for f in found if str(howto.home) in str(f["file"]) and f["fix"]]
    assert str(howto.home) in copy.run("lint").stdout


@pytest.mark.parametrize("linked", [BOX + "/Maildir", BOX + "/Maildir/new", BOX + "/.qmail", "users/poppasswd"])
def test_fix_follows_no_link_out_of_the_home(howto: Host, linked: str) -> None:
    moved_out(howto, linked)
    out = howto.home.parent / "out"
    out.chmod(0o777)
    if os.geteuid() == 0:
        os.chown(out, 4711, 4711)
    (out / "tmp").rmdir() if (out / "tmp").exists() else None
    before = out.stat(), sorted(out.iterdir()) if out.is_dir() else []
    howto.run("lint", "--fix")
    after = out.stat()
    assert (after.st_uid, after.st_mode) == (before[0].st_uid, before[0].st_mode)
    assert (sorted(out.iterdir()) if out.is_dir() else []) == before[1]


@pytest.mark.needs("root")
@pytest.mark.parametrize("swapped", [BOX + "/Maildir", BOX + "/Maildir/new"])
def test_q_perm_fix_follows_no_link_that_popuser_puts_there_after_the_look(
    howto: Host, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """popuser owns the box: between the look and the chown it can put a link to a directory of root's there."""
    out = howto.home.parent / "out"
    (out / "new").mkdir(parents=True)
    os.chown(howto.home / BOX / "Maildir/new", 4711, 4711)
    if swapped.endswith("Maildir"):
        (howto.home / BOX / "Maildir/tmp").rmdir()

    def swap(*_: object) -> None:
        (howto.home / swapped).rename(howto.home.parent / "aside")
        (howto.home / swapped).symlink_to(out)

    looked, look = itertools.count(1), rules.lint
    monkeypatch.setattr(rules, "lint", lambda *a, **k: (look(*a, **k), swap() if next(looked) == 2 else None)[0])
    before = {path: path.stat().st_uid for path in (out, out / "new")}
    assert howto.run("lint", "--fix").exit_code == 111
    assert {path: path.stat().st_uid for path in before} == before
    assert [path.name for path in out.iterdir()] == ["new"]


@pytest.mark.needs("root")
def test_a_maildir_that_is_a_link_is_not_completed_elsewhere(howto: Host, tmp_path: Path) -> None:
    """A change that makes a box whole again (a replay, `apply`) gives nothing away behind a link of popuser's."""
    (tmp_path / "etc/tmp").mkdir(parents=True)
    shutil.rmtree(howto.home / BOX / "Maildir")
    (howto.home / BOX / "Maildir").symlink_to(tmp_path / "etc")
    identity = Identity("popuser", 888, 888)
    with Beneath(howto.home / "popboxes") as tree, pytest.raises(BusyError, match="Maildir: is a symbolic link"):
        boxes.make(tree, BOX.removeprefix("popboxes/"), {}, identity, maildir=True, sync=True)
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["tmp"]
    assert (tmp_path / "etc/tmp").stat().st_uid == 0


@pytest.mark.needs("root")
@pytest.mark.parametrize("name", ["Maildir", "Maildir/new", ".qmail"])
def test_a_second_name_of_roots_file_is_not_given_away(howto: Host, tmp_path: Path, name: str) -> None:
    """Where fs.protected_hardlinks is 0, the kernel's own default, popuser can make one."""
    secret, here = tmp_path / "secret", howto.home / BOX / name
    secret.write_text("of root")
    secret.chmod(0o620)
    here.rename(tmp_path / "aside")
    here.hardlink_to(secret)
    before = secret.stat()
    done = howto.run("lint", "--fix")
    assert done.exit_code == (0 if name == ".qmail" else 111)
    assert ("a second name of another user's file" if name == ".qmail" else "a directory is wanted here") in done.output
    assert str(here.parent if name == ".qmail" else here) in done.output
    after = secret.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_popboxes_on_another_disk_is_still_ours(howto: Host) -> None:
    boxes = howto.home / "popboxes"
    boxes.symlink_to(boxes.rename(howto.home.parent / "disk"))
    (howto.home / BOX).chmod(0o777)
    assert "1 mended" in howto.ok("lint", "--fix")
