"""Maildirs as they are found: odd files, odd names, twins, changes between sessions, both profiles."""

from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path

import pytest
from tests.mailhost.pop3.support import Box

from mailhost.pop3.maildrop.errors import MaildropError
from mailhost.pop3.maildrop.maildrop import TMP_AGE_S, Maildrop
from mailhost.pop3.maildrop.order import SORT_RUN, by_second, by_time, in_order
from mailhost.pop3.maildrop.snapshot import Snapshot
from mailhost.pop3.protocol.listing import UID_OCTETS, Listing, Message, legal_uid


def scanned(
    box: Box, *, qmail_quirks: bool = False, snapshot: Snapshot | None = None, now: float | None = None
) -> Listing:
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=qmail_quirks, lock=False, snapshot=snapshot)
    for _ in drop.scan(now):
        pass
    listing = drop.listing()
    drop.close()
    return listing


def names(listing: Listing) -> list[bytes]:
    return [message.path for message in listing.messages]


@pytest.mark.parametrize("qmail_quirks", [False, True], ids=["rfc1939", "qmail"])
def test_what_is_no_regular_file_is_skipped(box: Box, qmail_quirks: bool) -> None:
    new = box.maildir / "new"
    box.put("1.good.h", b"a: b\n\nc\n")
    box.put(".hidden", b"x\n")
    (new / "directory").mkdir()
    os.mkfifo(new / "fifo")
    (new / "link").symlink_to("/etc/passwd")
    (new / "dangling").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(new / "socket"))
        assert names(scanned(box, qmail_quirks=qmail_quirks)) == [b"new/1.good.h"]


def test_an_unreadable_file_is_skipped_and_a_link_put_in_its_place_is_not_followed(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.put("1.good.h", b"x\n")
    bad = box.put("2.bad.h", b"x\n")
    real = os.open

    def refuse(path: bytes, *arguments: int, **keywords: int) -> int:
        if path == b"new/2.bad.h":
            raise PermissionError
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", refuse)
    assert names(scanned(box)) == [b"new/1.good.h"]
    monkeypatch.undo()
    bad.unlink()
    bad.symlink_to("/etc/passwd")
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=False)
    with pytest.raises(OSError, match="symbolic"):
        drop.open(b"new/2.bad.h")
    drop.close()


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (b"", 0),
        (b"a: b\n\nc", 11),
        (b"a: b\r\n\r\nc\r\n", 11),
        (b"a\rb\n", 5),
        (b".\n..\n", 7),
        (b"nul\0\xff\n", 7),
        (b"\n", 2),
        (b"x" * 65_535 + b"\r\nend\n", 65_542),
    ],
)
def test_sizes_are_octets_as_sent_or_as_on_disk(box: Box, text: bytes, octets: int) -> None:
    box.put("1.h", text)
    assert scanned(box).messages[0].size == octets
    assert scanned(box, qmail_quirks=True).messages[0].size == len(text)


@pytest.mark.timeout(60)
def test_a_sparse_file_is_measured_without_its_holes(box: Box) -> None:
    """It costs its owner no disk; read octet by octet it would hold the thread that scans for hours."""
    path = box.put("1.h", b"a: b\n\n")
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), b"\r\n.x\r", 1 << 41)
        os.truncate(file.fileno(), 1 << 42)
    assert scanned(box).messages[0].size == (1 << 42) + 2 + 2, "two bare newlines, and no line end at the end"
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), b"\n", (1 << 42) - 1)
    assert scanned(box).messages[0].size == (1 << 42) + 3


def test_order_is_by_time_and_the_newest_second_is_hidden_in_qmail_only(box: Box) -> None:
    box.put("3", b"", age_s=10)
    box.put("1", b"", age_s=30, folder="cur")
    box.put("2", b"", age_s=20)
    box.put("0", b"", age_s=0)
    box.put("9", b"", age_s=-100)
    assert names(scanned(box)) == [b"cur/1", b"new/2", b"new/3", b"new/0", b"new/9"]
    assert names(scanned(box, qmail_quirks=True)) == [b"cur/1", b"new/2", b"new/3"]


