"""A log's lines become stories of messages: numbers that come again, a log cut at its start, bounces, clocks."""

from __future__ import annotations

import pytest

from popbox.journey.join.maillog import stamp
from popbox.ledger.log import Attempt, stories

BOUNCED = """\
new msg 7
info msg 7: bytes 194 from <a@b.org> qp 41 uid 1001
starting delivery 1: msg 7 to remote x@y.org
delivery 1: failure: No_such_host/
bounce msg 7 qp 43
end msg 7
"""


def test_a_bounce_is_told_of_the_message_that_it_is_for() -> None:
    (story,) = stories(BOUNCED)
    assert (story.number, story.sender, story.queued_as, story.bounce, story.ended) == (
        "7",
        "a@b.org",
        "41",
        "43",
        True,
    )
    assert story.attempts == [Attempt("x@y.org", "failure", "No such host", "remote")]
    assert story.lines == BOUNCED.splitlines()
    assert story.pending() == []


def test_a_number_that_comes_again_is_another_message() -> None:
    first, second = stories(BOUNCED + BOUNCED.replace("qp 41", "qp 44").replace("qp 43", "qp 45"))
    assert [(one.queued_as, one.bounce, len(one.lines)) for one in (first, second)] == [
        ("41", "43", 6),
        ("44", "45", 6),
    ]


def test_a_log_that_begins_after_new_msg_has_its_message_all_the_same() -> None:
    (story,) = stories(BOUNCED.partition("\n")[2])
    assert (story.queued_as, story.bounce, len(story.lines)) == ("41", "43", 5)


def test_lines_of_messages_that_began_before_the_log_are_nobodys() -> None:
    ends = "delivery 9: success: did_1+0+0/\nbounce msg 8 qp 40\nend msg 8\nstarting delivery 3: msg 8 to local x\n"
    assert [story.lines for story in stories(ends + BOUNCED)] == [BOUNCED.splitlines()]


def test_what_is_not_at_its_end_is_pending() -> None:
    lines = BOUNCED.splitlines(keepends=True)
    retried = "".join(lines[:3]) + "delivery 1: deferral: later/\nstarting delivery 2: msg 7 to local joe\n"
    (story,) = stories(retried)
    assert [(one.recipient, one.outcome) for one in story.pending()] == [("x@y.org", "deferral"), ("joe", "running")]


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
