"""The end of a scenario on a made-up host: what is waited for, what is looked at, what it proves."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.popbox.fakehost import HOME
from tests.popbox.ledger.made_up import (
    BAD,
    BOX,
    DONE,
    FAILED,
    KEPT,
    LATER,
    LOG,
    NOW,
    SENT,
    Clock,
    Run,
    entry,
    found,
    sent,
)
from tests.popbox.ledger.test_pickup import conversation
from tests.popbox.peer import peer

from popbox.errors import ConnectionFailed, HostError
from popbox.hosts.base import Found
from popbox.journey.model import Foretold
from popbox.ledger import reconcile as ledger
from popbox.ledger.boxes import Login
from popbox.ledger.proof import Disposition, LegStatus
from popbox.ledger.reconcile import reconcile
from popbox.ledger.sent import Sent
from popbox.scenario.names import HOWTO_HASH


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock.of_the_ledger(monkeypatch)


def test_without_a_message_nobody_looks() -> None:
    run = Run()
    run.context.offered = []
    run.host.broke = "not asked"
    assert reconcile(run.context, []) == ()


def test_a_message_that_came_is_proved_with_all_its_figures() -> None:
    proof = Run(found()).proof()
    assert (proof.ended, proof.verdict, proof.why) == (
        Disposition.ONCE,
        LegStatus.PASSED,
        f"one file: {BOX}/new/1.2.mx",
    )
    assert (proof.id, proof.token, proof.sender, proof.recipients) == ("one", "pb-1", "a@b", ("joe@c",))
    assert (proof.octets, proof.sha256) == (len(SENT), hashlib.sha256(SENT).hexdigest())
    assert proof.sent_at == datetime.fromtimestamp(NOW - 90, UTC)
    assert proof.expected == f"joe@c: delivered, {BOX} (mailhost explain)"
    assert [leg.verdict for leg in proof.legs] == [LegStatus.PASSED] * 3 + [LegStatus.NOT_LOOKED_AT]


# The log


def test_it_waits_until_the_mta_has_ended_it(clock: Clock) -> None:
    run = Run(found())
    run.said = ["", LOG, LOG, DONE]
    assert run.proof().ended is Disposition.ONCE
    assert clock.now == NOW + 1.5


@pytest.mark.parametrize(
    ("log", "at_rest"),
    [
        (DONE, True),
        (LATER, True),
        (f"{LATER}starting delivery 2: msg 7 to local joe@c\n", False),
        (LOG, False),
        ("new msg 7\ninfo msg 7: bytes 99 from <a@b> qp 9 uid 1\n", False),
        ("", False),
        (f"{LOG}delivery 1: success: did_0+1+0/qp_12/\nend msg 7\n", False),  # where is the copy?
        (
            f"{LOG}delivery 1: success: did_0+1+0/qp_12/\nend msg 7\n"
            "new msg 8\ninfo msg 8: bytes 99 from <a@b> qp 12 uid 1\nstarting delivery 2: msg 8 to local eve@c\n",
            False,
        ),
        (
            f"{LOG}delivery 1: success: did_0+1+0/qp_12/\nend msg 7\n"
            "new msg 8\ninfo msg 8: bytes 99 from <a@b> qp 12 uid 1\nstarting delivery 2: msg 8 to local eve@c\n"
            "delivery 2: success: did_1+0+0/\nend msg 8\n",
            True,
        ),
    ],
)
def test_it_waits_for_every_delivery_and_every_copy(clock: Clock, log: str, at_rest: bool) -> None:
    Run(found(), log=log).proof()
    assert clock.now == (NOW if at_rest else NOW + ledger.DRAIN_S)


def test_a_dead_mta_is_not_waited_for(clock: Clock) -> None:
    run = Run(log=LOG)
    run.host.ended = {"smtp": "killed by signal 9"}
    assert run.proof().ended is Disposition.QUEUE
    assert clock.now == NOW
    run = Run(log="")
    run.host.ended = {"smtp": "killed by signal 9"}
    assert run.proof().why.endswith("; the MTA: killed by signal 9")


def test_a_refused_message_is_not_waited_for(clock: Clock) -> None:
    proof = Run(log="", message=sent(accepted=False, route=BAD)).proof()
    assert (proof.ended, clock.now) == (Disposition.SMTP, NOW)
    assert proof.why == "refused at RCPT: 553 no; explain joe@c: no mailbox here"


def test_a_host_without_a_log_says_why() -> None:
    class NoLog(Run):
        def log(self, service: str) -> str:
            raise HostError("no log here", "tail")

    run = NoLog(found())
    assert run.proof().legs[1].said == "no log here"


# The files


def test_a_young_copy_is_looked_at_again(clock: Clock) -> None:
    run = Run()
    run.host.searches = [[found(mtime=NOW - 1.0)], [found(), found(f"{BOX}/new/2.2.mx")]]
    assert run.proof().ended is Disposition.DOUBLED
    assert clock.waits[0] == 0.5
    other = Run(found(mtime=NOW - 60))
    clock.waits.clear()
    assert (other.proof().ended, clock.waits) == (Disposition.ONCE, [])
    due = Run(found(mtime=clock.now - ledger.LATE_S))
    assert (due.proof().ended, clock.waits) == (Disposition.ONCE, [])
    ahead = Run(found(mtime=NOW + 500))
    ahead.proof()
    assert clock.waits[0] == ledger.LATE_S, "a clock that is ahead is not waited for"


@pytest.mark.parametrize("outcome", ["unknown", "deferred"])
def test_where_no_place_was_expected_the_log_is_what_counts(outcome: str) -> None:
    proof = Run(found(), message=sent(route=Foretold("joe@c", outcome, "cannot say"))).proof()
    assert proof.ended is Disposition.ONCE
    assert proof.why == f"one file: {BOX}/new/1.2.mx"


TWIN = b"Subject: s\n\none\n"


@pytest.mark.parametrize(
    ("lies", "fate"),
    [
        (found(f"{BOX}/new/3", TWIN), Disposition.DOUBLED),
        (found(f"{BOX}/new/3", b"X-Popbox-Token: pb-2\n" + TWIN), Disposition.DOUBLED),
        (found(f"{BOX}/new/3", b"Subject: other\n\ntwo\n"), Disposition.ONCE),
        (found(f"{BOX}/new/3", b"Return-Path: <>\n\nSorry\n\n" + SENT), Disposition.ONCE),  # its bounce
        (found(f"{BOX}/new/3", b"A: b\n\n" + SENT), Disposition.DOUBLED),
        (found(f"{BOX}/cur/old:2,S", TWIN), Disposition.ONCE),  # it was there before
    ],
)
def test_what_is_new_in_a_box_and_not_ours_may_be_a_copy(lies: Found, fate: Disposition) -> None:
    run = Run(found())
    run.context.before = {BOX: frozenset({"old"})}
    run.host.lying = [found(), lies]
    proof = run.proof()
    assert proof.ended is fate
    assert (f"{BOX}/{lies.entry.path}" in proof.why) is (fate is Disposition.DOUBLED)


def test_a_copy_that_lies_elsewhere_than_expected_is_in_the_wrong_place() -> None:
    elsewhere = "popboxes/c/eve/Maildir"
    proof = Run(found(f"{elsewhere}/new/1.2.mx")).proof()
    assert (proof.ended, proof.why) == (Disposition.WRONG_PLACE, f"it lies in {elsewhere}, and not in {BOX}")


def test_a_box_that_holds_but_the_bounce_is_not_logged_in_to() -> None:
    run = Run(found(octets=b"Return-Path: <>\n\nSorry\n\n" + SENT), log=FAILED, message=sent(route=BAD))
    run.host.files = {"users/poppasswd": ROW}
    with peer([*GREETED, b"+OK 0 0\r\n"]) as other:
        run.host.serves = {"pop3": other.address}
        assert run.proof().ended is Disposition.BOUNCED
    assert other.heard == []


def test_files_that_nobody_can_read_are_named() -> None:
    run = Run(Found(entry(f"{BOX}/new/secret"), b"", readable=False))
    proof = run.proof()
    assert proof.ended is Disposition.LOST
    assert proof.why.endswith(f"; only root can read {BOX}/new/secret")


def test_the_mta_that_bounced_against_the_rules_fails_and_the_other_way_round() -> None:
    assert (Run(log=FAILED).proof().verdict, Run(log=FAILED).proof().ended) == (LegStatus.FAILED, Disposition.BOUNCED)
    report = found(octets=b"Return-Path: <>\n\nSorry\n\n" + SENT)
    proof = Run(report, log=FAILED, message=sent(route=BAD)).proof()
    assert (proof.verdict, proof.ended) == (LegStatus.PASSED, Disposition.BOUNCED)
    assert proof.why == "joe@c: no; explain joe@c: no mailbox here"
    assert [one.kind for one in proof.legs[2].copies] == ["bounce"]


@pytest.mark.parametrize(
    ("route", "why"),
    [
        (Foretold("joe@c", "delivered", "users/assign:1", (BOX,)), "joe@c: no"),
        (Foretold("joe@c", "deferred", ""), "joe@c: no"),
        (BAD, "joe@c: no; explain joe@c: no mailbox here"),
    ],
)
def test_the_rules_are_quoted_where_they_say_that_it_does_not_come(route: Foretold, why: str) -> None:
    assert Run(log=FAILED, message=sent(route=route)).proof().why == why


@pytest.mark.parametrize("taken", [True, False])
def test_what_smtp_did_not_take_must_be_nowhere(taken: bool) -> None:
    broke = {} if taken else {"receipt": None, "broke": ConnectionFailed("reset")}
    how = "refused at RCPT: 553 no" if taken else "the conversation broke: reset"
    run = Run(found(), log="", message=sent(accepted=False, **broke))
    assert (run.proof().ended, run.proof().why) == (
        Disposition.WRONG_PLACE,
        f"{how}; and yet it lies in {BOX}/new/1.2.mx",
    )
    twin = Run(log="", message=sent(accepted=False, **broke))
    twin.host.lying = [found("new/3", TWIN)]
    assert twin.proof().why == f"{how}; and yet it lies in {BOX}/new/3"
    none = Run(log="", message=sent(accepted=False, **broke))
    assert (none.proof().ended, none.proof().why) == (Disposition.SMTP, how)
    read = Run(log="", message=sent(accepted=False, **broke))
    read.context.played = [(2, session())]
    assert read.proof().why == f"{how}; and yet RETR 1 of joe is it"


# POP3


def session() -> Any:
    """A scenario's own conversation that fetched the message."""
    message = (f"S {line}" for line in KEPT.decode().splitlines())
    return conversation("S +OK", "C USER joe", "S +OK", "C PASS pw", "S +OK", "C RETR 1", "S +OK", *message, "S .")


