"""POP3 sessions are joined to the message that they handed out, also where one is seen before the other."""

from __future__ import annotations

import json
import time

from tests.popbox.journey.bench import Bench

from popbox.journey.model import Disposition, State
from popbox.journey.store import Filters


def test_a_file_that_pop3_took_before_it_was_seen_is_not_lost(bench: Bench) -> None:
    bench.logged()
    bench.popped("gone", "removed")
    journey = bench.one(queue_id="41")
    assert (journey.end, journey.alarms) == (Disposition.UNKNOWN, ())
    assert "removed" in journey.why


def test_a_session_whose_lines_were_read_before_a_restart_is_not_blind(bench: Bench) -> None:
    bench.logged()
    bench.popped(bench.put("1").name, session="<5>")
    bench.recorder.run_pass()
    bench.close()
    bench.open()
    bench.write("pop3", '{"time": 1, "event": "session", "id": "<5>", "login": "testid", "retrieved": 1}\n')
    bench.recorder.run_pass()
    assert bench.store.blind() == ""


def test_a_server_that_logs_no_messages_leaves_the_pickup_unknown(bench: Bench) -> None:
    bench.logged()
    bench.put("1")
    bench.write("pop3", '{"time": 1, "event": "session", "id": "<5>", "login": "testid", "retrieved": 1}\n')
    journey = bench.one(queue_id="41")
    assert (journey.legs[3].state, "--log-messages" in journey.legs[3].why) == (State.UNKNOWN, True)


def test_a_pickup_waits_for_its_file_through_a_restart(bench: Bench) -> None:
    name = bench.put("1").name
    bench.popped(name)
    bench.recorder.run_pass()
    bench.close()
    bench.open()
    bench.logged()
    assert bench.one(queue_id="41").legs[3].state is State.DONE


def cut(bench: Bench, logged: bool = False) -> None:
    """The POP3 log that was read is replaced by another one, and what was written to it since then is nowhere.

    ``logged``: a delivery is logged just before that.
    """
    bench.write("pop3", "nothing of interest\n")
    bench.recorder.run_pass()
    if logged:
        bench.logged()
    (bench.host.top / "pop3").write_text("the log begins again\n")
    bench.recorder.run_pass()


def test_a_part_of_the_pop3_log_that_is_missing_leaves_older_pickups_unknown(bench: Bench) -> None:
    bench.logged()
    name = bench.put("1").name
    assert bench.one(queue_id="41").legs[3].state is State.WAITING
    cut(bench)
    bench.close()
    bench.open()
    leg = bench.one(queue_id="41").legs[3]
    assert (leg.state, "rotated or removed" in leg.why) == (State.UNKNOWN, True)
    time.sleep(0.01)  # the clock of files is coarse
    bench.logged(8, qp=42)
    bench.put("2", qp=42)
    assert bench.one(queue_id="42").legs[3].state is State.WAITING, "it came behind the gap"
    bench.popped(name)
    assert bench.one(queue_id="41").legs[3].state is State.DONE, "it is seen now"
    assert not bench.store.gaps(0), "the log of the MTA is whole"


def test_a_file_that_was_read_before_its_message_is_older_than_the_gap_too(bench: Bench) -> None:
    bench.put("1", at=time.time())
    cut(bench)
    bench.logged()
    assert bench.one(queue_id="41").legs[3].state is State.UNKNOWN


def test_what_pop3_may_have_removed_in_a_missing_part_of_its_log_is_not_lost(bench: Bench) -> None:
    cut(bench, logged=True)
    journey = bench.one(queue_id="41")
    assert (journey.end, journey.alarms) == (Disposition.UNKNOWN, ())
    assert "has a part missing" in journey.why
    bench.logged(8, qp=42)
    assert bench.one(queue_id="42").end is Disposition.LOST, "this one was accepted behind the gap"


def test_a_session_whose_lines_are_missing_is_not_blind(bench: Bench) -> None:
    cut(bench)
    said = {"event": "session", "id": "<5>", "login": "testid", "retrieved": 1}
    for seconds, blind in ((60.0, False), (0.0, True)):
        bench.write("pop3", json.dumps({**said, "time": time.time() + 1, "seconds": seconds}) + "\n")
        bench.recorder.run_pass()
        assert bool(bench.store.blind()) is blind


def test_the_gap_stays_as_long_as_a_message_that_it_may_be_about(bench: Bench) -> None:
    bench.logged()
    bench.put("1")
    assert bench.one(queue_id="41").legs[3].state is State.WAITING
    cut(bench)
    (gap,) = [one for one in bench.store.events_since(0) if one.kind == "gap"]
    bench.store.make_space("mine", "d.org", time.time())
    bench.store.prune(before=time.time() + 10)
    assert (bench.store.event(gap.seq), bench.store.search(Filters(queue_id="41"))) == (gap, (1,))
    bench.store.end_space("mine", time.time())
    bench.store.prune(before=time.time() + 10)
    assert bench.store.event(gap.seq) is None
