"""The verdict on each message, from journals: what was accepted against what POP3 handed out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.popbox.load.books import Written, ns

from popbox.load.books.judge import FOUND


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
    (tmp_path / FOUND).write_text(json.dumps({"t1": ["the queue"]}))
    assert books.counts() == {"not yet": 1}


def test_a_message_whose_report_came_back_is_bounced(books: Written) -> None:
    books.sent("t1")
    books.worker.write("bounce", token="t1", box="bounces@a", uidl="u1", session=1)
    assert books.counts() == {"bounced": 1}


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


def test_the_same_file_fetched_twice_is_no_double(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.deleted("u1", ended="uncommit")
    books.fetched("t1", "u1", at=5.0, session=2)
    assert books.counts() == {"once": 1}


def test_a_crash_between_both_copies_explains_the_second(books: Written) -> None:
    books.sent("t1")
    books.fetched("t1", "u1")
    books.broke("kill", "smtp", 1.5, 2.5)
    books.fetched("t1", "u2", at=3.0)
    assert books.counts() == {"explained": 1}


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