GREETED = [b"+OK hi\r\n", b"+OK\r\n", b"+OK\r\n"]
RETR = b"+OK\r\n" + KEPT.replace(b"\n", b"\r\n") + b".\r\n"
ROW = f"joe:{HOWTO_HASH}:popuser:{HOME}/popboxes/c/joe\n".encode()


def test_a_session_of_the_scenario_is_evidence() -> None:
    run = Run(found())
    run.context.played = [(2, session())]
    assert run.proof().legs[3].said == "RETR 1 of joe (step 2)"


def test_a_box_whose_password_is_known_is_logged_in_to() -> None:
    run = Run(found())
    run.host.files = {"users/poppasswd": ROW}
    with peer([*GREETED, b"+OK 1 9\r\n", RETR, b"+OK\r\n1 9\r\n.\r\n"]) as other:
        run.host.serves = {"pop3": other.address}
        run.host.searches = [[Found(entry(), KEPT)]]
        proof = run.proof()
    assert [one.login for one in proof.legs[3].retrieved] == ["joe"]
    assert other.heard[0] == b"USER joe\r\n"


def test_a_box_that_does_not_hand_out_what_lies_there_fails() -> None:
    run = Run(found())
    run.host.files = {"users/poppasswd": ROW}
    with peer([*GREETED, b"+OK 0 0\r\n", b"+OK\r\n.\r\n"]) as other:
        run.host.serves = {"pop3": other.address}
        proof = run.proof()
    assert proof.ended is Disposition.POP3
    assert proof.why == f"it lies in {BOX}/new/1.2.mx, but POP3 lists 0 messages there and none is it"


