"""Large boxes: right after every kind of change, cheap for each session, and no burden on the others."""

from __future__ import annotations

import os
import random
import time

import pytest
from tests.mailhost.pop3.io_layer import message
from tests.mailhost.pop3.support import Box

from mailhost.pop3.chain import pop3d
from mailhost.pop3.maildrop import size_cache
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.snapshot import Snapshot
from mailhost.pop3.protocol.listing import Listing, strict_uids
from mailhost.pop3.protocol.profiles import PROFILES, QMAIL, RFC1939, Profile
from mailhost.pop3.protocol.session import Session

ODD = (b"1.a", b"2.b:2,S", b"3\r\n4.c", b"5", b"\r\n")


def replies(profile: Profile, listing: Listing, deleted: set[int]) -> tuple[bytes, bytes]:
    return listing.scan_reply(profile.listed, deleted), listing.uid_reply(profile.listed, deleted)


@pytest.mark.parametrize("profile", [RFC1939, QMAIL], ids=["rfc1939", "qmail"])
@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_listings_without_marked_messages_are_what_is_left(profile: Profile, count: int) -> None:
    dice = random.Random(count)
    uids = [*ODD, *(b"%d.h" % number for number in range(count))][:count]
    if not profile.qmail_quirks:
        uids = strict_uids([message(uid, 1) for uid in uids], {})
    messages = [message(uid, dice.randrange(10**6))._replace(uid=uid) for uid in uids]
    listing = Listing(tuple(messages))
    for _ in range(8):
        deleted = {number for number in range(1, count + 1) if dice.random() < 0.3}
        left = [(number, one) for number, one in enumerate(messages, 1) if number not in deleted]
        status = b"+OK \r\n" if profile.qmail_quirks else b"+OK %d messages\r\n" % len(left)
        assert replies(profile, listing, deleted) == (
            status + b"".join(b"%d %d\r\n" % (number, one.size) for number, one in left) + b".\r\n",
            status + b"".join(b"%d %b\r\n" % (number, one.uid) for number, one in left) + b".\r\n",
        )


def test_sessions_share_the_octets_they_have_not_read_yet() -> None:
    """A reply of some megabytes for each of a hundred sessions that do not read would be half a gigabyte."""
    listing = Listing(tuple(message(b"%d.h" % number, number) for number in range(50)))
    first, second = (replies(QMAIL, listing, set()) for _ in range(2))
    assert [one is other for one, other in zip(first, second, strict=True)] == [True, True]


