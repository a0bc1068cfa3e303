"""popbox-sizes: what a server has learned of a large box is there for the next one, and never believed when wrong."""

from __future__ import annotations

import os
import random
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.pop3.support import Box, Running, eventually, owner

from mailhost.pop3.maildrop import size_cache
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.open_maildrops import OpenMaildrops
from mailhost.pop3.maildrop.snapshot import SAVE_EVERY_S, Snapshot
from mailhost.pop3.maildrop.transfer import Transfer
from mailhost.pop3.protocol.events import Reply, Transmit
from mailhost.pop3.protocol.listing import Listing, Message
from mailhost.pop3.protocol.profiles import RFC1939

MESSAGES = [
    Message(b"new/1.h", b"1.h", 12, 7, 10, -5, 2**64 - 1),
    Message(b"cur/2 \n:2,S", b"hash", 0, 1, 0, 1_700_000_000_123_456_789, 3),
]
STAMPS = (1, 2, 3, 4, 5, 6)
NAME = size_cache.name_of(qmail_quirks=False)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes of a few messages count as large."""
    monkeypatch.setattr(size_cache, "SAVED_FROM", 2)


SETTLED_S = 50


def opened(box: Box, snapshot: Snapshot | None = None, *, qmail_quirks: bool = False) -> Maildrop:
    """Scanned so much later that what was found may be kept: tests ``settle`` the box, see there."""
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=qmail_quirks, lock=False, snapshot=snapshot)
    for _ in drop.scan(time.time() + SETTLED_S):
        pass
    return drop


def life(box: Box, *, qmail_quirks: bool = False) -> Listing:
    """One server's life: it opens the box, and remembers."""
    drop = opened(box, qmail_quirks=qmail_quirks)
    listing = drop.listing()
    drop.remember()
    drop.close()
    return listing


