"""One base name twice in a Maildir: ids stay with their messages, and no file is written over (RFC 1939 §7, UIDL)."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.pop3.support import Box

from mailhost.pop3.maildrop import names, size_cache
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.open_maildrops import apply
from mailhost.pop3.maildrop.snapshot import Snapshot
from mailhost.pop3.protocol.events import Update
from mailhost.pop3.protocol.listing import legal_uid

Change = Callable[[Box], None]


def session(
    box: Box, snapshot: Snapshot | None = None, dele: bytes = b"", during: Change | None = None
) -> dict[bytes, bytes]:
    """Ids and texts, as a session that deletes the message with the text ``dele`` and says QUIT sees them.

    ``snapshot``: what the same worker has seen before; none for another worker, pop3d, or after a restart.
    """
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True, snapshot=snapshot)
    try:
        for _ in drop.scan():
            pass
        listing = drop.listing()
        found = {message.uid: (box.maildir / os.fsdecode(message.path)).read_bytes() for message in listing.messages}
        assert len(found) == len(listing.messages), "ids are unique"
        assert all(legal_uid(uid) for uid in found)
        if during is not None:
            during(box)
        gone = {number for number, message in enumerate(listing.messages, 1) if found[message.uid] == dele}
        delete = tuple([listing.messages[number - 1] for number in gone])
        apply(drop, Update(delete, listing.fresh_without(gone)))
        drop.remember()
    finally:
        drop.close()
    return found


def agree(earlier: dict[bytes, bytes], later: dict[bytes, bytes]) -> None:
    """No id is another message's than before, and no message that is still there has another id."""
    assert {uid: text for uid, text in later.items() if uid in earlier} == {
        uid: text for uid, text in earlier.items() if uid in later
    }
    moved = {text for text in earlier.values() if text in later.values()}
    assert {uid: text for uid, text in later.items() if text in moved} == {
        uid: text for uid, text in earlier.items() if text in moved
    }


@pytest.mark.parametrize("suffix", ["", ":2,", ":2,S", ":2,RS"])
@pytest.mark.parametrize("age_s", [500, 100, 50])
@pytest.mark.parametrize("kept", [True, False], ids=["same worker", "another worker"])
def test_a_twin_in_new_leaves_the_id_to_what_was_there(box: Box, suffix: str, age_s: float, kept: bool) -> None:
    snapshot = Snapshot() if kept else None
    box.put(f"1.dup.h{suffix}", b"A\n", folder="cur")
    first = session(box, snapshot)
    assert first == {b"1.dup.h": b"A\n"}
    box.put("1.dup.h", b"B\n", age_s=age_s)
    both = session(box, snapshot)
    agree(first, both)
    assert sorted(both.values()) == [b"A\n", b"B\n"]
    for _ in range(2):
        agree(both, session(box, snapshot))
    agree(both, session(box, snapshot, dele=b"A\n"))
    left = session(box)
    agree(both, left)
    assert list(left.values()) == [b"B\n"]
    assert b"1.dup.h" not in left, "who goes by ids has seen that one: it would never fetch this message"


def test_a_session_without_quit_renames_nothing_and_the_ids_are_the_same(box: Box) -> None:
    box.put("1.h:2,S", b"A\n", folder="cur")
    box.put("1.h", b"B\n")
    before = box.files()
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan():
        pass
    ids = {message.uid for message in drop.listing().messages}
    drop.close()
    assert box.files() == before
    assert set(session(box)) == ids
    assert set(session(box)) == ids


def test_flags_change_no_id_and_twins_in_cur_are_told_apart_for_good(box: Box) -> None:
    box.put("1.h:2,", b"A\n", age_s=200, folder="cur")
    box.put("1.h:2,S", b"B\n", folder="cur")
    box.put("1.h:2,R", b"C\n", folder="cur")
    first = session(box)
    assert first[b"1.h"] == b"A\n"
    for path in list((box.maildir / "cur").iterdir()):
        path.rename(path.with_name(path.name.partition(":")[0] + ":2,FRST"))
    again = session(box)
    agree(first, again)
    assert len(again) == 3


