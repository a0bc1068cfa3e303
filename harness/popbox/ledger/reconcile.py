"""The end of a scenario: every message that it sent is accounted for, in all boxes of the host."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol, TypeVar

from popbox.clients.wire import Wire
from popbox.errors import HostError
from popbox.hosts.base import Found, Host
from popbox.hosts.readiness import wait_until
from popbox.journey.model import Message as Queued
from popbox.ledger import TOKEN_FIELD, boxes, issued, tokens_of
from popbox.ledger.boxes import Login, Names
from popbox.ledger.copies import Stored, copies
from popbox.ledger.expectation import Expectation, Taken, expectation
from popbox.ledger.judge import Evidence, judge
from popbox.ledger.legs import legs
from popbox.ledger.pickup import RetrievedMessage, fetch, hear, known_logins
from popbox.ledger.proof import Disposition, LegStatus, Message
from popbox.ledger.sent import Sent
from popbox.ledger.tracker import Tracker
from popbox.printable import counted

DRAIN_S = 10.0  # our choice: a message that is neither delivered nor put off by then is stuck in the queue
LATE_S = 1.5  # our choice: the boxes are looked at no sooner after a copy came; one that comes a second later is seen
REMOTE_LATE_S = 3.0  # our choice: the same after the last step, on a host whose clock and queue are not ours

T = TypeVar("T")


class Run(Protocol):
    """What the ledger asks of a run: its host, its mail, and what was looked at before."""

    host: Host
    offered: list[Sent]
    played: list[tuple[int, Wire]]
    before: dict[str, Names]
    logins: dict[str, Login]
    passwords: dict[str, str]
    tracker: Tracker
    faults: dict[str, Any]  # what is broken and not healed
    host_goes: bool  # it is taken away as soon as the run has ended


@dataclass
class Seen:
    """What was looked at once, for all messages of the run."""

    no_log: str = ""
    at_rest: bool = False  # the MTA has ended each message or put it off
    over: bool = False  # the MTA has ended, and no copy can come any more
    found: list[Found] = field(default_factory=list)
    no_files: str = ""
    handed: list[RetrievedMessage] = field(default_factory=list)
    fetched: dict[str, list[RetrievedMessage] | str] = field(
        default_factory=dict
    )  # box -> what popbox itself got there
    unknown: list[tuple[str, bytes]] = field(
        default_factory=list
    )  # new in a box, and no message of ours: where, octets

    @cached_property
    def files(self) -> dict[str, list[Found]]:
        """Token -> the files that hold it, in their order."""
        return _by_token((one, tokens_of(b"\n" + one.octets + b"\n")) for one in self.found)

    @cached_property
    def retrieved(self) -> dict[str, list[RetrievedMessage]]:
        """Token -> what was handed out of that message."""
        return _by_token((one, one.tokens()) for one in self.handed)

    @cached_property
    def unreadable(self) -> tuple[str, ...]:
        """Files of which it cannot be said what they hold."""
        return tuple(one.entry.path for one in self.found if not one.readable)

    @cached_property
    def served(self) -> dict[str, set[str]]:
        """Box -> the tokens that popbox itself got there."""
        boxes = {box: got for box, got in self.fetched.items() if isinstance(got, list)}
        return {box: set().union(*(one.tokens() for one in got)) for box, got in boxes.items()}


def _by_token(each: Iterable[tuple[T, set[str]]]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for one, tokens in each:
        for token in tokens:
            found.setdefault(token, []).append(one)
    return found


def reconcile(run: Run, taken: list[Taken]) -> tuple[Message, ...]:
    """A proof for each message, in the order of sending. ``taken`` are the steps so far."""
    if not run.offered:
        return ()
    seen = Seen()
    _read_log(run, seen)
    _search(run, seen)
    if seen.no_files:
        _ask_pop3(run, seen)
    else:
        _pick_up(run, seen)
    return tuple(_message(run, seen, sent, taken) for sent in run.offered)


def _read_log(run: Run, seen: Seen) -> None:
    """Wait until the MTA has ended each message or put it off: only then does an empty box prove anything."""
    asked = [sent for sent in run.offered if sent.accepted]

    def settled() -> bool:
        run.tracker.look()
        seen.at_rest = all(_at_rest(run.tracker.family(one)) for one in asked)
        return seen.at_rest or bool(run.host.alive("smtp"))

    try:
        wait_until(settled, time.monotonic() + DRAIN_S)
    except HostError as error:
        seen.no_log = error.what


def _at_rest(family: list[Queued]) -> bool:
    """Whether each has been tried, and is at its end or put off, and each forwarded copy is in the log as well."""
    forwards = [qp for message in family for one in message.attempts for qp in one.forwards]
    return (
        len(forwards) == len(family) - 1
        and all(message.attempts or message.ended_at is not None for message in family)
        and all(message.pending or message.ended_at is not None for message in family)
        and all(one.outcome == "deferral" for message in family for one in message.pending)
    )


def _search(run: Run, seen: Seen) -> None:
    """All copies, and what else is new in the boxes; again where a copy is so young that another may follow."""
    needles = tuple(f"{TOKEN_FIELD}: {sent.token}\n" for sent in run.offered)
    try:
        seen.over = _mta_ended(run, seen)
        seen.found = run.host.search(needles)
        newest = max((one.entry.mtime for one in seen.found), default=0.0)
        if not seen.over and (young_s := newest + LATE_S - time.time()) > 0:
            time.sleep(min(LATE_S, young_s))
            seen.found = run.host.search(needles)
        for place, before in run.before.items():
            found = [one for one in run.host.find(place, "") if boxes.base(one) not in before]
            seen.unknown += [(f"{place}/{one.entry.path}", one.octets) for one in found if not _ours(one.octets)]
    except HostError as error:
        seen.no_files = error.what


def _mta_ended(run: Run, seen: Seen) -> bool:
    """End the MTA of a host local that goes with this run, if it is at rest; whether no copy can come now.

    Then one look at the boxes tells for good how many copies there are, and need not be late. The log has ended each
    message, and the queue is empty. At TERM the MTA finishes what it has in hand and begins nothing (Q-SEND-12), and no
    process of its group is left when ``stop`` returns. So a second copy is there by then, or never comes.

    What this does not find out is an MTA that would have made a second copy later, had it lived, out of something that
    is in no queue. The stand-in, host local's only MTA, cannot: a delivery begins with a file of its queue, which it
    has when it starts again (``mailhost/standin/README.md``), and everywhere but here it is waited for, too. A qmail
    may be patched, and a host that stays has others who send: there time is the only evidence. A container takes as
    long to end as a late copy to come.
    """
    if not (run.host_goes and seen.at_rest and run.host.name == "local") or run.faults:
        return False
    try:
        queue = run.host.run("queue", "list", "--json")
        if queue.code or queue.stdout.strip() != "[]":
            return False
        run.host.stop("smtp")
    except HostError:
        return False
    return True


def _ours(octets: bytes) -> bool:
    """Whether it is a message of this run or of one beside it, by its header, or a bounce of one."""
    of_bounce = octets.startswith(b"Return-Path: <>\n")
    where = b"\n" + (octets if of_bounce else octets.partition(b"\n\n")[0] + b"\n")
    return issued(where)


def _ask_pop3(run: Run, seen: Seen) -> None:
    """A host that shows no files: what the sessions got, and a last look at what is new in the boxes."""
    heard = [hear(step, wire) for step, wire in run.played]
    seen.handed = [one for conversation in heard for one in conversation.handed()]
    if run.logins and any(sent.accepted for sent in run.offered):
        time.sleep(REMOTE_LATE_S)
        tokens = {sent.token for sent in run.offered}
        for login, known in run.logins.items():
            got = seen.fetched[login] = boxes.new_in(run.host, login, known)
            new = got if isinstance(got, list) else []
            seen.handed += [one for one in new if not tokens.isdisjoint(one.tokens())]
            if known.before is not None:
                others = [one for one in new if not _ours(one.octets)]
                seen.unknown += [(f"RETR {one.number} of {one.login}", one.octets) for one in others]


def _pick_up(run: Run, seen: Seen) -> None:
    """What the scenario's own POP3 sessions got; then log in to each box that holds a message, where we can."""
    heard = [hear(step, wire) for step, wire in run.played]
    seen.handed = [one for conversation in heard for one in conversation.handed()]
    tokens: dict[str, set[str]] = {}
    newest = 0.0
    for sent in run.offered:
        for one in copies(seen.files.get(sent.token, ()), sent.token):
            if one.kind == "maildir" and one.place.endswith("/Maildir"):
                tokens.setdefault(one.place.removesuffix("/Maildir"), set()).add(sent.token)
                newest = max(newest, one.entry.mtime)
    logins = known_logins(run.host, set(tokens), heard, run.passwords) if tokens else {}
    if logins and not seen.over:
        time.sleep(
            min(1.0, max(0.0, int(newest) + 1.0 - time.time()))
        )  # what came this very second is not listed (Q-POP3-4)
    for box, (login, password) in logins.items():
        got = seen.fetched[box] = fetch(run.host, login, password, tokens[box])
        seen.handed += got if isinstance(got, list) else []


