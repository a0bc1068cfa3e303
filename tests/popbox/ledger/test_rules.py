"""The ledger's rules by themselves, without a host: copies, what came over the wire, the verdict, what was expected."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from popbox.clients.body import Body
from popbox.clients.wire import Logged
from popbox.hosts.base import DirEntry, Found
from popbox.journey.model import LEGS, Attempt, Foretold, Leg, Message, Recipient, State
from popbox.ledger.boxes import base, is_copy
from popbox.ledger.copies import Stored, copies, fault, whole
from popbox.ledger.expectation import HONEST, UNREACHED, Taken, expectation
from popbox.ledger.judge import Evidence, judge
from popbox.ledger.pickup import RetrievedMessage
from popbox.ledger.proof import Disposition as Ends
from popbox.scenario.steps import Step

SENT = b"X-Popbox-Token: pb-1\nSubject: s\n\none\n.two\n"
KEPT = b"Return-Path: <a@b>\nDelivered-To: joe@c\n" + SENT
BOX = "popboxes/c/joe/Maildir"


def entry(path: str = f"{BOX}/new/1.2.mx", mode: int = 0o600, uid: int = 888) -> DirEntry:
    return DirEntry(path, mode, uid, 888, len(KEPT), 0.0)


def stored(octets: bytes = KEPT, place: str = BOX, **of_entry: object) -> Stored:
    return Stored(place, entry(f"{place}/new/1.2.mx", **of_entry), octets, "maildir")  # type: ignore[arg-type]


def line(octets: bytes, ended: bytes = b"\r\n") -> Logged:
    return Logged("S", octets.decode("latin-1"), 0.0, octets, ended)


def body(message: bytes = KEPT, status: bytes = b"+OK", extra: tuple[Logged, ...] = ()) -> Body:
    lines = tuple(line(b"." + one if one.startswith(b".") else one) for one in message.split(b"\n")[:-1])
    return Body(line(status), (*lines, *extra), line(b"."))


def handed(message: bytes = KEPT, **more: object) -> RetrievedMessage:
    return RetrievedMessage("popbox", "joe", 1, body(message), 0.0, **more)  # type: ignore[arg-type]


def queued(*attempts: Attempt, ended: bool = True) -> Message:
    """A message of the queue, as its journey has it."""
    smtp, queue, maildir, pop3 = (Leg(name, State.UNKNOWN) for name in LEGS)
    to = [
        Recipient(one.recipient, "", one.channel, (smtp, queue, maildir, pop3), Ends.UNKNOWN, "", attempts=(one,))
        for one in attempts
    ]
    return Message(1, "9", "7", "a@b", 99, 0.0, recipients=tuple(to), ended_at=0.0 if ended else None)


DELIVERED = queued(Attempt("joe@c", "success", "did 1+0+0", kept=1))
SOUND = Evidence(SENT, [DELIVERED], [stored()], [], [handed()], (BOX,), 888)


def story(outcome: str, *, ended: bool = False, channel: str = "local", kept: int | None = None) -> list[Message]:
    return [queued(Attempt("joe@c", outcome, "words", channel, kept), ended=ended)]


NO_FILES = replace(SOUND, stored=[], no_files="not shown", expected=None)
JUDGED: dict[str, tuple[Evidence, Ends, str]] = {
    "sound": (SOUND, Ends.ONCE, f"one file: {BOX}/new/1.2.mx"),
    "cut": (replace(SOUND, stored=[stored(KEPT[:-1])]), Ends.CORRUPTED, "does not end with the octets"),
    "owner": (replace(SOUND, stored=[stored(uid=0)]), Ends.WRONG_OWNER, "belongs to uid 0, not 888"),
    "group may read": (replace(SOUND, stored=[stored(mode=0o640)]), Ends.WRONG_MODE, "mode 0640"),
    "others may read": (replace(SOUND, stored=[stored(mode=0o604)]), Ends.WRONG_MODE, "mode 0604"),
    "twice": (replace(SOUND, stored=[stored(), stored()]), Ends.DOUBLED, "2 files hold it"),
    "twice where two are right": (replace(SOUND, stored=[stored()] * 2, expected=(BOX, BOX)), Ends.ONCE, "one file"),
    "once where two are right": (replace(SOUND, expected=(BOX, BOX)), Ends.LOST, "no file in"),
    "elsewhere": (replace(SOUND, stored=[stored(place="popboxes/c/eve/Maildir")]), Ends.WRONG_PLACE, "and not in"),
    "here and elsewhere": (
        replace(SOUND, stored=[stored(), stored(place="popboxes/c/eve/Maildir")]), Ends.WRONG_PLACE, "it lies in",
    ),
    "nowhere": (replace(SOUND, stored=[], handed=[]), Ends.LOST, "joe@c: success"),
    "nowhere, no log": (replace(SOUND, stored=[], handed=[], family=[], no_log="none"), Ends.LOST, "the MTA took it"),
    "nowhere that may be read": (
        replace(SOUND, stored=[], handed=[], unreadable=("x/new/3",)), Ends.LOST, "only root can read x/new/3",
    ),
    "nowhere yet": (replace(SOUND, stored=[], handed=[], family=story("running")), Ends.QUEUE, "words"),
    "put off": (replace(SOUND, stored=[], handed=[], family=story("deferral")), Ends.DEFERRED, "words (1 attempts)"),
    "bounced": (replace(SOUND, stored=[], handed=[], family=story("failure", ended=True)), Ends.BOUNCED, "words"),
    "never tried": (replace(SOUND, stored=[], handed=[], family=[], dead="killed"), Ends.QUEUE, "killed"),
    "taken away": (replace(SOUND, stored=[], handed=[handed(deleted=True)]), Ends.ONCE, "taken away by popbox"),
    "kept nowhere": (replace(SOUND, stored=[], handed=[], expected=()), Ends.DISCARDED, "keep nothing"),
    "sent on": (
        replace(SOUND, stored=[], handed=[], expected=(), family=story("success", ended=True, channel="remote")),
        Ends.REMOTE, "words",
    ),
    "not expected, as logged": (replace(SOUND, expected=None), Ends.ONCE, "one file"),
    "not expected, twice": (replace(SOUND, expected=None, stored=[stored(), stored()]), Ends.DOUBLED, "2 files"),
    "not expected, lost": (replace(SOUND, expected=None, stored=[], handed=[]), Ends.LOST, "0 of 1 copies"),
    "not expected, kept not said": (
        replace(SOUND, expected=None, stored=[], handed=[], family=story("success", ended=True)),
        Ends.DISCARDED, "keep nothing",
    ),
    "POP3 gives something else": (replace(SOUND, handed=[handed(KEPT + b"more\n")]), Ends.POP3, "not those that were"),
    "POP3 gives another file": (replace(SOUND, handed=[handed(b"X: y\n" + KEPT)]), Ends.POP3, "sent and stored"),
    "POP3 of qmail": (replace(SOUND, handed=[handed(KEPT + b"\n")]), Ends.ONCE, "one file"),
    "POP3 says a wrong size": (replace(SOUND, handed=[handed(listed=1)]), Ends.POP3, "LIST says 1 octets"),
    "POP3 gives it twice": (replace(SOUND, handed=[handed(), replace(handed(), number=2)]), Ends.POP3, "2 numbers"),
    "POP3 in two sessions": (replace(SOUND, handed=[handed(), replace(handed(), by="step 1")]), Ends.ONCE, "one file"),
    "POP3 has it not": (replace(SOUND, unserved=("it lies there, but",)), Ends.POP3, "it lies there, but"),
    "a twin": (replace(SOUND, twins=("x/new/2",)), Ends.DOUBLED, "without its token in the header: x/new/2"),
    "a twin alone": (replace(SOUND, stored=[], handed=[], twins=("x/new/2",)), Ends.CORRUPTED, "x/new/2"),
    "no files": (NO_FILES, Ends.ONCE, "POP3 hands it out once"),
    "no files, twice": (replace(NO_FILES, handed=[handed(), replace(handed(), number=2)]), Ends.DOUBLED, "2 numbers"),
    "no files, a twin": (replace(NO_FILES, twins=("RETR 2",)), Ends.DOUBLED, "RETR 2"),
    "no files, changed": (replace(NO_FILES, handed=[handed(KEPT + b"more\n")]), Ends.POP3, "not those"),
    "no files, nothing": (replace(NO_FILES, handed=[], family=[], no_log="no log"), Ends.UNKNOWN, "no log: no log"),
    "no files, logged": (replace(NO_FILES, handed=[]), Ends.UNKNOWN, "its place is unknown"),
    "no files, put off": (replace(NO_FILES, handed=[], family=story("deferral")), Ends.DEFERRED, "words"),
    "no files, expected to be dropped": (replace(NO_FILES, handed=[], expected=()), Ends.DISCARDED, "keep nothing"),
}  # fmt: skip


@pytest.mark.parametrize("case", JUDGED)
def test_the_verdict(case: str) -> None:
    seen, fate, why = JUDGED[case]
    assert judge(seen)[0] is fate, judge(seen)
    assert why in judge(seen)[1]


def test_only_an_mta_that_ended_is_said_to_have() -> None:
    never = replace(SOUND, stored=[], handed=[], family=[])
    assert judge(never) == (Ends.QUEUE, "accepted, but the log shows no attempt to deliver it")


def test_an_empty_line_more_is_qmail_pop3ds_only_where_no_size_counts_it_in() -> None:
    more = body(KEPT + b"\n")
    assert more.forms(len(KEPT)) == (KEPT + b"\n", KEPT)
    assert more.forms(None) == (KEPT + b"\n", KEPT)
    assert more.forms(len(more.wire)) == (KEPT + b"\n",)
    assert body(KEPT + b"\n", b"+OK %d octets" % len(more.wire)).forms(None) == (KEPT + b"\n",)


def test_what_is_shown_of_a_copy() -> None:
    shown = stored(mode=0o604).shown()
    assert (shown.kind, shown.path, shown.mode, shown.uid, shown.size) == (
        "maildir", f"{BOX}/new/1.2.mx", "0604", 888, len(KEPT),
    )  # fmt: skip
    assert shown.sha256 == hashlib.sha256(KEPT).hexdigest()


def test_a_copy_is_whole_when_only_header_lines_stand_before_it() -> None:
    assert [whole(head + SENT, SENT) for head in (b"", b"A: b\n", b"A: b\n c\n", b"A-b:\n\tc\n")] == [True] * 4
    wrong = (b"A b\n", b"\n", b"A: b\n\n", b"A: b\rB: c\n", b"A: \0\n", b"A: b\r\n", b"A: b")
    assert [whole(head + SENT, SENT) for head in wrong] == [False] * len(wrong)
    assert not whole(SENT + b"\n", SENT)
    authors = (b"Subject: another\n", b"A: b\nfrom: x@y\n", b"Content-Type : text/html\n", b"Bcc: x@y\n")
    assert [whole(head + SENT, SENT) for head in authors] == [False] * 4
    dated = b"Date: d\n" + SENT
    assert [whole(head + dated, dated) for head in (b"Message-ID: <a@b>\n", b"date: e\n")] == [True, False]
    assert fault(stored(), SENT, 888) is None


def test_copies_are_told_apart() -> None:
    def found(path: str, octets: bytes) -> Found:
        return Found(entry(path), octets)

    bounce = b"Return-Path: <>\n\nSorry.\n\n" + SENT
    mbox = b"From a@b Thu\n" + KEPT.replace(b"one\n", b">From one\n") + b"\nFrom c@d Thu\nSubject: x\n\nother\n\n"
    files = [
        found(f"{BOX}/new/1", KEPT),
        found(f"{BOX}/cur/2:2,S", KEPT),
        found(f"{BOX}/tmp/3", KEPT),
        found(f"{BOX}/new/4", bounce),
        found(f"{BOX}/new/5", KEPT.replace(b"pb-1", b"pb-2")),
        found("popboxes/c/joe/Mailbox", mbox),
    ]
    seen = [(one.kind, one.place, one.entry.path.rpartition("/")[2]) for one in copies(files, "pb-1")]
    assert seen == [
        ("maildir", BOX, "1"),
        ("maildir", BOX, "2:2,S"),
        ("bounce", BOX, "4"),
        ("mbox", "popboxes/c/joe/Mailbox", "Mailbox"),
    ]
    assert next(one for one in copies(files[-1:], "pb-1")).octets == KEPT.replace(b"one\n", b"From one\n")


WIRE = len(KEPT) + KEPT.count(b"\n")
WIRES: dict[str, tuple[Body, int | None, str]] = {
    "sound": (body(), WIRE, ""),
    "announced": (body(status=b"+OK %d octets" % WIRE), None, ""),
    "announced wrong": (body(status=b"+OK %d octets follow" % (WIRE - 1)), None, f"announces {WIRE - 1} octets"),
    "other numbers": (body(status=b"+OK 12 messages"), None, ""),
    "listed wrong": (body(), WIRE + 1, f"LIST says {WIRE + 1} octets, and {WIRE} came"),
    "listed without the last line's end": (body(), WIRE - 2, "LIST says"),
    "listed as a file": (body(), len(KEPT), "LIST says"),
    "qmail's": (body(KEPT + b"\n"), len(KEPT), ""),
    "qmail's, without the line": (body(KEPT + b"\n"), WIRE, ""),
    "qmail's, off by one": (body(KEPT + b"\n"), len(KEPT) + 1, "LIST says"),
    "a bare LF": (body(extra=(line(b"x", b"\n"),)), None, "line 8 ends in a bare LF"),
    "a bare LF at first": (replace(body(), status=line(b"+OK", b"\n")), None, "its first line ends in a bare LF"),
    "a bare LF at last": (replace(body(), end=line(b".", b"\n")), None, "line 8 ends in a bare LF"),
    "a dot alone": (body(extra=(line(b".x"),)), None, "line 8 begins with a dot that was not doubled"),
    "512 octets": (body(status=b"+OK " + b"x" * 506), None, ""),
    "513 octets": (body(status=b"+OK " + b"x" * 507), None, "more than 512 octets"),
}


@pytest.mark.parametrize("case", WIRES)
def test_what_came_over_the_wire(case: str) -> None:
    came, listed, wrong = WIRES[case]
    faults = list(came.faults(listed))
    assert len(faults) == bool(wrong), faults
    assert not wrong or wrong in faults[0]


def test_a_body_is_read_up_to_its_dot_and_no_further() -> None:
    log = iter([line(b"a"), line(b"..b", b"\n"), line(b"."), line(b"+OK bye")])
    read = Body.read(line(b"+OK"), log)
    assert read is not None
    assert (read.wire, read.text, next(log).octets) == (b"a\r\n.b\n", b"a\n.b\n", b"+OK bye")
    assert Body.read(line(b"+OK"), iter([line(b"a")])) is None


def test_a_copy_is_known_by_half_of_its_lines() -> None:
    sent = b"X-Popbox-Token: pb-1\nA: 1\nB: 2\n\nthree\nfour\n"
    assert is_copy(b"a:  1\nother\n\n FOUR \n", sent)
    assert not is_copy(b"A: 1\n\nfive\n", sent)
    assert not is_copy(b"X-Popbox-Token: pb-1\n\n", sent), "the token's own line is none that counts"
    assert not is_copy(b"anything", b"X-Popbox-Token: pb-1\n\n")
    assert [base(Found(entry(path), b"")) for path in ("new/1.2.mx", "cur/1.2.mx:2,S")] == ["1.2.mx"] * 2


def taken(number: int, passed: bool = True, **step: object) -> Taken:
    return Taken(number, Step.model_validate({key.replace("_", "-"): spec for key, spec in step.items()}), passed)


TALK = "S: 220...\nC: QUIT\nS: 221..."
SEND = {"from": "a@b", "to": ["joe@c"], "id": "m"}
GOOD = (Foretold("joe@c", "delivered", "", (BOX,)),)
EXPECTED: dict[str, tuple[list[Taken], tuple[Foretold, ...], set[Ends], bool]] = {
    "delivered": ([taken(1, send=SEND)], GOOD, {Ends.ONCE}, True),
    "refused": ([taken(1, send={**SEND, "refused": "553"})], GOOD, {Ends.SMTP}, False),
    "bounced": ([taken(1, send=SEND)], (Foretold("x@c", "bounced", "no"),), {Ends.BOUNCED}, True),
    "deferred": ([taken(1, send=SEND)], (Foretold("x@c", "deferred", "no"),), {Ends.DEFERRED, Ends.BOUNCED}, False),
    "unknown": ([taken(1, send=SEND)], (Foretold("x@c", "unknown", "no"),), set(HONEST - {Ends.SMTP}), False),
    "a claim that passed": (
        [taken(1, send=SEND), taken(2, expect_bounce={"message": "m", "mailbox": "a@b", "says": "x"})],
        GOOD, {Ends.ONCE, Ends.BOUNCED}, True,
    ),
    "a claim that failed": (
        [taken(1, send=SEND), taken(2, passed=False, expect_delivered={"message": "m", "mailbox": "a@b"})],
        (Foretold("x@c", "bounced", "no"),), {Ends.ONCE}, True,
    ),
    "a claim of another message": (
        [taken(1, send=SEND), taken(2, expect_bounce={"message": "n", "mailbox": "a@b", "says": "x"})],
        GOOD, {Ends.ONCE}, True,
    ),
    "a copy goes elsewhere": (
        [taken(1, send=SEND)], (Foretold("x@c", "delivered", "", (BOX,), elsewhere=("remote: a@b",)),),
        {Ends.ONCE, *UNREACHED}, True,
    ),
    "a dialogue": ([taken(1, send={"dialogue": TALK, "id": "m"})], GOOD, {Ends.ONCE, Ends.SMTP}, True),
    "its box is removed": (
        [taken(1, send=SEND), taken(2, **{"break": {"remove": "popboxes/c/joe"}})], GOOD, {Ends.ONCE, Ends.LOST}, True,
    ),
    "another box is removed": (
        [taken(1, send=SEND), taken(2, **{"break": {"remove": "popboxes/c/jo"}})], GOOD, {Ends.ONCE}, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EXPECTED)
def test_which_end_is_right(case: str) -> None:
    steps, routes, fates, bound = EXPECTED[case]
    right = expectation(steps, 1, routes)
    assert (set(right.fates), right.bound) == (fates, bound)
    if case == "delivered":
        assert right.said == f"joe@c: delivered, {BOX} (mailhost explain)"
    if case == "a claim that failed":
        assert right.said == "x@c: bounced, no (mailhost explain); step 2 expect-delivered, which failed"
    if case == "a claim that passed":
        assert right.said.endswith("; step 2 expect-bounce")
    if case == "bounced":
        assert right.said == "x@c: bounced, no (mailhost explain)"


def test_what_was_written_counts_from_the_next_hup() -> None:
    wrote = taken(1, write={"path": "control/virtualdomains", "text": "x"})
    stale = expectation([wrote, taken(2, send=SEND)], 2, GOOD)
    assert stale.said.startswith("no expectation: step 1 changed control/virtualdomains")
    assert not stale.bound
    assert Ends.BOUNCED in stale.fates
    still = expectation([wrote, taken(2, file={"path": "control/me", "has": "x"}), taken(3, send=SEND)], 3, GOOD)
    assert not still.bound
    read = expectation([wrote, taken(2, hup="smtp"), taken(3, send=SEND)], 3, GOOD)
    assert (set(read.fates), read.bound) == ({Ends.ONCE}, True)
    for spec in ({"drop-line": {"control/locals": "x"}}, {"remove": "control/virtualdomains"}):
        assert not expectation([taken(1, **{"break": spec}), taken(2, send=SEND)], 2, GOOD).bound
    other = expectation([taken(1, write={"path": "control/rcpthosts", "text": "x"}), taken(2, send=SEND)], 2, GOOD)
    assert other.bound


def test_a_message_of_no_step_is_judged_by_the_rules_alone() -> None:
    """A send that ended in an error of popbox's own leaves no step behind."""
    right = expectation([], 1, GOOD)
    assert Ends.SMTP in expectation([], 1, (Foretold("x@c", "unknown", "no"),)).fates
    assert (set(right.fates), right.bound) == ({Ends.ONCE}, True)