def filled(box: Box, count: int = 20) -> None:
    for number in range(count):
        box.put(
            f"{number}.h", b".\n" * number + b"x" * (number % 3), age_s=1000 - number, folder=("new", "cur")[number % 2]
        )
    box.settle()


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The paths that are looked into from now on."""
    paths: list[bytes] = []

    def noting(look: Callable[[Maildrop, bytes], Message | None]) -> Callable[[Maildrop, bytes], Message | None]:
        def note(drop: Maildrop, path: bytes) -> Message | None:
            paths.append(path)
            return look(drop, path)

        return note

    monkeypatch.setattr(Maildrop, "_measure", noting(Maildrop._measure))
    monkeypatch.setattr(Maildrop, "_stat", noting(Maildrop._stat))
    return paths


def saved(tmp_path: Path, data: bytes) -> size_cache.Saved | None:
    (tmp_path / os.fsdecode(NAME)).write_bytes(data)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        return size_cache.read(fd, NAME)
    finally:
        os.close(fd)


@pytest.mark.parametrize("stamps", [STAMPS, ()])
def test_what_is_written_is_read(tmp_path: Path, stamps: tuple[int, ...]) -> None:
    found = saved(tmp_path, size_cache.packed(NAME, stamps, MESSAGES))
    assert found is not None
    assert (found.stamps, found.messages) == (stamps, MESSAGES)
    assert abs(found.at - time.time()) < 60


def test_any_damage_is_noticed(tmp_path: Path) -> None:
    good = size_cache.packed(NAME, STAMPS, MESSAGES)
    for place in range(len(good)):
        assert saved(tmp_path, good[:place]) is None, "cut short"
        assert saved(tmp_path, good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]) is None, place
    assert saved(tmp_path, good + b"\0") is None
    dice = random.Random(5)
    for _ in range(300):
        assert saved(tmp_path, dice.randbytes(dice.randrange(300))) is None
    assert saved(tmp_path, size_cache.packed(b"another-name", STAMPS, MESSAGES)) is None


@pytest.mark.parametrize("path", [b"/etc/passwd", b"cur/../../secret", b"tmp/1", b"new/a\0/etc/x"])
def test_a_path_outside_of_new_and_cur_is_refused(tmp_path: Path, path: bytes) -> None:
    assert saved(tmp_path, size_cache.packed(NAME, STAMPS, [MESSAGES[0], MESSAGES[1]._replace(path=path)])) is None


def test_a_link_a_fifo_a_directory_and_anothers_file_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = size_cache.packed(NAME, STAMPS, MESSAGES)
    place = tmp_path / os.fsdecode(NAME)
    (tmp_path / "elsewhere").write_bytes(good)
    fd = os.open(tmp_path, os.O_RDONLY)
    place.symlink_to("elsewhere")
    assert size_cache.read(fd, NAME) is None
    place.unlink()
    os.mkfifo(place)
    assert size_cache.read(fd, NAME) is None
    place.unlink()
    place.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    assert size_cache.read(fd, NAME) is None
    assert len(os.listdir("/proc/self/fd")) == before
    place.rmdir()
    place.write_bytes(good)
    assert size_cache.read(fd, NAME) is not None
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert size_cache.read(fd, NAME) is None
    os.close(fd)


@pytest.mark.parametrize("qmail_quirks", [False, True], ids=["rfc1939", "qmail"])
def test_the_next_life_looks_into_nothing(box: Box, qmail_quirks: bool, looked: list[bytes]) -> None:
    filled(box)
    first = life(box, qmail_quirks=qmail_quirks)
    assert len(looked) == 20
    looked.clear()
    again = life(box, qmail_quirks=qmail_quirks)
    assert looked == []
    assert again.messages == first.messages
    assert (again.total, again.fresh) == (first.total, first.fresh)
    place = box.maildir / os.fsdecode(size_cache.name_of(qmail_quirks=qmail_quirks))
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert list((box.maildir / "tmp").iterdir()) == []


def test_after_changes_only_what_is_new_is_looked_into(box: Box, looked: list[bytes]) -> None:
    filled(box)
    life(box)
    looked.clear()
    (box.maildir / "new" / "0.h").rename(box.maildir / "cur" / "0.h:2,S")
    (box.maildir / "cur" / "1.h").unlink()
    box.put("30.h", b"late\n", age_s=1)
    listing = life(box)
    assert looked == [b"new/30.h"]
    paths = [message.path for message in listing.messages]
    assert paths[0] == b"cur/0.h:2,S"
    assert paths[-1] == b"new/30.h"
    assert len(paths) == 20


def test_another_file_of_the_same_name_is_measured_again(box: Box, looked: list[bytes]) -> None:
    """As after a restored backup: the names are there, the inodes are others, and the dates may be the old ones."""
    filled(box)
    life(box)
    looked.clear()
    place = box.maildir / "new" / "0.h"
    box.put("0.h.restored", b"longer than before\n", age_s=1000)
    (box.maildir / "new" / "0.h.restored").rename(place)
    box.settle()
    assert life(box).messages[0].size == 20
    assert looked == [b"new/0.h"]


def test_a_message_changed_in_place_is_measured_again_at_the_next_login(box: Box, looked: list[bytes]) -> None:
    filled(box)
    life(box)
    drop = opened(box)
    message = drop.listing().messages[0]
    (box.maildir / "new" / "0.h").write_bytes(b"edited\n")
    Transfer(drop.open(message.path), drop, Transmit(message, None, b"+OK\r\n", Reply(b"-ERR\r\n"))).close()
    assert not (box.maildir / "popbox-sizes").exists()
    looked.clear()
    after = opened(box, drop.snapshot)
    assert len(looked) == 20
    assert after.listing().messages[-1].size == 8, "its date is new as well, so it is the last now"
    for one in (drop, after):
        one.close()


def test_sessions_that_scan_at_once_each_list_what_they_have_found(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile qmail has no lock: one session still reads the old file while another has seen the box change."""
    monkeypatch.setattr("mailhost.pop3.maildrop.scan.SLICE", 1)
    filled(box)
    life(box, qmail_quirks=True)
    (box.maildir / "new" / "0.h").unlink()
    box.put("30.h", b"late\n", age_s=5)
    snapshot = Snapshot()
    slow, quick = (
        Maildrop(os.fsencode(box.maildir), qmail_quirks=True, lock=False, snapshot=snapshot) for _ in range(2)
    )
    now = box.settle()
    steps = slow.scan(now)
    next(steps)
    for _ in quick.scan(now):
        pass
    next(steps)

    def shown(drop: Maildrop) -> list[str]:
        return sorted(os.fsdecode(message.path) for message in drop.listing().messages)

    assert shown(quick) == box.files()
    for _ in steps:
        pass
    for drop in (quick, slow, opened(box, snapshot, qmail_quirks=True)):
        assert shown(drop) == box.files()
        drop.close()


