"""The journal by itself: what it holds, what each step does, and that a step done before is done (its writer died)."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mailhost.accounts.change import hup, journal
from mailhost.accounts.change.journal import HostEffects, Step
from mailhost.accounts.errors import BusyError, HostError, InputError
from mailhost.accounts.files import durable
from mailhost.accounts.files.durable import Mark
from mailhost.accounts.layout import layout
from mailhost.system.beneath import Beneath

BOX = "popboxes/d-com/joe"
DOT = {".qmail": "./Maildir/\n"}


@pytest.fixture
def hands(tmp_path: Path) -> HostEffects:
    for name in ("control", "users/domains", "alias", "popboxes", "users/.mailhost"):
        (tmp_path / name).mkdir(parents=True)
    return HostEffects(layout(tmp_path), lambda _home: None)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Directories whose entries were made durable by the journal itself."""
    found: list[Path] = []
    monkeypatch.setattr(journal, "sync_directory", found.append)
    return found


def tree(home: Path) -> dict[str, str]:
    """Every name below the home, with the text of files."""
    return {str(one.relative_to(home)): one.read_text() if one.is_file() else "" for one in sorted(home.rglob("*"))}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(hands: HostEffects, name: str, text: bytes) -> Step:
    """A staged text for a file of control/, to be put in its place."""
    path = hands.layout.control / name
    staged = durable.stage(path, text, 0o644)
    home = hands.layout.home
    return Step("put", str(path.relative_to(home)), str(staged.relative_to(home)), durable.mark(path))


def old_box(hands: HostEffects, name: str = "joe") -> Path:
    box = hands.layout.box("d-com", name)
    (box / "Maildir/new").mkdir(parents=True)
    (box / "Maildir/new/1.mail").write_text("x")
    return box


def test_it_reads_back_what_was_written(hands: HostEffects) -> None:
    steps = [
        Step("box", BOX, files=DOT, maildir=True, seen={".qmail": Mark(1, 2, 3), ".qmail-default": None}),
        Step("put", "control/me", "control/.me.new", Mark(4, 5, 6)),
        Step("hup"),
    ]
    journal.write(hands.layout, steps)
    assert journal.read(hands.layout) == steps
    assert mode(hands.layout.work / journal.NAME) == 0o600
    journal.give_up(hands.layout)
    assert journal.read(hands.layout) is None


@pytest.mark.parametrize("line", ['{"kind": "put", "sum": "x"}', '{"kind": "link"}', "[]", "{", '{"path": "x"}'])
def test_a_step_that_is_none_of_ours_is_named_with_its_line(hands: HostEffects, line: str) -> None:
    (hands.layout.work / journal.NAME).write_text(f'{{"kind": "hup"}}\n{line}\n')
    with pytest.raises(HostError, match=r"journal: line 2: .*A newer mailhost began this change"):
        journal.read(hands.layout)


def whole(hands: HostEffects) -> list[Step]:
    """A change with a step of each kind."""
    old_box(hands)
    old_box(hands, "back")
    (hands.layout.popboxes / ".removed").mkdir()
    (hands.layout.popboxes / "d-com/back").rename(hands.layout.popboxes / ".removed/back")
    old_box(hands, "goes")
    old_box(hands, "away")
    (hands.layout.parts / "old").write_text("x")
    (hands.layout.popboxes / "d-com/.qmail-default").write_text("x")
    return [
        Step("clear", BOX, "popboxes/.removed/joe.1"),
        Step("bring", "popboxes/.removed/back", "popboxes/e-com/back"),
        Step("box", BOX, files=DOT, maildir=True, seen={".qmail": None}),
        put(hands, "me", b"host.example\n"),
        Step("newu"),
        put(hands, "virtualdomains", b"d.com:d-com\n"),
        Step("hup"),
        put(hands, "rcpthosts", b"d.com\n"),
        Step("record", "popboxes/.removed.records/joe.1", files={"": "joe@d.com\n"}),
        Step("drop", "users/domains/old"),
        Step("drop", "popboxes/d-com/.qmail-default"),
        Step("move", "popboxes/d-com/goes", "popboxes/.removed/x/y/goes"),
        Step("purge", "popboxes/d-com/away"),
    ]


