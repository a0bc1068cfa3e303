"""Log lines become events, and events journeys: numbers that come again, forwards, bounces, a log that is cut."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from popbox.hosts.following import FileFollower
from popbox.journey.model import Disposition, Event, Journey, Kind, State
from popbox.journey.recorder import Recorder
from popbox.journey.store import NEW, Filters, Store, StoreError


class Desk:
    """A store with its recorder on a log that the test writes."""

    def __init__(self, folder: Path) -> None:
        self.log, self.folder = folder / "maillog", folder
        self.open()

    def open(self) -> None:
        self.store = Store.open(self.folder / "journeys.db")
        self.recorder = Recorder(self.store, lambda position: FileFollower(self.log, position))

    def restart(self) -> None:
        """As after kill -9: nothing is said to the store."""
        self.recorder.close()
        self.store.close()
        self.open()

    def told(self, lines: str) -> None:
        with self.log.open("a") as file:
            file.write(lines)
        self.recorder.run_pass()

    def one(self, **filters: str) -> Journey:
        (found,) = self.store.search(Filters(**filters))
        journey = self.store.journey(found)
        assert journey is not None
        return journey


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


QUEUED = "new msg 7\ninfo msg 7: bytes 194 from <a@b.org> qp 41 uid 1001\n"
STARTED = "starting delivery 1: msg 7 to local joe@d.org\n"
DELIVERED = f"{QUEUED}{STARTED}delivery 1: success: did_1+0+0/\nend msg 7\n"
FORWARDED = """\
new msg 7
info msg 7: bytes 194 from <a@b.org> qp 41 uid 1001
starting delivery 1: msg 7 to local sales@d.org
new msg 8
info msg 8: bytes 250 from <a@b.org> qp 43 uid 888
starting delivery 2: msg 8 to local joe@d.org
delivery 1: success: did_0+1+0/qp_43/
end msg 7
delivery 2: deferral: Home_directory_is_writable._(#4.7.0)/
"""
BOUNCED = """\
new msg 7
info msg 7: bytes 194 from <a@b.org> qp 41 uid 1001
starting delivery 1: msg 7 to local none@d.org
delivery 1: failure: Sorry,_no_mailbox/
bounce msg 7 qp 43
end msg 7
new msg 8
info msg 8: bytes 500 from <> qp 43 uid 1006
starting delivery 2: msg 8 to remote a@b.org
delivery 2: failure: No_such_host/
bounce msg 8 qp 45
end msg 8
new msg 9
info msg 9: bytes 700 from <#@[]> qp 45 uid 1006
starting delivery 3: msg 9 to local postmaster@d.org
delivery 3: success: did_0+0+1/
end msg 9
"""


def shape(journey: Journey | None) -> object:
    """What a journey says, without the numbers that depend on when each line was read."""
    assert journey is not None
    every = (journey.message, *journey.copies)
    told = [(one.queued_as, one.relation, one.bounced_as, one.ended_at is not None) for one in every]
    legs = [(to.routed, to.end, to.why, *(leg.state for leg in to.legs)) for one in every for to in one.recipients]
    return told, legs, journey.end, journey.ended


def test_a_message_goes_leg_by_leg(desk: Desk) -> None:
    desk.told(QUEUED)
    journey = desk.one(sender="A@b.org")
    assert (journey.end, [leg.state for leg in journey.legs[:2]]) == (Disposition.QUEUE, [State.DONE, State.WAITING])
    desk.told(STARTED)
    assert desk.one(to="joe@d.org").end is Disposition.QUEUE
    desk.told("delivery 1: deferral: later/\n")
    (recipient,) = desk.one(to="joe@d.org").message.recipients
    queue = recipient.legs[1]
    assert (recipient.end, queue.state, queue.tries, queue.why) == (Disposition.DEFERRED, State.DEFERRED, 1, "later")
    assert queue.next_at is not None
    assert 100 <= queue.next_at - desk.one(queue_id="41").message.at < 200  # Q-SEND-13
    desk.told("starting delivery 4: msg 7 to local joe@d.org\ndelivery 4: success: did_1+0+0/\nend msg 7\n")
    journey = desk.one(queue_id="7")
    assert (journey.legs[1].state, journey.legs[2].state) == (State.DONE, State.UNKNOWN)
    assert (journey.end, journey.ended) == (Disposition.UNKNOWN, True)  # unknown is never good
    assert journey.why == "joe@d.org: this host's files are not looked at"


def test_a_number_and_a_qp_that_come_again_are_another_message(desk: Desk) -> None:
    desk.told(DELIVERED + DELIVERED)
    assert len(desk.store.search(Filters(queue_id="41"))) == 2
    kinds = [event.kind for event in desk.store.events_since(0)]
    assert kinds == ["queued", "trying", "tried", "ended"] * 2 + ["unseen"] * 2


def test_a_forwarded_copy_hangs_below_what_it_came_from(desk: Desk) -> None:
    desk.told(FORWARDED)
    journey = desk.one(to="sales@d.org")
    (copy,) = journey.copies
    assert (copy.parent, copy.relation, copy.queued_as) == (journey.id, "forward", "43")
    assert (journey.end, journey.ended) == (Disposition.DEFERRED, False)
    assert desk.one(to="joe@d.org").id == journey.id


def test_bounces_of_bounces_hang_below_the_first(desk: Desk) -> None:
    desk.told(BOUNCED)
    journey = desk.one(to="none@d.org")
    assert [(one.relation, one.parent) for one in journey.copies] == [
        ("bounce", journey.id),
        ("double bounce", journey.copies[0].id),
    ]
    assert (journey.end, journey.why) == (Disposition.BOUNCED, "none@d.org: Sorry, no mailbox")
    assert journey.ended


def test_a_bounce_is_known_before_its_parent_says_so(desk: Desk) -> None:
    lines = BOUNCED.splitlines(keepends=True)
    desk.told("".join(lines[:4] + lines[6:8] + lines[4:6]))  # the child's lines come first, as the stand-in logs
    assert [one.relation for one in desk.one(to="none@d.org").copies] == ["bounce"]


@pytest.mark.parametrize("lines", [DELIVERED, FORWARDED, BOUNCED], ids=["delivered", "forwarded", "bounced"])
def test_a_reader_that_dies_at_any_line_tells_the_same(lines: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = Desk(tmp_path / "whole")
    whole.told(lines)
    (tmp_path / "cut").mkdir()
    cut = Desk(tmp_path / "cut")
    for line in lines.splitlines(keepends=True):
        cut.told(line[:5])
        cut.restart()
        cut.told(line[5:])
        cut.restart()
    told, told_cut = ([desk.store.journey(of) for of in desk.store.search(Filters())] for desk in (whole, cut))
    assert [shape(one) for one in told_cut] == [shape(one) for one in told]
    for desk in (whole, cut):
        places = [(one.source, one.place) for one in desk.store.events_since(0) if one.place]
        assert len(places) == len(set(places))


def test_a_cut_log_leaves_unknown_what_was_on_its_way(desk: Desk) -> None:
    desk.told(QUEUED + STARTED)
    desk.log.unlink()
    desk.restart()
    desk.told(DELIVERED.replace("msg 7", "msg 8").replace("qp 41", "qp 42"))
    journey = desk.one(queue_id="41")
    assert (journey.end, journey.legs[1].state) == (Disposition.UNKNOWN, State.UNKNOWN)
    assert "rotated or removed" in journey.why
    assert desk.one(queue_id="42").legs[1].state is State.DONE


def test_one_process_writes(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="another process writes"):
        Store.open(tmp_path / "journeys.db")
    desk.told(DELIVERED)
    with Store.open(tmp_path / "journeys.db", write=False) as reader:
        assert reader.cursor() == desk.store.cursor()
        with pytest.raises(StoreError, match="for reading only"):
            reader.append([])


def test_a_store_that_is_no_file_or_no_database_is_refused(tmp_path: Path) -> None:
    """`serve --store /dev/null` waited 10 s, left /dev/null.lock, and both ended in a traceback of SQLite's."""
    (tmp_path / "text").write_text("no database, and longer than the mark that one begins with\n" * 4)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    for name, why in (("text", "file is not a database"), ("fifo", "it is no file"), ("link", "it is no file")):
        with pytest.raises(StoreError, match=why):
            Store.open(tmp_path / name)
    assert not list(tmp_path.glob("[fl]*.lock"))


def test_the_same_place_is_stored_once(desk: Desk) -> None:
    event = Event(1.0, Kind.QUEUED, NEW, {"qp": "1", "number": "2", "sender": "", "bytes": 3}, "log", "0:0")
    assert desk.store.append([event]) == [1]
    assert desk.store.append([event]) == [0]
    assert desk.store.cursor() == 1


def test_a_batch_that_fails_leaves_nothing(desk: Desk) -> None:
    event = Event(1.0, Kind.QUEUED, NEW, {"qp": "1", "number": "2", "sender": "", "bytes": 3}, "log", "0:0")
    with pytest.raises(KeyError, match="number"):
        desk.store.append([event, Event(1.0, Kind.QUEUED, NEW, {"sender": ""}, "log", "0:9")])
    assert (desk.store.cursor(), desk.store.events_since(0)) == (0, [])
    assert desk.store.append([event]) == [1]


def test_who_listens_is_told_the_cursor(desk: Desk) -> None:
    heard: list[int] = []
    desk.store.on_commit(heard.append)
    desk.told(DELIVERED)
    assert heard[-1] == desk.store.cursor()
    before = list(heard)
    desk.told("status: local 0/10 remote 0/20\n")
    assert heard == before == sorted(set(before))


def test_popboxes_own_send_is_the_message_that_the_log_names(desk: Desk) -> None:
    sent = {"sender": "a@b.org", "recipients": ["joe@d.org"], "qp": "41", "reply": "250 ok 1 qp 41", "subject": "hi"}
    (of,) = desk.store.append([Event(time.time(), Kind.SENT, NEW, sent, "api")])
    assert desk.one(subject="hi").legs[0].why == "250 ok 1 qp 41"
    desk.told(DELIVERED)
    journey = desk.one(subject="hi")
    assert (journey.id, journey.message.number, len(journey.message.recipients)) == (of, "7", 1)


@pytest.mark.parametrize(
    ("asked", "routed", "waiting"),
    [
        (["joe@d.org"], "joe@d.org", []),
        (["Joe@d.org"], "joe@d.org", []),
        (["joe@d.org"], "d-org-joe@d.org", []),  # a virtual domain's prefix, and no rules were asked
        (["joe@d.org", "eve@d.org"], "d-org-joe@d.org", ["eve@d.org"]),
        (["x-joe@d.org", "joe@d.org"], "x-joe@d.org", ["joe@d.org"]),
        (["joe@d.org"], "joe@e.org", ["joe@d.org"]),
    ],
)
def test_an_address_of_an_own_send_is_waited_for_until_a_delivery_names_it(
    desk: Desk, asked: list[str], routed: str, waiting: list[str]
) -> None:
    said = {"sender": "a@b.org", "recipients": asked, "qp": "41", "reply": "250 ok 1 qp 41"}
    desk.store.append([Event(time.time(), Kind.SENT, NEW, said)])
    desk.told(DELIVERED.replace("joe@d.org", routed).replace("end msg 7\n", ""))
    recipients = desk.one(queue_id="41").message.recipients
    assert [one.address for one in recipients if not one.attempts] == waiting