def test_a_name_that_is_taken_at_quit_is_not_written_over_and_the_id_stays(box: Box) -> None:
    box.put("1.h", b"A\n")
    first = session(box, during=lambda box: box.put("1.h:2,", b"late\n", folder="cur") and None)
    assert first == {b"1.h": b"A\n"}
    agree(first, session(box))
    assert sorted(session(box).values()) == [b"A\n", b"late\n"]


def test_what_takes_the_name_of_a_deleted_message_is_not_removed(box: Box) -> None:
    box.put("1.h", b"A\n", age_s=300)

    def another(box: Box) -> None:
        (box.maildir / "new" / "1.h").rename(box.maildir / "cur" / "1.h:2,S")
        box.put("1.h", b"B\n")

    assert session(box, dele=b"A\n", during=another) == {b"1.h": b"A\n"}
    assert list(session(box).values()) == [b"B\n"], "A was deleted under its new name, B was not"


def test_twins_with_names_that_are_no_ids(box: Box) -> None:
    for name in ("2 b", "\xff", "9" * 71):
        box.put(name, b"new " + os.fsencode(name))
        box.put(name + ":2,", b"cur " + os.fsencode(name), folder="cur")
    first = session(box)
    assert len(first) == 6
    agree(first, session(box))


def test_sizes_kept_across_restarts_keep_the_ids_too(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_cache, "SAVED_FROM", 2)
    box.put("1.h:2,S", b"A\n", age_s=50, folder="cur")
    box.put("1.h:2,", b"B\n", age_s=200, folder="cur")
    first = session(box)
    assert (box.maildir / "popbox-sizes").exists()
    agree(first, session(box))
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan(now=box.settle()):
        pass
    assert {message.uid for message in drop.listing().messages} == set(first)
    drop.close()


def test_two_links_of_one_file_are_two_messages_with_two_ids(box: Box) -> None:
    os.link(box.put("1.h", b"A\n"), box.maildir / "cur" / "1.h:2,")
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan():
        pass
    listing = drop.listing()
    assert len({message.uid for message in listing.messages}) == 2
    apply(drop, Update((), listing.fresh_without(set())))
    drop.close()
    assert len(box.files()) == 2


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_between_sessions_no_id_changes_hands(box: Box, seed: int) -> None:
    dice, snapshot = random.Random(seed), Snapshot()
    before: dict[bytes, bytes] = {}
    for number in range(12):
        box.put(f"{dice.randrange(3)}.h", b"%d\n" % number, age_s=dice.randrange(1, 999))
        for path in list((box.maildir / "cur").iterdir()):
            flagged = path.with_name(path.name.partition(":")[0] + ":2," + dice.choice(["", "S", "RS", "F"]))
            if dice.random() < 0.3 and not flagged.exists():
                path.rename(flagged)
        dele = dice.choice([*before.values()]) if before and dice.random() < 0.4 else b""
        found = session(box, snapshot if dice.random() < 0.5 else None, dele)
        agree(before, found)
        before = {uid: text for uid, text in found.items() if text != dele}


@pytest.mark.parametrize("atomic", [True, False])
def test_rename_new_never_writes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool) -> None:
    def old(*_: object) -> int:
        """A filesystem that does not know RENAME_NOREPLACE."""
        names.ctypes.set_errno(22)
        return -1

    if not atomic:
        monkeypatch.setattr(names, "_renameat2", old)
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            names.rename_new(b"a", b"b", fd)
        with pytest.raises(FileNotFoundError):
            names.rename_new(b"none", b"c", fd)
        names.rename_new(b"a", b"c", fd)
    finally:
        os.close(fd)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "b", "c": "a"}
