"""POP3 sessions are joined to the message that they handed out, also where one is seen before the other."""

from __future__ import annotations

from tests.popbox.journey.bench import Bench

from popbox.journey.model import Disposition, State


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