def test_a_pop3_that_cannot_be_asked_is_no_fault_of_the_message() -> None:
    run = Run(found())
    run.host.files = {"users/poppasswd": ROW}
    proof = run.proof()
    assert (proof.ended, proof.legs[3].verdict) == (Disposition.ONCE, LegStatus.NOT_LOOKED_AT)
    assert proof.legs[3].said.startswith("joe over POP3: pop3 has no port")


@pytest.mark.parametrize(
    ("mtime", "waits"),
    [(NOW - 60, [0.0]), (NOW + 0.25, [1.5, 0.0]), (NOW + 1.6, [1.5, 0.5]), (NOW + 500, [1.5, 1.0])],
)
def test_what_came_this_very_second_is_waited_for_before_pop3_is_asked(
    clock: Clock, mtime: float, waits: list[float]
) -> None:
    run = Run(found(mtime=mtime))
    run.host.files = {"users/poppasswd": ROW}
    run.proof()
    assert clock.waits == waits


# A host that shows no files


def blind(log: str = DONE, message: Sent | None = None) -> Run:
    run = Run(log=log, message=message)
    run.host.broke = "files are not shown"
    return run


def test_without_files_the_sessions_are_the_evidence(clock: Clock) -> None:
    run = blind()
    run.context.played = [(2, session())]
    proof = run.proof()
    assert (proof.ended, clock.waits) == (Disposition.ONCE, [])
    assert proof.why == "POP3 hands it out once; the files were not looked at: files are not shown"
    assert blind().proof().verdict is LegStatus.NOT_LOOKED_AT


