"""What a change stages, where it puts that, and what it leaves to others and to the next one."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mailhost.accounts.change import journal, transaction
from mailhost.accounts.change.journal import HostEffects
from mailhost.accounts.change.transaction import Transaction
from mailhost.accounts.errors import BusyError
from mailhost.accounts.files import durable
from mailhost.accounts.layout import layout
from mailhost.system.beneath import Beneath

KEPT = "popboxes/.removed/joe"


@pytest.fixture
def hands(tmp_path: Path) -> HostEffects:
    for name in ("control", "users/domains", "alias", KEPT):
        (tmp_path / name).mkdir(parents=True)
    return HostEffects(layout(tmp_path), lambda _home: None)


def test_the_first_change_makes_the_folder_of_the_lock_for_good(
    hands: HostEffects, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(transaction, "sync_directory", synced.append)
    with Transaction(hands):
        assert stat.S_IMODE(hands.layout.work.stat().st_mode) == 0o700
    assert synced == [hands.layout.users]


def test_what_a_dead_writer_has_staged_goes_and_a_new_file_is_for_all_to_read(hands: HostEffects) -> None:
    left = durable.staged_name(hands.layout.control / "locals", 3)
    left.touch()
    with Transaction(hands) as change:
        assert not left.exists()
        change.put(hands.layout.control / "me", b"host.example\n")
        change.commit()
    assert stat.S_IMODE((hands.layout.control / "me").stat().st_mode) == 0o644


def test_a_file_that_cannot_be_read_is_named(hands: HostEffects) -> None:
    (hands.layout.control / "locals").mkdir()
    with Transaction(hands) as change, pytest.raises(BusyError, match="control/locals: cannot be read: Is a directory"):
        change.read(hands.layout.control / "locals")


@pytest.mark.parametrize("follow", [True, False])
def test_a_link_is_written_through_or_replaced(hands: HostEffects, follow: bool) -> None:
    link, target = hands.layout.control / "me", hands.layout.users / "target"
    target.write_text("was\n")
    link.symlink_to(target)
    with Transaction(hands) as change:
        change.put(link, b"new\n", follow=follow)
        change.commit()
    assert (link.is_symlink(), link.read_text()) == (follow, "new\n")
    assert target.read_text() == ("new\n" if follow else "was\n")


def made(hands: HostEffects) -> None:
    with Transaction(hands) as change:
        change.purge(hands.layout.home / KEPT)
        change.commit()


def begun(hands: HostEffects) -> None:
    hands.layout.work.mkdir()
    journal.write(hands.layout, [journal.Step("purge", KEPT)])
    said: list[str] = []
    with Transaction(replace(hands, say=said.append)):
        pass
    raise BusyError("; ".join(said))


@pytest.mark.parametrize("change", [made, begun])
def test_what_could_not_be_purged_is_said_and_holds_up_no_other_change(
    hands: HostEffects, monkeypatch: pytest.MonkeyPatch, change: Callable[[HostEffects], None]
) -> None:
    def refused(_tree: Beneath, _path: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Beneath, "remove", refused)
    with pytest.raises(BusyError, match=f"{KEPT}: not all of it could be removed: Operation not permitted"):
        change(hands)
    assert journal.read(hands.layout) is None


def test_without_a_place_for_the_lock_no_change_begins(hands: HostEffects) -> None:
    hands.layout.work.write_text("no folder")
    with pytest.raises(BusyError, match=r"users/\.mailhost: File exists"), Transaction(hands):
        pass
    hands.layout.work.unlink()
    hands.layout.parts.rmdir()
    hands.layout.users.rmdir()
    with pytest.raises(BusyError, match="users: missing; `mailhost init` makes"), Transaction(hands):
        pass
