"""A run's messages in an MTA's log: which is whose, what was tried, what the log says of it; clocks of its lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.popbox.journey.bench import Bench
from tests.popbox.ledger.made_up import NOW, SENT

from popbox.clients.smtp import Receipt, Reply
from popbox.errors import HostError
from popbox.hosts.readiness import wait_until
from popbox.journey.join.maillog import stamp
from popbox.journey.model import Attempt, Disposition
from popbox.journey.recorder import Recorder
from popbox.journey.store import Filters, Store, StoreError
from popbox.ledger import stamp as stamped
from popbox.ledger import tracker as ledger
from popbox.ledger.sent import Sent
from popbox.ledger.tracker import Tracker, messages

LOG = """\
new msg 1753402
info msg 1753402: bytes 194 from <a@b.org> qp 4171 uid 1001
new msg 9
info msg 9: bytes 1 from <a@b.org> qp 4172 uid 1001
starting delivery 3: msg 1753402 to local domain-com-joe@domain.com
status: local 1/10 remote 0/20
starting delivery 4: msg 9 to local domain-com-eve@domain.com
delivery 4: failure: Sorry,_no_mailbox_here_by_that_name._(#5.1.1)/
"""
BOUNCED = """\
new msg 7
info msg 7: bytes 194 from <a@b.org> qp 41 uid 1001
starting delivery 1: msg 7 to remote x@y.org
delivery 1: failure: No_such_host/
bounce msg 7 qp 43
end msg 7
"""
FORWARDED = """\
new msg 7
info msg 7: bytes 194 from <a@b.org> qp 41 uid 1001
starting delivery 1: msg 7 to local all@y.org
delivery 1: success: qp_42/did_0+1+0/
end msg 7
new msg 8
info msg 8: bytes 250 from <a@b.org> qp 42 uid 888
starting delivery 2: msg 8 to local joe@y.org
delivery 2: failure: Sorry/
bounce msg 8 qp 43
end msg 8
new msg 9
info msg 9: bytes 300 from <> qp 43 uid 888
end msg 9
"""

WRITTEN = """\
new msg 7
info msg 7: bytes 194 from <a@b.org> qp 41 uid 1001
starting delivery 1: msg 7 to local joe@d.org
delivery 1: success: did_1+0+0/
end msg 7
"""


def sent(queued_as: str = "4171", sender: str = "a@b.org") -> Sent:
    receipt = Receipt(True, "DATA", Reply(250, (f"ok 1795333118 qp {queued_as}" if queued_as else "fine",)), ())
    return Sent("one", "pb-1", SENT, sender, ("joe@domain.com",), (), 1, NOW, 0.5, receipt)


def tracker(log: str, message: Sent) -> Tracker:
    one = Tracker([message], lambda: log)
    one.look()
    return one


def test_a_running_delivery_is_told_from_another_message() -> None:
    one = Tracker([sent()], lambda: LOG)
    (attempt,) = one.attempts(sent())
    assert (attempt.recipient, attempt.outcome, attempt.said) == ("domain-com-joe@domain.com", "running", "")
    assert one.verdict(sent()) == "delivery to domain-com-joe@domain.com ended in running (1 attempt(s))"


def test_an_ended_delivery_carries_the_words_of_the_mta() -> None:
    log = LOG + "delivery 3: deferral: Unable_to_chdir_to_maildir._(#4.2.1)/\n"
    assert tracker(log, sent()).verdict(sent()) == (
        "delivery to domain-com-joe@domain.com ended in deferral: Unable to chdir to maildir. (#4.2.1) (1 attempt(s))"
    )


def test_timestamps_before_the_line_do_no_harm() -> None:
    log = "".join(f"@400000006a00000000000000 {line}\n" for line in LOG.splitlines())
    assert tracker(log, sent()).attempts(sent()) == tracker(LOG, sent()).attempts(sent())


def test_without_a_queue_id_nothing_is_claimed() -> None:
    assert tracker(LOG, sent("")).verdict(sent("")) == "no queue id in the reply"
    assert "no delivery attempt yet" in tracker("", sent()).verdict(sent())


@pytest.mark.parametrize(
    ("log", "sender", "is_ours"),
    [
        (LOG, "a@b.org", True),  # of another time, as its clock says
        (LOG.replace("bytes 194", "bytes 30"), "a@b.org", False),  # and it is smaller than what was sent
        (LOG.replace("bytes 194", "bytes 99999"), "a@b.org", False),
        (LOG, '"a"@b.org', False),
        (f"@400000006553f10a00000000 {LOG.splitlines()[1]}\n", '"a"@b.org', True),  # NOW
        (f"@400000006553f10a00000000 {LOG.splitlines()[1]}\n".replace("194", "30"), "a@b.org", True),
        (f"@400000006553f10a00000000 {LOG.splitlines()[1]}\n".replace("194", "30"), '"a"@b.org', False),
    ],
)
def test_a_line_is_that_of_our_message_where_two_of_sender_time_and_size_fit(
    log: str, sender: str, is_ours: bool
) -> None:
    message = sent(sender=sender)
    (found,) = tracker(log, message).family(message)
    assert (found.number == "1753402") is is_ours


def test_a_forwarded_copy_is_not_the_message_itself() -> None:
    log = FORWARDED.replace("end msg 7\n", "")
    assert [one.recipient for one in tracker(log, sent("41")).attempts(sent("41"))] == ["all@y.org"]
    assert not tracker(log, sent("41")).ended(sent("41"))
    assert tracker(FORWARDED, sent("41")).ended(sent("41"))


def test_what_is_closed_holds_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Store.in_memory()
    monkeypatch.setattr(Store, "in_memory", lambda: made)
    one = Tracker([sent()], lambda: LOG)
    one.close()
    one.look()
    one.close()
    with pytest.raises(StoreError):
        made.append([])


def test_what_comes_later_is_read_on() -> None:
    said = LOG
    message, offered = sent(), list[Sent]()
    one = Tracker(offered, lambda: said)
    one.look()
    assert one.family(message) == []
    offered.append(message)
    said += LOG.replace("9 ", "19 ").replace("9:", "19:").replace("1753402", "8").replace("4171", "44")
    assert not one.ended(message), "its line was read before it was sent: another had the same qp"
    said += f"{LOG.splitlines()[1]}\nend msg 1753402\n"
    assert one.ended(message)
    one.close()
    assert one.ended(message), "after close it is read again, from the first line"


def test_a_log_that_cannot_be_read_now_is_read_on_from_the_same_line() -> None:
    broken = [OSError("gone")]

    def show() -> str:
        if broken:
            raise broken.pop()
        return BOUNCED

    one = Tracker([sent("41")], show)
    with pytest.raises(OSError, match="gone"):
        one.look()
    assert one.ended(sent("41"))


def test_a_family_is_the_forwarded_copies_and_not_the_bounce() -> None:
    one = tracker(FORWARDED, sent("41"))
    family = one.family(sent("41"))
    assert [(each.queued_as, each.relation, each.pending) for each in family] == [("41", "", []), ("42", "forward", [])]
    assert one.lines(family) == tuple(FORWARDED.splitlines()[:11])
    begun = FORWARDED.partition("\n")[2]
    cut = tracker(begun, sent("41"))
    assert cut.lines(cut.family(sent("41"))) == tuple(begun.splitlines()[:10]), "the log begins after new msg"


# A store that is kept


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("popbox.journey.join.files.MISSING_S", 0.7)
    made = Bench(tmp_path)
    made.recorder.close()
    yield made
    made.store.close()


def kept(bench: Bench, message: Sent) -> Tracker:
    one = Tracker([message], lambda: "not asked", (bench.host, bench.store))
    one.look()
    (bench.host.top / "smtp").write_text(WRITTEN)
    one.look()
    return one


def test_a_file_that_is_not_there_is_given_up_before_a_kept_store_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited, closed = list[bool](), list[Recorder]()
    monkeypatch.setattr(ledger, "wait_until", lambda *of: waited.append(wait_until(*of)))
    close = Recorder.close
    monkeypatch.setattr(Recorder, "close", lambda one: (closed.append(one), close(one)))
    message = sent("41")
    one = kept(bench, message)
    assert bench.store.owing()
    one.close()
    assert (waited, len(closed)) == ([True], 1)
    assert bench.store.owing() == []
    (journey,) = [bench.store.journey(of) for of in bench.store.search(Filters(queue_id="41"))]
    assert journey is not None
    assert (journey.end, journey.message.subject, journey.message.message_id) == (Disposition.LOST, "s", "")
    assert one.ended(message), "it is read on, and the message is the one that it was"
    assert len(one.lines(one.family(message))) == 5
    one.close()


def test_a_host_that_shows_nothing_any_more_does_not_hold_up_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kept(bench, sent("41"))

    def gone(_recorder: Recorder) -> int:
        raise HostError("the host is gone")

    monkeypatch.setattr(Recorder, "run_pass", gone)
    one.close()
    one.close()


# Any message of a log


def test_every_message_of_a_log_whoever_sent_it() -> None:
    (first, second, bounce) = messages(BOUNCED + FORWARDED.partition("end msg 7\n")[2])
    assert (first.queued_as, first.sender, first.bounced_as, first.pending) == ("41", "a@b.org", "43", [])
    assert first.attempts == [Attempt("x@y.org", "failure", "No such host", "remote", None, (), first.attempts[0].seq)]
    assert [(one.queued_as, one.sender) for one in (second, bounce)] == [("42", "a@b.org"), ("43", "")]


def test_a_number_that_comes_again_is_another_message() -> None:
    found = messages(BOUNCED + BOUNCED.replace("qp 41", "qp 44").replace("qp 43", "qp 45"))
    assert [(one.queued_as, one.bounced_as, one.ended_at is not None) for one in found] == [
        ("41", "43", True),
        ("44", "45", True),
    ]


def test_lines_of_messages_that_began_before_the_log_are_nobodys() -> None:
    ends = "delivery 9: success: did_1+0+0/\nbounce msg 8 qp 40\nend msg 8\nstarting delivery 3: msg 8 to local x\n"
    (found,) = messages(ends + BOUNCED)
    assert [one.recipient for one in found.attempts] == ["x@y.org"]


def test_what_is_not_at_its_end_is_pending() -> None:
    lines = BOUNCED.splitlines(keepends=True)
    retried = "".join(lines[:3]) + "delivery 1: deferral: later/\nstarting delivery 2: msg 7 to local joe\n"
    (found,) = messages(retried)
    assert [(one.recipient, one.outcome) for one in found.pending] == [("x@y.org", "deferral"), ("joe", "running")]


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("@400000006a1b2c3d1dcd6500 new msg 1", 1_780_165_683.5),  # 2^62 + 10 taken off: tai64nlocal(8)
        ("2026-05-30 18:28:03.25 new msg 1", 1_780_165_683.25),  # UTC, as s6-log writes it
        ("2026-05-30 18:28:03 new msg 1", 1_780_165_683.0),
        ("new msg 1", None),
        ("status: local 2026-05-30 18:28:03 ", None),
    ],
)
def test_the_clock_of_a_line(line: str, seconds: float | None) -> None:
    assert stamp(line) == seconds


def test_the_token_comes_first_and_the_message_ends_in_a_line() -> None:
    assert stamped(b"Subject: x\n\nno newline", "pb-1") == b"X-Popbox-Token: pb-1\nSubject: x\n\nno newline\n"