@pytest.mark.parametrize("command", [b"STAT", b"LIST 1", b"UIDL 1", b"DELE 1", b"NOOP"])
def test_a_packet_full_of_commands_takes_no_time_where_all_is_marked(command: bytes) -> None:
    """STAT once added up the marked ones each time: 680 of them in one read of 4 KiB held all others up for 10 s."""
    many = 100_000
    session = Session.logged_in(RFC1939, Listing(tuple(message(b"%d.h" % number, 1) for number in range(many))))
    session.receive(b"".join(b"DELE %d\r\n" % number for number in range(2, many + 1)))
    while session.next_event() is not None:
        pass
    began = time.process_time()
    session.receive((command + b"\r\n") * 600)
    while session.next_event() is not None:
        pass
    assert time.process_time() - began < 0.5
    session.receive(b"STAT\r\n")
    assert (
        session.next_event() == Session.logged_in(RFC1939, Listing((message(b"0.h", 1),))).take(b"STAT\r\n")
        or command == b"DELE 1"
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_stat_after_marks_and_their_withdrawal(profile: str) -> None:
    session = Session.logged_in(PROFILES[profile], Listing(tuple(message(b"%d.h" % n, 10**n) for n in range(4))))
    marked = b"+OK 4 1001\r\n" if PROFILES[profile].qmail_quirks else b"+OK 2 1001\r\n"
    for command, answer in ((b"DELE 2", None), (b"DELE 3", None), (b"DELE 3", None), (b"STAT", marked)):
        event = session.take(command + b"\r\n")
        assert answer is None or getattr(event, "data", None) == answer
    session.take(b"RSET\r\n")
    assert getattr(session.take(b"STAT\r\n"), "data", None) == b"+OK 4 1111\r\n"


def test_a_large_box_that_has_changed_is_not_taken_up_on_the_loop(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first slice of a scan is done there; what is known of 100,000 messages is looked through after it."""
    monkeypatch.setattr("mailhost.pop3.maildrop.scan.LARGE", 2)
    for number in range(3):
        box.put(f"{number}.h", b"x\n")
    snapshot = Snapshot()
    slices = []
    for _ in range(2):
        drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=False, snapshot=snapshot)
        slices.append(len(list(drop.scan())))
        drop.close()
    assert slices == [0, 1]


class Others:
    """Programs that work in a Maildir at the same time, as delivery, IMAP servers, filters and restores do."""

    def __init__(self, box: Box, dice: random.Random) -> None:
        self.box, self.dice, self.serial = box, dice, 0
        self.replaced: set[str] = set()

    def text(self) -> bytes:
        """Any length: sizes must tell files apart."""
        return self.dice.choice([b".\n", b"x", b"\r\n"]) * self.dice.randrange(200)

    def deliver(self) -> None:
        """New mail, of now, of long ago, or dated in the future."""
        self.serial += 1
        self.box.put(f"{self.serial}.h", self.text(), age_s=self.dice.choice([0.5, 5, 90_000, -90_000]))

    def any(self) -> str | None:
        """A message that is there."""
        return self.dice.choice(self.box.files() or [""]) or None

    def delete(self) -> None:
        """As another POP3 or IMAP session does."""
        if name := self.any():
            (self.box.maildir / name).unlink()

    def flag(self) -> None:
        """Seen, answered: into cur/, with other flags."""
        if name := self.any():
            base = name[4:].partition(":")[0]
            (self.box.maildir / name).rename(self.box.maildir / "cur" / f"{base}:2,{self.dice.choice('SRFT')}")

    def replace(self) -> None:
        """Another file under the same name, as filters do that write one beside it and rename.

        Once while a saved file stands, which may outlive a look: with a second one the filesystem may give it the inode
        of the first file, and then only RETR tells them apart (README, "How it is built").
        """
        if (name := self.any()) and (base := name[4:].partition(":")[0]) not in self.replaced:
            self.replaced.add(base)
            date = (self.box.maildir / name).stat().st_mtime
            fresh = self.box.put("fresh", self.text(), folder="tmp")
            os.utime(fresh, (date, date))
            fresh.rename(self.box.maildir / name)

    def backdate(self) -> None:
        """A directory's date put back, as tar and rsync do."""
        date = self.dice.randrange(1_600_000_000, 1_700_000_000)
        os.utime(self.box.maildir / self.dice.choice(["new", "cur"]), (date, date))

    def work(self) -> None:
        """Some of it, between two looks."""
        for _ in range(self.dice.randrange(4)):
            self.dice.choice([self.deliver, self.deliver, self.delete, self.flag, self.replace, self.backdate])()


@pytest.mark.parametrize("qmail_quirks", [False, True], ids=["rfc1939", "qmail"])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_remembered_is_the_truth_after_any_change(
    box: Box, monkeypatch: pytest.MonkeyPatch, qmail_quirks: bool, seed: int
) -> None:
    """Through restarts, and with a clock that is set back and forth; the truth is a look by one that knows nothing."""
    monkeypatch.setattr(size_cache, "SAVED_FROM", 5)
    dice = random.Random(seed)
    others, snapshot, place = (
        Others(box, dice),
        Snapshot(),
        box.maildir / os.fsdecode(size_cache.name_of(qmail_quirks=qmail_quirks)),
    )
    for _ in range(30):
        others.deliver()
    believed, written = 0, None
    for _ in range(60):
        others.work()
        now = time.time() + dice.choice([0, 0, 10, 200_000, -200_000])
        if dice.random() < 0.3:
            snapshot = Snapshot()
            believed += place.exists()
        known = listed(box, snapshot, qmail_quirks=qmail_quirks, now=now)
        kept = place.read_bytes() if place.exists() else None
        if kept is None or kept != written:
            others.replaced.clear()
        written = kept
        place.unlink(missing_ok=True)
        assert known == listed(box, Snapshot(), qmail_quirks=qmail_quirks, now=now)
        if kept is not None:
            place.write_bytes(kept)
    assert believed > 5, "or the test proves nothing"


def listed(box: Box, snapshot: Snapshot, *, qmail_quirks: bool, now: float) -> list[tuple[bytes, bytes, int]]:
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=qmail_quirks, lock=False, snapshot=snapshot)
    for _ in drop.scan(now):
        pass
    listing = drop.listing(now)
    drop.remember(now)
    drop.close()
    return [(one.path, one.uid, one.size) for one in listing.messages]


@pytest.mark.parametrize("command", [b"LIST", b"UIDL", b"RETR 1", b"TOP 1 9999"])
def test_pop3d_prepares_no_more_than_a_client_reads(box: Box, monkeypatch: pytest.MonkeyPatch, command: bytes) -> None:
    """One packet of commands may ask for a hundred megabytes; the client here does not read."""
    for number in range(2_000):
        (box.maildir / "cur" / f"{1_000_000_000 + number}.{number}.example").write_bytes(b"x\n" * (number < 1) * 20_000)
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan():
        pass
    session, written, asked = Session.logged_in(RFC1939, drop.listing()), list[int](), 600

    def write(data: bytes) -> None:
        written.append(len(data))
        if len(written) == 5:
            raise BlockingIOError

    monkeypatch.setattr(pop3d, "write", write)
    session.receive((command + b"\r\n") * asked)
    with pytest.raises(BlockingIOError):
        pop3d.answer(session, drop)
    assert max(written) < 65_536 + 200_000
    assert not session.needs_data(), "the other commands have not been looked at"
    drop.close()