def test_all_steps_are_done_and_doing_them_again_changes_nothing(
    hands: HostEffects, synced: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    boxes: list[int] = []
    monkeypatch.setattr(journal.hup, "hup", lambda _home: order.append("hup") or 1)
    monkeypatch.setattr(
        journal.hup, "settle", lambda _home, told_ns, within_s: order.append(f"settle {told_ns > 0} {within_s}")
    )
    hands = replace(hands, newu=lambda _home: order.append("newu"), progress=boxes.append)
    steps = whole(hands)
    journal.write(hands.layout, steps)
    assert journal.replay(steps, hands) == []
    home = hands.layout.home
    assert tree(home / "control") == {"me": "host.example\n", "rcpthosts": "d.com\n", "virtualdomains": "d.com:d-com\n"}
    assert tree(hands.layout.popboxes) == {
        ".removed": "", ".removed.records": "", ".removed.records/joe.1": "joe@d.com\n",
        ".removed/joe.1": "", ".removed/joe.1/Maildir": "", ".removed/joe.1/Maildir/new": "",
        ".removed/joe.1/Maildir/new/1.mail": "x",
        ".removed/x": "", ".removed/x/y": "", ".removed/x/y/goes": "", ".removed/x/y/goes/Maildir": "",
        ".removed/x/y/goes/Maildir/new": "", ".removed/x/y/goes/Maildir/new/1.mail": "x",
        "d-com": "", "d-com/joe": "", "d-com/joe/.qmail": "./Maildir/\n", "d-com/joe/Maildir": "",
        "d-com/joe/Maildir/cur": "", "d-com/joe/Maildir/new": "", "d-com/joe/Maildir/tmp": "",
        "e-com": "", "e-com/back": "", "e-com/back/Maildir": "", "e-com/back/Maildir/new": "",
        "e-com/back/Maildir/new/1.mail": "x",
    }  # fmt: skip
    assert order == ["newu", "hup", "settle True 0.3"]
    assert boxes == [1]
    assert tree(hands.layout.users) == {".mailhost": "", "domains": ""}
    assert mode(hands.layout.popboxes / ".removed.records") == 0o700
    assert mode(hands.layout.popboxes / ".removed.records/joe.1") == 0o600
    assert mode(hands.layout.popboxes / ".removed/x") == mode(hands.layout.popboxes / ".removed/x/y") == 0o700
    assert synced == [hands.layout.users, hands.layout.work]
    before = tree(home)
    journal.write(hands.layout, steps)
    assert journal.replay(steps, hands) == []
    assert tree(home) == before, "the writer died before the journal went: each step was done before"


@pytest.mark.parametrize("sender", [None, 7])
def test_only_a_sender_that_was_told_is_given_time(
    hands: HostEffects, monkeypatch: pytest.MonkeyPatch, sender: int | None
) -> None:
    settled: list[str] = []
    monkeypatch.setattr(journal.hup, "hup", lambda _home: sender)
    monkeypatch.setattr(journal.hup, "settle", lambda *_: settled.append("settled"))
    journal.replay([put(hands, "me", b"x\n"), Step("hup"), put(hands, "rcpthosts", b"y\n")], hands)
    assert len(settled) == (sender is not None)


def test_a_sender_that_may_not_be_told_is_named(hands: HostEffects, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_home: Path) -> int:
        raise PermissionError

    monkeypatch.setattr(hup, "hup", refused)
    with pytest.raises(HostError, match="may not be signalled by this user: send it HUP"):
        journal.replay([Step("hup")], hands)


def test_a_sender_whose_lock_is_gone_is_given_the_whole_time(tmp_path: Path) -> None:
    began = time.monotonic()
    hup.settle(tmp_path, 1, 0.02)
    assert time.monotonic() - began >= 0.02


def because(why: Exception, cause: Exception | None = None) -> Exception:
    why.__cause__ = cause
    return why


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (OSError("no room"), BusyError),
        (because(ValueError("x"), OSError("no room")), BusyError),
        (ValueError("line 3"), HostError),
        (InputError("line 3"), InputError),
    ],
)
def test_users_cdb_that_cannot_be_made(
    hands: HostEffects, synced: list[Path], raised: Exception, kind: type[Exception]
) -> None:
    """What the system refuses can be tried again; what is wrong in users/assign cannot."""

    def newu(_home: Path) -> None:
        raise raised

    with pytest.raises(kind) as seen:
        journal.newu(replace(hands, newu=newu))
    assert type(seen.value) is kind
    if seen.value is not raised:
        assert str(seen.value) == f"users/cdb could not be made, the old one still counts: {raised}"
    assert synced == []


def test_a_text_that_cannot_be_put_in_its_place_is_named(hands: HostEffects) -> None:
    step = put(hands, "me", b"x\n")
    (hands.layout.control / "me").mkdir()
    with pytest.raises((BusyError, HostError), match="control/me: "):
        journal.replay([replace(step, was=durable.mark(hands.layout.control / "me"))], hands)


@pytest.mark.parametrize("now", [None, b"mine\n"])
def test_a_qmail_that_someone_writes_once_the_journal_stands_is_kept(hands: HostEffects, now: bytes | None) -> None:
    dot = old_box(hands) / ".qmail"
    dot.write_text("was\n")
    seen = {".qmail": durable.mark(dot)}
    dot.unlink()
    if now is not None:
        dot.write_bytes(now)
    step = Step("box", BOX, files=DOT, maildir=True, seen=seen)
    if now is None:
        journal.replay([step], hands)
        assert dot.read_text() == DOT[".qmail"], "nothing is lost"
        return
    os.chown(dot, hands.layout.identity.uid, -1)
    with pytest.raises(HostError, match=f"{BOX}/.qmail: it was changed by someone else"):
        journal.replay([step], hands)
    assert dot.read_bytes() == now