def _message(run: Run, seen: Seen, sent: Sent, taken: list[Taken]) -> Message:
    right = expectation(taken, sent.step, sent.routes)
    evidence = _evidence(run, seen, sent, right)
    fate, why = judge(evidence) if sent.accepted else _not_taken(sent, evidence)
    return Message(
        id=sent.id,
        token=sent.token,
        sender=sent.sender,
        recipients=sent.recipients,
        octets=len(sent.octets),
        sha256=hashlib.sha256(sent.octets).hexdigest(),
        sent_at=datetime.fromtimestamp(sent.at, UTC),
        expected=right.said,
        ended=fate,
        why=_with_rules(fate, why, sent),
        verdict=_verdict(fate, right),
        legs=legs(sent, evidence, right, fate, why, seen.fetched),
    )


def _evidence(run: Run, seen: Seen, sent: Sent, right: Expectation) -> Evidence:
    stored = list(copies(seen.files.get(sent.token, ()), sent.token))
    kept = [one for one in stored if one.kind != "bounce"]
    family = run.tracker.family(sent)
    return Evidence(
        octets=sent.octets,
        family=family,
        stored=kept,
        bounces=[one for one in stored if one.kind == "bounce"],
        handed=seen.retrieved.get(sent.token, []),
        expected=tuple(place for route in sent.routes for place in route.places) if right.bound else None,
        uid=run.host.uid,
        no_log=seen.no_log,
        no_files=seen.no_files,
        dead=run.host.alive("smtp"),
        unserved=tuple(_unserved(kept, seen, sent.token)),
        lines=run.tracker.lines(family),
        unreadable=seen.unreadable,
        twins=tuple(where for where, octets in seen.unknown if boxes.is_copy(octets, sent.octets)),
    )


