"""The four legs of a proof: what each says, its verdict, and its time since the send, from made-up evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.popbox.ledger.test_rules import BOX, DELIVERED, SENT, handed, stored, story
from tests.popbox.ledger.test_rules import SOUND as WITHOUT_LINES

from popbox.clients.smtp import Receipt, Reply
from popbox.errors import ConnectionFailed
from popbox.ledger.expectation import Expectation
from popbox.ledger.judge import Evidence
from popbox.ledger.legs import TICK_S, Fetched, legs
from popbox.ledger.proof import Disposition, LegStatus, MaildirLeg, Pop3Leg, QueueLeg, SmtpLeg
from popbox.ledger.sent import Sent

PASSED, FAILED, NOT = LegStatus.PASSED, LegStatus.FAILED, LegStatus.NOT_LOOKED_AT
ONCE = Expectation(frozenset({Disposition.ONCE}), "delivered", bound=True)
BOUNCED = Expectation(frozenset({Disposition.BOUNCED}), "bounced", bound=True)
REFUSED = Expectation(frozenset({Disposition.SMTP}), "refused", bound=False)
AT = 1_700_000_000.0
TOOK = Receipt(True, "DATA", Reply(250, ("ok 1 qp 9",)), ("C: DATA",))
NO = Receipt(False, "RCPT", Reply(553, ("no",)), ("C: RCPT",))


TAI = "@400000006553f10c00000000 "  # AT + 2 s


def logged(*words: str, ended: bool = True) -> Evidence:
    family = [DELIVERED if ended else replace(DELIVERED, ended_at=None)]
    return replace(WITHOUT_LINES, family=family, lines=tuple(TAI + one for one in words))


SOUND = logged("end msg 7")


def sent(receipt: Receipt | None = TOOK, broke: ConnectionFailed | None = None) -> Sent:
    return Sent("one", "pb-1", SENT, "a@b", ("joe@c",), (), 1, AT, 0.5, receipt, broke)


def looked(
    seen: Evidence = SOUND,
    fate: Disposition = Disposition.ONCE,
    right: Expectation = ONCE,
    message: Sent | None = None,
    fetched: Fetched | None = None,
) -> tuple[SmtpLeg, QueueLeg, MaildirLeg, Pop3Leg]:
    return legs(message or sent(), seen, right, fate, "the reason", fetched or {})


def at(seen: Evidence, mtime: float) -> Evidence:
    """The same with its file's time, and its log's."""
    file = seen.stored[0]
    return replace(seen, stored=[replace(file, entry=replace(file.entry, mtime=mtime))])


# SMTP


def test_what_smtp_answered() -> None:
    leg = looked()[0]
    assert leg == SmtpLeg(
        verdict=PASSED, said="250 ok 1 qp 9", at_s=0.5, command="DATA", reply="250 ok 1 qp 9", transcript=("C: DATA",)
    )


@pytest.mark.parametrize(("right", "verdict"), [(ONCE, FAILED), (REFUSED, PASSED)])
def test_a_refusal_is_right_where_it_was_expected(right: Expectation, verdict: LegStatus) -> None:
    leg = looked(right=right, message=sent(NO))[0]
    assert (leg.verdict, leg.said, leg.reply) == (verdict, "refused at RCPT: 553 no", "553 no")


def test_an_acceptance_passes_where_a_refusal_was_expected_for_the_fate_says_so() -> None:
    assert looked(right=REFUSED)[0].verdict is PASSED


@pytest.mark.parametrize("transcript", [(), ("C: DATA",)])
def test_a_conversation_that_broke(transcript: tuple[str, ...]) -> None:
    error = ConnectionFailed("reset")
    error.transcript = transcript
    assert looked(message=sent(None, error))[0] == SmtpLeg(
        verdict=FAILED, said="the conversation broke: reset", at_s=0.5, transcript=transcript
    )
    assert looked(message=sent(None))[0].transcript == ()


# The queue


def test_what_was_refused_or_has_no_log_is_not_looked_at() -> None:
    assert looked(message=sent(NO))[1] == QueueLeg(verdict=NOT, said="SMTP did not take it")
    assert looked(replace(SOUND, no_log="none here"))[1] == QueueLeg(verdict=NOT, said="none here")


def test_the_queue_leg_says_how_each_delivery_ended_and_when_the_last() -> None:
    leg = looked(logged("new msg 7", "end msg 7"))[1]
    assert leg == QueueLeg(verdict=PASSED, said="joe@c: success", at_s=2.0, log=(f"{TAI}new msg 7", f"{TAI}end msg 7"))
    assert looked(logged("new msg 7", ended=False))[1].at_s is None
    two = [*SOUND.family, *logged("new msg 8", ended=False).family]
    assert looked(replace(SOUND, family=two))[1].at_s is None
    assert looked(replace(SOUND, family=[], lines=()))[1] == QueueLeg(verdict=PASSED, said="nothing is logged of it")


@pytest.mark.parametrize(
    "fate", [Disposition.QUEUE, Disposition.DEFERRED, Disposition.BOUNCED, Disposition.REMOTE, Disposition.DISCARDED]
)
def test_what_ends_in_the_queue_fails_there_unless_expected(fate: Disposition) -> None:
    family = story("failure", ended=False)
    leg = looked(replace(SOUND, family=family), fate)[1]
    assert (leg.verdict, leg.said) == (FAILED, f"{fate.value}: the reason")
    assert (
        looked(replace(SOUND, family=family), fate, Expectation(frozenset({fate}), "", bound=True))[1].verdict is PASSED
    )


@pytest.mark.parametrize("fate", [Disposition.LOST, Disposition.POP3, Disposition.ONCE])
def test_what_goes_wrong_elsewhere_does_not_fail_in_the_queue(fate: Disposition) -> None:
    assert (looked(fate=fate)[1].verdict, looked(fate=fate)[1].said) == (PASSED, "joe@c: success")


# The Maildir


def test_what_lies_where() -> None:
    leg = looked(at(SOUND, AT + 3.25))[2]
    path = f"{BOX}/new/1.2.mx"
    said = f"{path}: {SOUND.stored[0].entry.size} octets, mode 0600, owner 888:888"
    assert (leg.verdict, leg.said, leg.at_s, leg.expected) == (PASSED, said, 3.25, (BOX,))
    assert [one.path for one in leg.copies] == [path]


def test_the_time_is_that_of_the_last_copy() -> None:
    one, two = at(SOUND, AT + 1), at(SOUND, AT + 2)
    assert looked(replace(SOUND, stored=[*two.stored, *one.stored]))[2].at_s == 2.0


@pytest.mark.parametrize(
    ("mtime", "at_s"),
    [(AT, 0.0), (AT - 0.015, 0.0), (AT - 0.5, None), (AT + 86_400, 86_400.0), (AT + 86_401, None)],
)
def test_a_time_that_two_clocks_disagree_on_is_not_shown(mtime: float, at_s: float | None) -> None:
    assert looked(at(SOUND, mtime))[2].at_s == at_s


@pytest.mark.parametrize(("mtime", "at_s"), [(-TICK_S, 0.0), (1.12345678, 1.123457)])
def test_the_last_tick_before_the_send_counts_and_times_have_microseconds(mtime: float, at_s: float) -> None:
    begun = sent()
    begun.at = 0.0
    assert looked(at(SOUND, mtime), message=begun)[2].at_s == at_s


def test_a_bounce_is_shown_and_an_empty_box_is_said() -> None:
    report = replace(stored(), kind="bounce")
    none = replace(SOUND, stored=[], handed=[], expected=())
    leg = looked(replace(none, bounces=[report]), Disposition.BOUNCED, BOUNCED)[2]
    assert (leg.verdict, leg.said) == (PASSED, f"its bounce: {BOX}/new/1.2.mx")
    assert [one.kind for one in leg.copies] == ["bounce"]
    assert looked(none)[2].said == "no file below popboxes/ holds it"
    assert looked(none)[2].at_s is None


@pytest.mark.parametrize(
    ("seen", "fate", "right", "verdict"),
    [
        (SOUND, Disposition.WRONG_MODE, ONCE, FAILED),
        (SOUND, Disposition.WRONG_MODE, Expectation(frozenset({Disposition.WRONG_MODE}), "", bound=True), PASSED),
        (replace(SOUND, stored=[], handed=[]), Disposition.BOUNCED, ONCE, FAILED),  # it should be there and is not
        (replace(SOUND, stored=[], handed=[]), Disposition.BOUNCED, BOUNCED, PASSED),
        (replace(SOUND, stored=[]), Disposition.BOUNCED, ONCE, FAILED),
        (
            replace(SOUND, stored=[], handed=[handed(deleted=True)]),
            Disposition.ONCE,
            ONCE,
            PASSED,
        ),  # a session took it away
        (
            replace(SOUND, stored=[], handed=[], expected=None),
            Disposition.BOUNCED,
            ONCE,
            PASSED,
        ),  # no place was expected
        (SOUND, Disposition.POP3, ONCE, PASSED),
    ],
)
def test_the_maildir_fails_for_its_own_faults_and_for_what_is_missing(
    seen: Evidence, fate: Disposition, right: Expectation, verdict: LegStatus
) -> None:
    leg = looked(seen, fate, right)[2]
    assert leg.verdict is verdict
    assert (leg.said == "the reason") is (fate is Disposition.WRONG_MODE)


def test_a_host_without_files_is_not_looked_at() -> None:
    leg = looked(replace(SOUND, no_files="not shown"))[2]
    assert leg == MaildirLeg(verdict=NOT, said="not shown", expected=(BOX,))


# POP3


def test_what_pop3_handed_out_and_when_first() -> None:
    seen = replace(SOUND, handed=[replace(handed(), at=AT + 9), replace(handed(), at=AT + 4, login="", by="step 2")])
    leg = looked(seen)[3]
    said = "RETR 1 of joe (popbox); RETR 1 of an unknown login (step 2)"
    assert (leg.verdict, leg.said, leg.at_s) == (PASSED, said, 4.0)
    assert leg.retrieved == tuple(one.shown() for one in seen.handed)


@pytest.mark.parametrize(
    ("seen", "fate", "said"),
    [
        (
            replace(SOUND, handed=[handed(), handed(listed=1)]),
            Disposition.ONCE,
            "RETR 1 of joe (popbox): LIST says 1 octets",
        ),
        (replace(SOUND, handed=[handed(b"other\n")]), Disposition.ONCE, "RETR 1 of joe (popbox)"),
        (replace(SOUND, unserved=("it lies there",)), Disposition.POP3, "it lies there"),
        (SOUND, Disposition.POP3, "RETR 1 of joe (popbox)"),
        (replace(SOUND, no_files="none", twins=("RETR 2",)), Disposition.DOUBLED, "RETR 1 of joe (popbox); RETR 2"),
    ],
)
def test_pop3_fails_for_what_it_handed_out(seen: Evidence, fate: Disposition, said: str) -> None:
    leg = looked(seen, fate)[3]
    assert leg.verdict is FAILED
    assert leg.said.startswith(said)
    assert "(popbox); RETR 1 of joe (popbox)" not in leg.said, "of several only the faulty ones"
    assert len(leg.retrieved) == len(seen.handed)


def test_two_files_are_no_fault_of_pop3() -> None:
    assert looked(fate=Disposition.DOUBLED)[3].verdict is PASSED
    assert looked(replace(SOUND, no_files="none"))[3].verdict is PASSED


NOT_FETCHED = replace(SOUND, handed=[])
JOE = BOX.removesuffix("/Maildir")


@pytest.mark.parametrize(
    ("seen", "fetched", "said"),
    [
        (NOT_FETCHED, {}, f"no login with a known password leads to {JOE}"),
        (NOT_FETCHED, {JOE: "refused", "popboxes/c/eve": "other"}, "refused"),
        (NOT_FETCHED, {JOE: []}, f"no login with a known password leads to {JOE}"),
        (replace(NOT_FETCHED, stored=[]), {}, "there is nothing to hand out"),
        (
            replace(NOT_FETCHED, stored=[replace(stored(place="popboxes/c/joe/Mailbox"), kind="mbox")]),
            {},
            "POP3 hands out Maildirs, no mbox files",
        ),
    ],
)
def test_what_was_not_fetched_says_why(seen: Evidence, fetched: Fetched, said: str) -> None:
    leg = looked(seen, fetched=fetched)[3]
    assert leg == Pop3Leg(verdict=NOT, said=said)
