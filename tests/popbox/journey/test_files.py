"""Files are joined to a message by facts; what fits twice is ambiguous, what is not there is lost."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.crowd import crowded
from tests.popbox.journey.bench import BOX, Bench

from popbox.journey.feeds import on_host
from popbox.journey.feeds.maildirs import Maildirs
from popbox.journey.metrics import metrics
from popbox.journey.model import Disposition, Event, Kind, State
from popbox.journey.store import Filters, Store


@pytest.mark.parametrize(
    ("written", "logged"),
    [
        ('"a b"@c.org', "a_b@c.org"),
        ("{{7*7}}{%raw%}@c.org", "{{7*7}}{_raw_}@c.org"),
        ('"alert(1)/x"@c.org', "alert(1)/x@c.org"),
        ('"a\\"b\\\\c"@c.org', 'a"b\\c@c.org'),
        ("j\u00f6rg@c.org", "j__rg@c.org"),
        ('"@c.org', '"@c.org'),
        ('""@c.org', "@c.org"),
    ],
)
def test_a_sender_that_the_log_writes_in_another_way_is_the_same(bench: Bench, written: str, logged: str) -> None:
    bench.logged(sender=logged)
    bench.put("x.mail", sender=written)
    bench.recorder.run_pass()
    [one] = bench.store.search(Filters())
    journey = bench.store.journey(one)
    assert journey is not None
    assert (journey.end, len(journey.message.recipients[0].files)) == (Disposition.ONCE, 1)


def test_it_is_found_by_a_process_with_a_thousand_clients(bench: Bench) -> None:
    with crowded():
        bench.logged()
        bench.put("1")
        assert bench.one(queue_id="41").end is Disposition.ONCE


def test_the_whole_way(bench: Bench) -> None:
    bench.logged()
    name = bench.put("1").name
    journey = bench.one(queue_id="41")
    assert (journey.end, journey.ended, journey.alarms) == (Disposition.ONCE, True, ())
    assert (journey.message.subject, journey.message.message_id) == ("hé", "<1>")
    assert journey.legs[3].state is State.WAITING
    bench.popped(name)
    bench.popped(name, "removed")
    journey = bench.one(uidl=name)
    assert journey.legs[3].state is State.DONE
    assert [one.removed for one in journey.message.recipients[0].pickups] == [False, True]
    assert 'popbox_delivery_seconds_bucket{le="+Inf"} 1\n' in metrics(bench.store)
    assert "popbox_pickup_seconds_count 1\n" in metrics(bench.store)


def test_a_name_that_is_no_utf8_stops_no_recording(bench: Bench) -> None:
    """Boxes belong to popuser, and clients may do as they like with them."""
    bench.logged()
    name = bench.put("1").name
    hostile = os.fsdecode(os.fsencode(bench.put("2")) + b"\xff")
    (bench.host.top / BOX / "new" / name).rename(hostile)
    bench.popped(os.fsdecode(b"\xff"))
    bench.popped("\ud800", login="\ud800")
    assert bench.one(queue_id="41").end is Disposition.ONCE, "the other file is the one"
    bench.store.append([Event(1.0, Kind.NOTE, None, {"what": "a\ud800b"}, "test")])
    assert bench.store.events_since(0)[-1].fields == {"what": "a?b"}


def test_a_file_without_its_message_in_the_log_is_of_no_journey(bench: Bench) -> None:
    bench.put("1", qp=99)
    bench.logged()
    journey = bench.one(queue_id="41")
    assert journey.end is Disposition.LOST
    assert journey.alarms == (f"the log says that it was delivered, and no file in {BOX} is it",)


@pytest.mark.parametrize(
    ("change", "end"),
    [
        ({"size": 190}, Disposition.CORRUPTED),
        ({"sender": "other@b.org"}, Disposition.LOST),
        ({"qp": 42}, Disposition.LOST),
        ({"at": -7200.0}, Disposition.LOST),
    ],
)
def test_a_file_that_differs_in_one_fact(bench: Bench, change: dict[str, Any], end: Disposition) -> None:
    bench.logged()
    bench.put("1", **{key: time.time() + value if key == "at" else value for key, value in change.items()})
    assert bench.one(queue_id="41").end is end


def test_a_wrong_owner_or_mode_is_told(bench: Bench) -> None:
    bench.logged()
    bench.put("1").chmod(0o644)
    assert bench.one(queue_id="41").end is Disposition.WRONG_MODE
    bench.host.uid += 1
    bench.close()
    bench.open()
    bench.logged(8, 42)
    bench.put("2", 42)
    assert bench.one(queue_id="42").end is Disposition.WRONG_OWNER


def test_a_pid_that_comes_again_is_told_apart_by_size(bench: Bench) -> None:
    bench.logged(7, size=194)
    bench.logged(8, size=200)
    first, second = bench.put("1", size=200), bench.put("2", size=194)
    bench.recorder.run_pass()
    assert [bench.one(uidl=one.name).message.octets for one in (first, second)] == [200, 194]


def test_what_fits_twice_is_ambiguous(bench: Bench) -> None:
    bench.logged(7)
    bench.logged(8)
    bench.put("1")
    bench.put("2")
    bench.recorder.run_pass()
    ends = [bench.store.journey(of) for of in bench.store.search(Filters(queue_id="41"))]
    assert [(one.end, one.legs[2].state) for one in ends if one] == [(Disposition.UNKNOWN, State.UNKNOWN)] * 2
    assert all("two messages" in one.why for one in ends if one)


def test_a_second_copy_is_doubled(bench: Bench) -> None:
    bench.logged(7)
    bench.put("1")
    assert bench.one(queue_id="41").end is Disposition.ONCE
    bench.put("again")
    bench.logged(8, 42)
    bench.put("2", 42)
    assert bench.one(queue_id="41").end is Disposition.DOUBLED


def test_what_was_delivered_before_popbox_looked_is_not_lost(bench: Bench) -> None:
    bench.close()
    bench.logged(7, 41)
    bench.logged(8, 42)
    bench.put("2", 42)
    bench.open()
    bench.recorder.run_pass()
    journey = bench.one(queue_id="41")
    assert (journey.end, journey.alarms) == (Disposition.UNKNOWN, ())
    assert "popbox did not look" in journey.why
    assert bench.one(queue_id="42").end is Disposition.ONCE


def test_an_old_log_of_the_stand_in_has_the_times_of_its_numbers(bench: Bench) -> None:
    bench.close()
    old = int((time.time() - 7200) * 1e6)
    told = (
        f"info msg {old}: bytes 9 from <a@b.org> qp {old} uid 1\nstarting delivery 1: msg {old} to local d-all@d.org\n"
    )
    child = f"info msg {old + 5}: bytes 9 from <a@b.org> qp {old + 5} uid 1\n"
    bench.write("smtp", f"{told}{child}delivery 1: success: did_0+1+0/qp_{old + 5}/\nend msg {old}\n")
    bench.open()
    journey = bench.one(queue_id=str(old))
    assert [one.relation for one in journey.copies] == ["forward"]
    assert journey.message.at == old / 1e6


def test_the_store_is_its_owners_alone(bench: Bench) -> None:
    assert [path.stat().st_mode & 0o077 for path in bench.host.top.glob("journeys.db*")] == [0, 0, 0, 0]


def test_a_host_without_files_says_so(bench: Bench) -> None:
    bench.close()
    bench.host.blind = "its files cannot be read from here"
    bench.open()
    bench.logged()
    journey = bench.one(queue_id="41")
    assert (journey.end, journey.why) == (Disposition.UNKNOWN, "d-joe@d.org: its files cannot be read from here")


def test_a_recorder_that_dies_between_log_and_file_finds_it_later(bench: Bench) -> None:
    bench.logged()
    look = Maildirs.look
    try:
        Maildirs.look = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            bench.recorder.run_pass()
    finally:
        Maildirs.look = look  # type: ignore[method-assign]
    bench.close()
    bench.open()
    bench.put("1")
    assert bench.one(queue_id="41").end is Disposition.ONCE


def test_odd_files_in_a_box_do_no_harm(bench: Bench) -> None:
    new = bench.host.top / BOX / "new"
    os.mkfifo(new / "9999999999.fifo")
    (new / "9999999999.link").symlink_to("/etc/passwd")
    (new / "9999999999.dir").mkdir()
    (new / "9999999999.odd").write_bytes(b"\0\xff" * 100_000)
    os.close(os.open(bytes(new) + b"/9999999999.\xff\n", os.O_CREAT | os.O_WRONLY))
    bench.logged()
    bench.put("1")
    assert bench.one(queue_id="41").end is Disposition.ONCE


def test_pruning_spares_live_spaces_and_what_is_on_its_way(bench: Bench) -> None:
    bench.logged(7, 41)
    bench.put("1")
    bench.write("smtp", "info msg 9: bytes 9 from <a@b.org> qp 43 uid 1\n")
    bench.recorder.run_pass()
    bench.store.make_space("one", "D.org", 1.0)
    assert bench.store.prune(time.time() + 60) == 0
    bench.store.end_space("one", 2.0)
    assert bench.store.prune(time.time() - 60) == 0
    cursor = bench.store.cursor()
    assert bench.store.prune(time.time() + 60) == 1
    assert [bench.store.search(Filters(queue_id=one)) for one in ("41", "43")] == [(), (bench.one(queue_id="43").id,)]
    assert bench.store.search(Filters(subject="hé")) == ()
    assert bench.store.cursor() == cursor  # ids are never used again
    assert "popbox_delivery_seconds_count 1\n" in metrics(bench.store)


def test_what_is_owed_is_told_by_the_lines_of_a_pass_and_later_by_the_store(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second recipient of the same message may be delivered passes later, and popbox restarted in between."""
    begin = "info msg 7: bytes 194 from <a@b.org> qp 41 uid 1\n"
    for number in (1, 2):
        begin += f"starting delivery {number}: msg 7 to local d-joe@d.org\n"
    asked: list[int] = []
    about = Store.events_about
    monkeypatch.setattr(Store, "events_about", lambda store, of: asked.append(of) or about(store, of))
    bench.write("smtp", begin + "delivery 1: success: did_1+0+0/\n")
    bench.put("1")
    assert bench.one(queue_id="41").message.recipients[0].files[0].uidl.endswith(".1")
    assert asked == [], "all of it was just read"
    bench.write("smtp", "delivery 2: success: did_1+0+0/\nend msg 7\n")
    bench.put("2")
    recipient = bench.one(queue_id="41").message.recipients[0]
    assert (len(recipient.files), len(asked), recipient.end) == (2, 1, Disposition.ONCE)


def test_what_looks_into_boxes_forgets_files_that_are_gone(tmp_path: Path) -> None:
    """A box that mail comes into all the time is always looked into."""
    for folder in ("new", "cur"):
        (tmp_path / folder).mkdir()
    (tmp_path / "cur/2.a:2,S").write_bytes(b"x")
    known = {"1.gone", "2.a"}
    assert on_host.look(str(tmp_path), 0.0, known) == []
    assert known == {"2.a"}
