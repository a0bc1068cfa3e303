"""A change and somebody's editor at the same time: what was written by hand meanwhile is never written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailhost.accounts import files, journal
from mailhost.accounts.edit import editing
from mailhost.accounts.errors import BusyError, HostError
from mailhost.accounts.journal import Hands
from mailhost.accounts.layout import layout
from mailhost.accounts.poppasswd import Row
from mailhost.accounts.transaction import Transaction


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    for name in ("control", "users/domains", "alias", "popboxes", "users/.mailhost"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "control/virtualdomains").write_text("a.example:a-example\n")
    return Hands(layout(tmp_path), lambda _home: None)


def in_place(path: Path) -> None:
    """As an editor that keeps the file; another second, so that no time stamp hides it."""
    with path.open("a") as file:
        file.write("mine.example:mine\n")
    os.utime(path, (1, 1))


def replaced(path: Path) -> None:
    """As an editor that renames, with the old one's time."""
    before = path.stat()
    new = path.with_name("edited")
    new.write_text("mine.example:mine\n")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(path)


def removed(path: Path) -> None:
    path.unlink()


EDITS = [in_place, replaced, removed]


@pytest.mark.parametrize("edit", EDITS)
def test_a_hand_edit_between_reading_and_writing_stops_the_change(hands: Hands, edit: object) -> None:
    assert callable(edit)
    path = hands.layout.control / "virtualdomains"
    with Transaction(hands) as change:
        text = change.read(path)
        assert text is not None
        change.put(path, text + b"b.example:b-example\n")
        edit(path)
        left = path.read_bytes() if path.exists() else None
        with pytest.raises(HostError, match="control/virtualdomains: somebody else changed it meanwhile"):
            change.commit()
    assert (path.read_bytes() if path.exists() else None) == left, "the hand's work stands"
    assert not (hands.layout.work / journal.NAME).exists(), "and no change is left half done"


@pytest.mark.parametrize("edit", EDITS)
def test_a_hand_edit_after_a_crash_stops_the_change_that_would_be_finished(hands: Hands, edit: object) -> None:
    """The writer died with its journal written; before the next one, somebody's editor came."""
    assert callable(edit)
    path = hands.layout.control / "virtualdomains"
    was = files.mark(path)
    staged = files.stage(path, b"all new\n", 0o644)
    home = hands.layout.home
    journal.write(hands.layout, [journal.Step("put", str(path.relative_to(home)), str(staged.relative_to(home)), was)])
    edit(path)
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(HostError, match="somebody else changed it meanwhile"), Transaction(hands):
        pass
    assert (path.read_bytes() if path.exists() else None) == left


def test_a_file_that_came_meanwhile_is_not_written_over(hands: Hands) -> None:
    path = hands.layout.control / "locals"
    with Transaction(hands) as change:
        assert change.read(path) is None
        change.put(path, b"ours\n")
        path.write_text("theirs\n")
        with pytest.raises(HostError, match="control/locals: somebody else"):
            change.commit()
    assert path.read_text() == "theirs\n"


def test_a_staged_text_that_somebody_removes_while_it_is_written_stops_the_change(hands: Hands) -> None:
    path = hands.layout.control / "locals"

    def removed_meanwhile(descriptor: int) -> None:
        os.write(descriptor, b"ours\n")
        files.staged_name(path).unlink()

    with Transaction(hands) as change, pytest.raises(BusyError, match=r"locals.*: vanished while it was written"):
        change.put(path, removed_meanwhile)
    assert not path.exists()


def test_a_poppasswd_replaced_by_hand_while_rows_are_edited_stops_the_change(hands: Hands) -> None:
    path = hands.layout.poppasswd
    (hands.layout.control / "rcpthosts").write_text("a.example\n")
    path.write_bytes(b"ann:$6$x$y:popuser:/boxes/ann\n")
    with editing(hands) as change:
        assert change.rows.get(b"ann") is not None
        change.rows.set(Row(b"joe", b"$6$x$y", b"popuser", b"/boxes/joe"))
        replaced(path)
        left = path.read_bytes()
        change.stage()
        with pytest.raises(HostError, match="users/poppasswd: somebody else changed it meanwhile"):
            change.transaction.commit()
    assert path.read_bytes() == left