def test_ids_are_names_up_to_the_colon_and_legal_in_rfc1939(box: Box) -> None:
    long = "9" * (UID_OCTETS + 1)
    for name, folder in (("1.a:2,S", "cur"), ("2 b", "new"), ("3\xff", "new"), (long, "new"), ("twin", "new")):
        box.put(name, b"", folder=folder)
    box.put("twin:2,", b"", folder="cur")
    strict = [message.uid for message in scanned(box).messages]
    assert len(set(strict)) == 6
    assert all(legal_uid(uid) for uid in strict)
    assert {b"1.a", b"twin"} <= set(strict)
    exact = sorted(message.uid for message in scanned(box, qmail_quirks=True).messages)
    assert exact == sorted([b"1.a", b"2 b", "3\xff".encode(), long.encode(), b"twin", b"twin"])


def test_an_id_stays_when_the_file_moves_to_cur(box: Box) -> None:
    box.put("1 x", b"")
    box.put("2", b"")
    before = [message.uid for message in scanned(box).messages]
    (box.maildir / "new" / "1 x").rename(box.maildir / "cur" / "1 x:2,")
    (box.maildir / "new" / "2").rename(box.maildir / "cur" / "2:2,S")
    assert [message.uid for message in scanned(box).messages] == before


def test_the_lock_is_exclusive_and_ends_with_close(box: Box) -> None:
    first = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    with pytest.raises(MaildropError) as error:
        Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    assert error.value.kind == "busy"
    first.close()
    Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True).close()


def test_closing_waits_for_the_thread_that_works_with_it(box: Box) -> None:
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    drop.lend()
    drop.close()
    with pytest.raises(MaildropError):
        Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    drop.give_back()
    Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True).close()


def test_missing_parts_have_names(box: Box, tmp_path: Path) -> None:
    with pytest.raises(MaildropError) as error:
        Maildrop(os.fsencode(tmp_path / "none"), qmail_quirks=False, lock=False)
    assert error.value.kind == "missing"
    (box.maildir / "cur").rmdir()
    with pytest.raises(MaildropError) as error:
        scanned(box)
    assert error.value.kind == "unusable"
    (box.maildir / "cur").mkdir()
    (box.maildir / "tmp").rmdir()
    assert names(scanned(box)) == []


def test_tmp_is_cleaned_by_access_time(box: Box) -> None:
    tmp = box.maildir / "tmp"
    for name, age in (("old", TMP_AGE_S + 10), (".old", TMP_AGE_S + 10), ("young", TMP_AGE_S - 100)):
        (tmp / name).write_text("x")
        os.utime(tmp / name, (time.time() - age, time.time()))
    (tmp / "directory").mkdir()
    scanned(box)
    assert sorted(path.name for path in tmp.iterdir()) == [".old", "directory", "young"]


def test_a_kept_listing_sees_every_change(box: Box) -> None:
    snapshot = Snapshot()
    box.put("1", b"one\n", age_s=30)
    assert len(scanned(box, snapshot=snapshot).messages) == 1
    box.put("2", b"two\n", age_s=20)  # the same second: the directory's mtime may not differ
    assert len(scanned(box, snapshot=snapshot).messages) == 2
    first = scanned(box, snapshot=snapshot, now=box.settle())
    assert scanned(box, snapshot=snapshot) is first, "an unchanged box is not read again"
    (box.maildir / "new" / "1").rename(box.maildir / "cur" / "1:2,")
    assert sorted(names(scanned(box, snapshot=snapshot))) == [b"cur/1:2,", b"new/2"]
    (box.maildir / "new" / "2").unlink()
    assert names(scanned(box, snapshot=snapshot)) == [b"cur/1:2,"]


def test_a_moved_message_is_not_measured_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot()
    box.put("1", b"one\n")
    scanned(box, snapshot=snapshot)
    (box.maildir / "new" / "1").rename(box.maildir / "cur" / "1:2,")
    monkeypatch.setattr(Maildrop, "_measure", lambda *_: pytest.fail("read again"))
    assert names(scanned(box, snapshot=snapshot)) == [b"cur/1:2,"]


def test_a_large_box_is_ordered_like_a_small_one() -> None:
    dice = random.Random(7)
    messages = [Message(b"cur/%d" % n, b"%d" % n, 1, 0, 1, dice.randrange(900), n) for n in range(3 * SORT_RUN + 7)]
    for key in (by_time, by_second):
        assert in_order(messages, key) == sorted(messages, key=key)


def test_a_scan_of_many_is_cut_into_slices(box: Box) -> None:
    for number in range(300):
        box.put(f"{number}", b"x\n")
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=False)
    assert sum(1 for _ in drop.scan()) == 4
    assert len(drop.listing().messages) == 300
    drop.close()