def _unserved(kept: list[Stored], seen: Seen, token: str) -> list[str]:
    """Boxes that hold the message, into which popbox logged in, and which did not hand it out."""
    said = []
    for one in kept:
        box = one.place.removesuffix("/Maildir")
        if box in seen.served and token not in seen.served[box]:
            listed = counted(len(seen.fetched[box]), "message")
            said.append(f"it lies in {one.entry.path}, but POP3 lists {listed} there and none is it")
    return said


def _not_taken(sent: Sent, evidence: Evidence) -> tuple[Disposition, str]:
    """A message that SMTP did not take must be nowhere."""
    how = (
        f"refused at {sent.receipt.command}: {sent.reply}" if sent.receipt else f"the conversation broke: {sent.broke}"
    )
    if yet := [*(one.entry.path for one in evidence.stored), *evidence.twins]:
        return Disposition.WRONG_PLACE, f"{how}; and yet it lies in {yet[0]}"
    if evidence.handed:
        return (
            Disposition.WRONG_PLACE,
            f"{how}; and yet RETR {evidence.handed[0].number} of {evidence.handed[0].login} is it",
        )
    return Disposition.SMTP, how


def _with_rules(fate: Disposition, why: str, sent: Sent) -> str:
    """The reason, and what ``mailhost explain`` says of an address that it does not deliver to."""
    if fate is Disposition.ONCE:
        return why
    rules = [f"explain {one.address}: {one.why}" for one in sent.routes if one.outcome != "delivered" and one.why]
    return "; ".join([why, *rules])


def _verdict(fate: Disposition, right: Expectation) -> LegStatus:
    if fate is Disposition.UNKNOWN:
        return LegStatus.NOT_LOOKED_AT
    return LegStatus.PASSED if fate in right.fates else LegStatus.FAILED
