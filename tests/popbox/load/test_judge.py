"""The verdict on each message, from journals: what was accepted against what POP3 handed out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.popbox.load.books import Written, ns

from popbox.load.books.journal import FETCH_ENDED
from popbox.load.books.judge import EVIDENCE, EXPLAINED, FOUND
from popbox.load.books.recorded import BEGAN


@pytest.fixture
def books(tmp_path: Path) -> Written:
    return Written(tmp_path)


def test_a_message_that_is_there_once_is_once(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.deleted("u1")
    assert books.counts() == {"once": 1}


def test_a_message_that_is_nowhere_is_lost(books: Written) -> None:
    books.sent("t1")
    verdict = books.verdict()
    assert verdict.counts["lost"] == 1
    assert [(one.token, one.box) for one in verdict.cases] == [("t1", "joe@a")]


def test_a_message_that_the_queue_has_is_not_yet_there(books: Written, tmp_path: Path) -> None:
    books.sent("t1")
    (tmp_path / FOUND).write_text(json.dumps({"t1 joe@a": ["the queue"]}))
    assert books.counts() == {"not yet": 1}


def test_a_message_whose_report_came_back_is_bounced(books: Written) -> None:
    books.sent("t1")
    books.worker.write("bounce", token="t1", box="bounces@a", uidl="u1", session=1, note="a-joe@a")
    assert books.counts() == {"bounced": 1}


def test_a_report_on_one_recipient_excuses_no_other(books: Written) -> None:
    books.sent("t1", "joe@a")
    books.sent("t1", "ann@a")
    books.worker.write("bounce", token="t1", box="bounces@a", uidl="u1", session=1, note="joe@a")
    assert books.counts() == {"bounced": 1, "lost": 1}


def test_one_of_two_recipients_who_lacks_it_is_lost_to(books: Written) -> None:
    books.sent("t1", "joe@a")
    books.sent("t1", "ann@a")
    books.fetched("t1", "u1", "joe@a")
    assert books.counts() == {"once": 1, "lost": 1}


def test_other_octets_are_altered(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1", digest="e")
    assert books.counts() == {"altered": 1}


def test_two_files_are_doubled(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.fetched("t1", "u2", at=3.0)
    assert books.counts() == {"doubled": 1}


def test_a_file_that_a_session_got_which_did_not_end_is_no_double_while_no_other_one_gets_it(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.deleted("u1", ended="uncommit")
    assert books.counts() == {"once": 1}


def handed_out_again(books: Written, why: str = "no reply to QUIT") -> None:
    """RETR at 2 s in a session that ends at 5 s without the reply to QUIT, and RETR in another one at 9 s."""
    books.sent("t1")
    books.fetched("t1", "u1", at=2.0)
    books.deleted("u1", at=5.0, ended="uncommit", why=why)
    books.fetched("t1", "u1", at=9.0, session=2)
    books.deleted("u1", at=9.5, session=2)


@pytest.mark.parametrize(
    ("kind", "target", "from_s", "until_s", "verdict"),
    [
        ("kill", "pop3", 3.0, 4.0, "explained"),
        ("partition", "pop3", 1.0, 2.5, "explained"),
        ("read-only", "popboxes", 4.0, 8.0, "explained"),
        ("kill", "smtp", 3.0, 4.0, "doubled"),
        ("fill", "queue", 3.0, 4.0, "doubled"),
        ("kill", "pop3", 0.5, 1.5, "doubled"),
        ("kill", "pop3", 6.0, 7.0, "doubled"),
    ],
)
def test_what_pop3_hands_out_again_is_explained_by_a_fault_of_pop3_between_retr_and_the_end_of_its_session(
    books: Written, kind: str, target: str, from_s: float, until_s: float, verdict: str
) -> None:
    books.broke(kind, target, from_s, until_s)
    handed_out_again(books)
    found = books.verdict()
    assert {name: many for name, many in found.counts.items() if many} == {verdict: 1}
    [case] = found.cases
    assert case.why.startswith("2 times handed out: u1")
    assert (f"{kind} {target} at {from_s - 1.0:.1f} s" in case.why) == (verdict == "explained")
    assert ("no reply to QUIT" in case.why) == (verdict == "doubled")


def test_what_pop3_hands_out_again_with_nothing_broken_is_doubled(books: Written) -> None:
    handed_out_again(books)
    assert books.counts() == {"doubled": 1}


def test_a_fetch_that_was_ended_itself_explains_that_it_gets_the_file_again(books: Written) -> None:
    handed_out_again(books, FETCH_ENDED)
    assert books.counts() == {"explained": 1}


def test_of_two_sessions_that_did_not_end_each_must_be_explained(books: Written) -> None:
    books.broke("kill", "pop3", 3.0, 4.0)
    handed_out_again(books)
    books.sent("t2", at=20.0)
    for session, at in ((3, 21.0), (4, 31.0), (5, 41.0)):
        books.fetched("t2", "u2", at=at, session=session)
        books.deleted("u2", at=at + 5, session=session, ended="commit" if session == 5 else "uncommit")
    books.broke("kill", "pop3", 22.0, 23.0)
    assert books.counts() == {"explained": 1, "doubled": 1}


@pytest.mark.parametrize(
    ("kind", "target", "verdict"),
    [
        ("kill", "smtp", "explained"),
        ("restart", "smtp", "explained"),
        ("fill", "queue", "explained"),
        ("pause", "smtp", "doubled"),
        ("partition", "smtp", "doubled"),
        ("kill", "pop3", "doubled"),
        ("restart", "pop3", "doubled"),
    ],
)
def test_two_files_are_explained_by_a_crash_of_the_mta_and_by_nothing_of_pop3(
    books: Written, kind: str, target: str, verdict: str
) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.broke(kind, target, 1.5, 2.5)
    books.fetched("t1", "u2", at=3.0)
    found = books.verdict()
    assert {name: many for name, many in found.counts.items() if many} == {verdict: 1}
    assert (f"{kind} {target} at 0.5 s" in found.cases[0].why) == (verdict == "explained")


def test_a_crash_between_both_copies_explains_the_second(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.broke("kill", "smtp", 1.5, 2.5)
    books.fetched("t1", "u2", at=3.0)
    assert books.counts() == {"explained": 1}


def log_of(*deliveries: str) -> list[str]:
    """What the log says of one message to joe@a: deliveries by their numbers, with ``BEGAN`` between."""
    lines = []
    for one in deliveries:
        starts = [f"starting delivery {one}: msg 8 to local a-joe@a", f"delivery {one}: success: did_1+0+0/"]
        lines += [BEGAN] if one == BEGAN else starts
    return lines


@pytest.mark.parametrize(
    ("log", "verdict"),
    [
        (log_of("3", "9"), "doubled"),
        (log_of("3", BEGAN, "9"), "explained"),
        (log_of("3", BEGAN, "2", "9"), "doubled"),
        ([*log_of("3"), "starting delivery 9: msg 8 to local a-ann@a", "delivery 9: success: did_1+0+0/"], "explained"),
        ([*log_of("3")[:1], *log_of("9")], "explained"),
    ],
    ids=["one life", "two lives", "twice in the second", "to another box", "no end of the first"],
)
def test_two_deliveries_in_one_life_of_the_mta_are_explained_by_no_crash(
    books: Written, tmp_path: Path, log: list[str], verdict: str
) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.broke("kill", "smtp", 1.5, 2.5)
    books.fetched("t1", "u2", at=3.0)
    (tmp_path / EVIDENCE).write_text(json.dumps({"t1": log}))
    found = books.verdict()
    assert {name: many for name, many in found.counts.items() if many} == {verdict: 1}
    assert [(one.verdict, one.log) for one in found.cases] == [(verdict, tuple(log))]


def test_a_case_has_the_journey_of_its_message_and_of_no_other(books: Written) -> None:
    books.sent("t1")
    books.sent("t2")
    books.fetched("t1", "u1")
    books.deleted("u1")
    books.fetched("t1", "u2", at=3.0)
    books.fetched("t2", "u3", at=3.0)
    [case] = books.verdict().cases
    assert case.journey == (
        "0.00 s: accepted: 250 ok",
        "1.00 s: listed as u1",
        "1.00 s: handed out as u1, 9 octets, session 1 of worker",
        "1.50 s: DELE u1, session 1 of worker",
        "1.50 s: QUIT was answered with +OK, session 1 of worker",
        "2.00 s: listed as u2",
        "2.00 s: handed out as u2, 9 octets, session 1 of worker",
    )


def test_of_a_message_that_is_nowhere_it_is_said_what_the_host_does_with_its_address(
    books: Written, tmp_path: Path
) -> None:
    books.sent("t1")
    (tmp_path / EXPLAINED).write_text(json.dumps({"joe@a": ["bounced", "no mailbox here by that name"]}))
    assert (
        books.verdict()
        .cases[0]
        .why.endswith("; by `mailhost explain` mail for it is bounced: no mailbox here by that name")
    )


def test_a_crash_long_before_explains_nothing(books: Written) -> None:
    books.broke("kill", "smtp", 1.0, 2.0)
    books.sent("t1", at=100.0)
    books.fetched("t1", "u1", at=101.0)
    books.fetched("t1", "u2", at=102.0)
    assert books.counts() == {"doubled": 1}


def test_a_crash_after_both_were_listed_explains_nothing_though_one_was_fetched_later(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.worker.write("list", at_ns=ns(2.0), box="joe@a", uidl="u2", session=1)
    books.broke("kill", "smtp", 5.0, 6.0)
    books.fetched("t1", "u2", at=9.0)
    assert books.counts() == {"doubled": 1}


def test_a_crash_after_both_copies_explains_nothing(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.fetched("t1", "u2", at=3.0)
    books.broke("kill", "smtp", 5.0, 6.0)
    assert books.counts() == {"doubled": 1}


def test_a_message_in_the_neighbours_box_is_misdelivered_and_lost_to_its_own(books: Written) -> None:
    books.sent("t1", "joe@a")
    books.fetched("t1", "u1", "ann@a")
    assert books.counts() == {"misdelivered": 1, "lost": 1}


def test_a_message_that_was_not_sent_is_a_stranger(books: Written) -> None:
    books.fetched("t9", "u1")
    assert books.counts() == {"stranger": 1}


def test_mail_that_is_handed_out_after_its_deletion_was_committed_has_returned(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.deleted("u1")
    books.fetched("t1", "u1", at=9.0, session=2)
    assert books.counts() == {"once": 1, "returned": 1}


def test_one_uidl_for_two_messages_is_renumbered(books: Written) -> None:
    books.sent("t1")
    books.sent("t2")
    books.fetched("t1", "1")
    books.fetched("t2", "1", session=2)
    assert books.counts() == {"once": 2, "renumbered": 1}


def test_a_message_that_changed_its_uidl_is_renumbered_and_not_doubled(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.worker.write("vanish", box="joe@a", uidl="u1", session=2)
    books.fetched("t1", "u2", at=9.0, session=2)
    assert books.counts() == {"renumbered": 1}


def test_a_uidl_that_was_only_listed_and_vanished_is_renumbered(books: Written) -> None:
    books.sent("t1")
    books.worker.write("list", at_ns=ns(2.0), box="joe@a", uidl="u1", session=1)
    books.worker.write("vanish", at_ns=ns(3.0), box="joe@a", uidl="u1", session=2)
    books.fetched("t1", "u2", at=3.0, session=2)
    assert books.counts() == {"once": 1, "renumbered": 1}


@pytest.mark.parametrize("said", ["unsure", "refuse"])
def test_what_the_host_did_not_accept_may_be_missing(books: Written, said: str) -> None:
    books.sent("t1", said=said)
    assert books.counts() == {}


def test_what_was_unsure_and_came_is_once(books: Written) -> None:
    books.sent("t1", said="unsure")
    books.fetched("t1", "u1")
    assert books.counts() == {"once": 1}
