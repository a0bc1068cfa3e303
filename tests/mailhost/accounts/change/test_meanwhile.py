"""A change and a person's editor at the same time: what was written by hand in between is never written over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mailhost.accounts import init
from mailhost.accounts.change import assign, journal
from mailhost.accounts.change.edit import Edit, editing
from mailhost.accounts.change.journal import HostEffects
from mailhost.accounts.change.transaction import Transaction
from mailhost.accounts.errors import BusyError, HostError, InputError
from mailhost.accounts.files import durable
from mailhost.accounts.layout import Layout, layout
from mailhost.accounts.lint.assign import _end_line
from mailhost.accounts.operations import domains, forwards, mailboxes
from mailhost.accounts.operations.mailboxes import MailboxRequest
from mailhost.poppasswd.file import Row


@pytest.fixture
def hands(tmp_path: Path) -> HostEffects:
    for name in ("control", "users/domains", "alias", "popboxes", "users/.mailhost"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "control/virtualdomains").write_text("a.example:a-example\n")
    return HostEffects(layout(tmp_path), lambda _home: None)


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
def test_a_hand_edit_between_reading_and_writing_stops_the_change(hands: HostEffects, edit: object) -> None:
    assert callable(edit)
    path = hands.layout.control / "virtualdomains"
    with Transaction(hands) as change:
        text = change.read(path)
        assert text is not None
        change.put(path, text + b"b.example:b-example\n")
        edit(path)
        left = path.read_bytes() if path.exists() else None
        with pytest.raises(HostError, match="control/virtualdomains: it was changed by someone else in between"):
            change.commit()
    assert (path.read_bytes() if path.exists() else None) == left, "the hand's work stands"
    assert not (hands.layout.work / journal.NAME).exists(), "and no change is left half done"


@pytest.mark.parametrize("edit", EDITS)
def test_a_hand_edit_after_a_crash_stops_the_change_that_would_be_finished(hands: HostEffects, edit: object) -> None:
    """The writer died with its journal written; before the next one, a person's editor came."""
    assert callable(edit)
    path = hands.layout.control / "virtualdomains"
    was = durable.mark(path)
    staged = durable.stage(path, b"all new\n", 0o644)
    home = hands.layout.home
    journal.write(hands.layout, [journal.Step("put", str(path.relative_to(home)), str(staged.relative_to(home)), was)])
    edit(path)
    left = path.read_bytes() if path.exists() else None
    for _ in range(2):  # the lock is free again after the first
        with pytest.raises(HostError, match="it was changed by someone else in between"), Transaction(hands):
            pass
    assert (path.read_bytes() if path.exists() else None) == left


def test_a_file_that_came_meanwhile_is_not_written_over(hands: HostEffects) -> None:
    path = hands.layout.control / "locals"
    with Transaction(hands) as change:
        assert change.read(path) is None
        change.put(path, b"ours\n")
        path.write_text("theirs\n")
        with pytest.raises(HostError, match="control/locals: it was changed by someone else"):
            change.commit()
    assert path.read_text() == "theirs\n"