LISTED = b"+OK\r\n1 9\r\n2 9\r\n.\r\n"
UIDL = b"+OK\r\n1 aa\r\n2 bb\r\n.\r\n"


@pytest.mark.parametrize(
    ("before", "second", "fate"),
    [
        (frozenset(), b"+OK\r\nSubject: s\r\n\r\none\r\n.\r\n", Disposition.DOUBLED),
        (frozenset(), b"+OK\r\nSubject: other\r\n\r\ntwo\r\n.\r\n", Disposition.ONCE),
        (None, b"+OK\r\nSubject: s\r\n\r\none\r\n.\r\n", Disposition.ONCE),  # it may have been there before
        (frozenset(), RETR, Disposition.DOUBLED),
    ],
)
def test_without_files_a_last_look_at_the_boxes_counts_what_is_new(
    clock: Clock, before: frozenset[str] | None, second: bytes, fate: Disposition
) -> None:
    run = blind()
    with peer(
        [
            *GREETED,
            b"+OK\r\n1 %d\r\n2 %d\r\n.\r\n" % (len(RETR) - 8, len(second) - 8),
            *([] if before is None else [UIDL]),
            second,
            RETR,
        ]
    ) as other:
        run.host.serves = {"pop3": other.address}
        run.context.logins = {"joe": Login("testpw", before)}
        proof = run.proof()
    assert (proof.ended, clock.waits) == (fate, [ledger.REMOTE_LATE_S]), proof.why
    if second != RETR and fate is Disposition.DOUBLED:
        assert "RETR 2 of joe" in proof.why


def test_of_a_refused_message_no_box_is_asked(clock: Clock) -> None:
    run = blind(log="", message=sent(accepted=False))
    run.context.logins = {"joe": Login("testpw", frozenset())}
    assert (run.proof().ended, clock.waits) == (Disposition.SMTP, [])


def test_a_box_that_cannot_be_looked_at_leaves_the_rest_standing() -> None:
    run = blind()
    run.context.logins = {"joe": Login("testpw", frozenset())}
    proof = run.proof()
    assert (proof.verdict, proof.ended) == (LegStatus.NOT_LOOKED_AT, Disposition.UNKNOWN)