def test_a_date_that_does_not_fit_is_no_fault(box: Box) -> None:
    filled(box)
    box.put("future", b"x\n", age_s=-9_000_000_000)
    box.settle()
    assert len(life(box).messages) == 21
    assert not (box.maildir / "popbox-sizes").exists()
    assert list((box.maildir / "tmp").iterdir()) == []


def test_boxes_measured_again_and_again_count_once(box: Box) -> None:
    filled(box)
    maildrops = OpenMaildrops(RFC1939, lambda work: work(), lambda work: work())
    for _ in range(5):
        drop = maildrops.open(os.fsencode(box.box))
        assert isinstance(maildrops.scan(drop, lambda _: None), Listing)
        assert maildrops._messages == 20
        drop.distrust()
        drop.close()


def test_it_is_written_when_much_is_new_or_long_after(box: Box) -> None:
    filled(box)
    place = box.maildir / "popbox-sizes"
    snapshot = Snapshot()
    now = time.time()

    def login(at: float) -> bool:
        """Whether this login writes."""
        place.unlink(missing_ok=True)
        drop = opened(box, snapshot)
        drop.listing()
        drop.remember(at)
        drop.close()
        return place.exists()

    assert login(now)
    assert not login(now + 2 * SAVE_EVERY_S), "nothing has changed"
    box.put("30.h", b"x\n", age_s=1)
    assert not login(now + 1), "one of twenty"
    assert login(now + SAVE_EVERY_S + 1)
    for number in range(40, 45):
        box.put(f"{number}.h", b"x\n", age_s=1)
    assert login(now + SAVE_EVERY_S + 2), "a fifth of them"


def test_a_small_box_gets_none(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_cache, "SAVED_FROM", 21)
    filled(box)
    life(box)
    assert not (box.maildir / "popbox-sizes").exists()


@pytest.mark.parametrize("call", ["open", "rename"])
def test_where_it_cannot_be_written_the_old_one_stays_and_nothing_lies_about(
    box: Box, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    filled(box)
    life(box)
    before = (box.maildir / "popbox-sizes").read_bytes()
    for number in range(40, 60):
        box.put(f"{number}.h", b"x\n")
    real = getattr(os, call)

    def full(path: bytes, *arguments: object, **keywords: object) -> object:
        if b"Maildir/tmp/" in os.fsencode(path):
            raise OSError(28, "No space left on device")
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, call, full)
    assert len(life(box).messages) == 40
    assert (box.maildir / "popbox-sizes").read_bytes() == before
    assert list((box.maildir / "tmp").iterdir()) == []


def test_a_server_that_starts_again_knows_the_sizes(
    box: Box, serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1_100):  # more than a real server regards as large
        box.put(f"{number}.h", b"Subject: %d\n\n" % number, age_s=5_000 - number, folder="cur")
    uid, place = owner()[0], box.maildir / os.fsdecode(NAME)
    monkeypatch.setattr(os, "geteuid", lambda: uid)  # the server is popuser where the tests are root

    def lists() -> tuple[bytes, bytes]:
        server = serve()
        client = server.client()
        assert client.login().startswith(b"+OK")
        answers = client.lines(b"LIST"), client.lines(b"UIDL")
        assert eventually(place.exists), "it is written once the client has its answer"
        client.ask(b"QUIT")
        server.stop()
        return answers

    first = lists()
    fd = os.open(box.maildir, os.O_RDONLY)
    found = size_cache.read(fd, NAME)
    os.close(fd)
    assert found is not None
    # A size that no message has: shown, it proves that the file was believed and no message was read.
    messages = [found.messages[0]._replace(size=4_711), *found.messages[1:]]
    place.write_bytes(size_cache.packed(NAME, found.stamps, messages))
    assert lists() == (first[0].replace(b"1 14\r\n", b"1 4711\r\n", 1), first[1])