@pytest.mark.parametrize("where", ["check", "sync_directory"])
def test_what_ends_a_change_before_it_happens_takes_its_journal_along(
    hands: HostEffects, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The journal stayed without its staged files, and the next command made half of the change."""
    path = hands.layout.control / "virtualdomains"
    was = path.read_bytes()

    def interrupted(*_given: object) -> None:
        if (hands.layout.work / journal.NAME).exists():
            raise KeyboardInterrupt

    with Transaction(hands) as change, monkeypatch.context() as patched:
        change.put(path, b"new\n")
        patched.setattr(journal if where == "check" else durable, where, interrupted)
        with pytest.raises(KeyboardInterrupt):
            change.commit()
    assert sorted(os.listdir(hands.layout.work)) == ["lock"]
    with Transaction(hands):
        assert path.read_bytes() == was
    assert sorted(os.listdir(hands.layout.control)) == ["virtualdomains"]


def test_a_staged_text_that_somebody_removes_while_it_is_written_stops_the_change(hands: HostEffects) -> None:
    path = hands.layout.control / "locals"

    def removed_meanwhile(descriptor: int) -> None:
        os.write(descriptor, b"ours\n")
        durable.staged_name(path).unlink()

    with Transaction(hands) as change, pytest.raises(BusyError, match=r"locals.*: vanished while it was written"):
        change.put(path, removed_meanwhile)
    assert not path.exists()


JOE = Row(b"joe", b"$6$x$y", b"popuser", b"/boxes/joe")


def same_size(path: Path) -> None:
    """As `sed -i --in-place` of one letter by a program that keeps the file: only the time tells."""
    text = path.read_bytes()
    with path.open("r+b") as file:
        file.write(text.swapcase())


def refused(hands: HostEffects, path: Path, change: Edit) -> None:
    """The change is not made, and the file is as the hand left it."""
    left = path.read_bytes() if path.exists() else None
    change.stage()
    shown = hands.layout.shown(path)
    with pytest.raises(HostError, match=f"{shown}: it was changed by someone else in between"):
        change.transaction.commit()
    assert (path.read_bytes() if path.exists() else None) == left, "the hand's work stands"
    assert not (hands.layout.work / journal.NAME).exists(), "and no change is left half done"


@pytest.fixture
def host(hands: HostEffects) -> HostEffects:
    """One domain with a mailbox joe, an alias file, and a row written by hand."""
    (hands.layout.control / "virtualdomains").write_text("")
    (hands.layout.control / "rcpthosts").write_text("")
    (hands.layout.control / "locals").write_text("mail.example\n")
    hands.layout.poppasswd.write_bytes(b"ann:$6$x$y:popuser:/boxes/ann\n")
    (hands.layout.alias / ".qmail-root").write_text("&boss@a.example\n")
    with editing(hands) as change:
        domains.add(change, "a.example")
        mailboxes.add(change, MailboxRequest("joe", "a.example", "$6$x$" + "y" * 86, "joe", extensions=True))
        change.stage()
        change.transaction.commit()
    return hands


@pytest.mark.parametrize("edit", [*EDITS, same_size])
def test_a_poppasswd_changed_by_hand_while_rows_are_edited_stops_the_change(host: HostEffects, edit: object) -> None:
    assert callable(edit)
    path = host.layout.poppasswd
    with editing(host) as change:
        assert change.rows.get(b"ann") is not None
        change.rows.set(JOE)
        edit(path)
        refused(host, path, change)


@pytest.mark.parametrize("edit", [in_place, replaced, same_size])
def test_a_qmail_file_changed_by_hand_stops_the_change(host: HostEffects, edit: object) -> None:
    assert callable(edit)
    path = host.layout.box("a-example", "joe") / ".qmail"
    with editing(host) as change:
        forwards.add(change, "joe", "a.example", ["x@elsewhere.example"])
        edit(path)
        refused(host, path, change)


@pytest.mark.parametrize("edit", [in_place, replaced, same_size])
def test_a_qmail_default_changed_by_hand_is_not_removed(host: HostEffects, edit: object) -> None:
    assert callable(edit)
    path = host.layout.box("a-example", "joe") / ".qmail-default"
    with editing(host) as change:
        mailboxes.set_extensions(change, "joe", "a.example", on=False)
        edit(path)
        refused(host, path, change)


TOUCHES: list[Callable[[Edit], None]] = [
    lambda change: forwards.set_catchall(change, "a.example", "joe"),
    lambda change: mailboxes.set_extensions(change, "joe", "a.example", on=False),
]


@pytest.mark.parametrize("touch", TOUCHES)
def test_a_qmail_default_written_by_hand_is_not_replaced(host: HostEffects, touch: Callable[[Edit], None]) -> None:
    path = host.layout.box("a-example", "joe") / ".qmail-default"
    path.write_text("./Maildir/\n|by-hand\n")
    with editing(host) as change, pytest.raises(InputError, match=r"joe/\.qmail-default: line 2: .* by hand"):
        touch(change)
    assert path.read_text() == "./Maildir/\n|by-hand\n"


def test_a_hand_edit_while_the_journal_is_written_stops_the_change_and_holds_up_no_other(
    host: HostEffects, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = host.layout.poppasswd, journal.write

    def slowly(layout: Layout, steps: list[journal.Step]) -> None:
        write(layout, steps)
        in_place(path)

    with editing(host) as change, monkeypatch.context() as slow:
        change.rows.set(JOE)
        slow.setattr(journal, "write", slowly)
        change.stage()
        with pytest.raises(HostError, match=r"users/poppasswd: it was changed by .* is not made\. Try again"):
            change.transaction.commit()
    assert b"mine.example:mine\n" in path.read_bytes()
    assert not (host.layout.work / journal.NAME).exists()
    assert [each.name for each in host.layout.users.glob(".poppasswd*")] == [], "nothing staged is left"
    path.write_bytes(path.read_bytes().replace(b"mine.example:mine\n", b""))
    with editing(host) as change:
        change.rows.set(JOE)
        change.stage()
        change.transaction.commit()
    assert b"joe:$6$x$y:popuser:/boxes/joe\n" in path.read_bytes()


def test_a_qmail_file_changed_by_hand_after_a_crash_is_not_written_over(
    host: HostEffects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is written, nothing is done; a hand writes; what the crash left is not finished over it."""
    path = host.layout.box("a-example", "joe") / ".qmail"

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with editing(host) as change:
        forwards.add(change, "joe", "a.example", ["x@elsewhere.example"])
        change.stage()
        with monkeypatch.context() as dying:
            dying.setattr(journal, "replay", die)
            with pytest.raises(KeyboardInterrupt):
                change.transaction.commit()
    in_place(path)
    left = path.read_bytes()
    with pytest.raises(HostError, match=r"joe/\.qmail: it was changed by someone else"), Transaction(host):
        pass
    assert path.read_bytes() == left


@pytest.mark.parametrize("targets", [("x@elsewhere.example",), ()])
@pytest.mark.parametrize("edit", [in_place, replaced, same_size])
def test_an_alias_file_changed_by_hand_stops_the_change(
    host: HostEffects, edit: object, targets: tuple[str, ...]
) -> None:
    assert callable(edit)
    path = host.layout.alias / ".qmail-root"
    with editing(host) as change:
        forwards.set_system(change, "root", targets)
        edit(path)
        refused(host, path, change)


@pytest.mark.parametrize("edit", [in_place, replaced, same_size])
def test_the_part_of_a_domain_that_goes_stays_where_a_hand_changed_it(host: HostEffects, edit: object) -> None:
    assert callable(edit)
    path = host.layout.parts / "a.example"
    with editing(host) as change:
        domains.remove(change, "a.example")
        edit(path)
        refused(host, path, change)


def test_a_line_added_to_assign_between_the_look_and_the_writing_is_not_lost(
    host: HostEffects, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ours = host.layout.users / "assign", assign._ours

    def looked(layout: Layout) -> bool:
        found = ours(layout)
        in_place(path)
        return found

    monkeypatch.setattr(assign, "_ours", looked)
    with pytest.raises(HostError, match="users/assign: it was changed by someone else"):
        init.rebuild(host)
    assert "mine.example:mine\n" in path.read_text()


def test_a_hand_edit_while_the_sender_is_given_time_is_not_lost(
    host: HostEffects, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = host.layout.control / "rcpthosts"
    step = journal.Step("put", "control/rcpthosts", str(durable.stage(path, b"new\n", 0o644)), durable.mark(path))
    monkeypatch.setattr(journal.hup, "settle", lambda *_: in_place(path))
    with pytest.raises(HostError, match="control/rcpthosts: it was changed by someone else"):
        journal._put(step, host.layout, told_ns=1)
    assert path.read_text() == "a.example\nmine.example:mine\n"


@pytest.mark.parametrize("name", ["poppasswd", "scramkey"])
def test_init_does_not_write_over_a_file_that_came_meanwhile(
    hands: HostEffects, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, put = hands.layout.users / name, Transaction.put

    def late(self: Transaction, target: Path, *args: object, **kwargs: object) -> object:
        if target == path:
            path.write_text("theirs\n")
        return put(self, target, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Transaction, "put", late)
    with pytest.raises(HostError, match=f"users/{name}: it was changed by someone else"):
        init.init(hands, "mail.example")
    assert path.read_text() == "theirs\n"


def test_lint_does_not_end_the_line_of_a_part_that_somebody_writes(
    host: HostEffects, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stage = host.layout.parts / "a.example", durable.stage
    path.write_bytes(path.read_bytes().rstrip())

    def late(target: Path, *args: object) -> Path:
        staged = stage(target, *args)  # type: ignore[arg-type]
        in_place(path)
        return staged

    monkeypatch.setattr(durable, "stage", late)
    with pytest.raises(BusyError, match="it was changed by someone else in between"):
        _end_line(path)
    assert path.read_text().endswith("mine.example:mine\n")
    assert sorted(each.name for each in path.parent.iterdir()) == ["a.example"]