def test_a_box_that_was_made_before_the_writer_died_is_no_change_of_someone_else(hands: HostEffects) -> None:
    steps = [Step("box", BOX, files=DOT, maildir=True, seen={".qmail": None})]
    journal.replay(steps, hands)
    journal.replay(steps, hands)


@pytest.mark.parametrize(("boxes", "at_once"), [(journal.SYNC_EACH, 0), (journal.SYNC_EACH + 1, 1)])
def test_many_boxes_are_made_durable_together(
    hands: HostEffects, monkeypatch: pytest.MonkeyPatch, boxes: int, at_once: int
) -> None:
    calls: list[str] = []
    each: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: calls.append("sync"))
    monkeypatch.setattr(journal.box_directories, "make", lambda *_, sync, **__: each.append(sync))
    journal.replay([Step("box", f"popboxes/d-com/{number}") for number in range(boxes)], hands)
    assert len(calls) == at_once
    assert each == [not at_once] * boxes


def test_a_box_comes_back_only_to_a_place_that_is_free_and_is_no_link(hands: HostEffects) -> None:
    kept = hands.layout.popboxes / ".removed"
    kept.mkdir()
    (kept / "link").symlink_to("/etc")
    (kept / "joe").mkdir()
    old_box(hands)
    steps = [Step("bring", f"popboxes/.removed/{name}", f"popboxes/d-com/{to}") for name, to in
             (("link", "link"), ("joe", "joe"), ("none", "none"))]  # fmt: skip
    before = tree(hands.layout.popboxes)
    journal.replay(steps, hands)
    assert tree(hands.layout.popboxes) == before


def test_a_box_comes_back_beside_others_of_its_domain(hands: HostEffects) -> None:
    kept = old_box(hands, "ann").rename(hands.layout.popboxes / "kept")
    old_box(hands)
    journal.replay([Step("bring", f"popboxes/{kept.name}", "popboxes/d-com/ann")], hands)
    assert sorted(one.name for one in (hands.layout.popboxes / "d-com").iterdir()) == ["ann", "joe"]


def test_directories_above_a_box_that_is_purged_go_where_they_are_empty(hands: HostEffects) -> None:
    old_box(hands)
    old_box(hands, "ann")
    journal.replay([Step("purge", BOX)], hands)
    assert (hands.layout.popboxes / "d-com/ann").exists()
    journal.replay([Step("purge", "popboxes/d-com/ann"), Step("purge", BOX)], hands)
    assert tree(hands.layout.popboxes) == {}


def test_entries_that_come_and_go_are_made_durable_where_they_were(
    hands: HostEffects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move is durable in both directories, a removal in its own; a domain's directory, in popboxes."""
    steps: list[tuple[Callable[[], object], Step, list[str]]] = [
        (lambda: old_box(hands), Step("move", BOX, "popboxes/.removed/a/joe"), [".removed/a", "d-com"]),
        (lambda: None, Step("bring", "popboxes/.removed/a/joe", "popboxes/e-com/joe"), ["", "e-com", ".removed/a"]),
        (lambda: (hands.layout.popboxes / "e-com/x").touch(), Step("drop", "popboxes/e-com/x"), ["e-com"]),
        (lambda: (hands.layout.parts / "old").touch(), Step("drop", "users/domains/old"), [""]),
    ]
    done: list[str] = []
    sync = Beneath.sync

    def noted(beneath: Beneath, path: str) -> None:
        done.append(path)
        sync(beneath, path)

    monkeypatch.setattr(Beneath, "sync", noted)
    for prepare, step, wanted in steps:
        prepare()
        done.clear()
        journal.replay([step], hands)
        assert done == wanted, step


def test_a_file_that_was_changed_since_is_not_dropped_and_says_how_to_go_on(hands: HostEffects) -> None:
    part = hands.layout.parts / "old"
    part.write_text("x")
    step = Step("drop", "users/domains/old", was=durable.mark(part))
    part.write_text("longer")
    with pytest.raises(HostError, match=r"users/domains/old: it was changed .*, so the change is not made. Try again"):
        journal.check(hands.layout, [step])
    journal.write(hands.layout, [step])
    with pytest.raises(HostError, match="To give up the rest of it, remove"):
        journal.replay([step], hands)
    assert part.read_text() == "longer"
    part.unlink()
    journal.replay([step], hands)
    assert journal.read(hands.layout) is None


def test_marks_of_files_inside_and_outside_of_boxes_are_checked(hands: HostEffects) -> None:
    dot = old_box(hands) / ".qmail"
    dot.write_text("x")
    alias = hands.layout.alias / ".qmail-root"
    alias.write_text("x")
    for path, folder in ((dot, BOX), (alias, "alias")):
        step = Step("box", folder, seen={path.name: durable.mark(path)})
        journal.check(hands.layout, [step])
        path.write_text("longer")
        with pytest.raises(HostError, match=f"{folder}/{path.name}: it was changed"):
            journal.check(hands.layout, [step])
    dot.unlink()
    dot.symlink_to("nowhere")
    with pytest.raises(HostError, match=r"\.qmail: it was changed"):
        journal.check(hands.layout, [Step("box", BOX, seen={".qmail": None})])
