"""One recipient's four legs and its end, from what was seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isqrt

from popbox.journey.model import (
    LEGS,
    WORST_FIRST,
    Attempt,
    Disposition,
    Event,
    File,
    Foretold,
    Kind,
    Leg,
    Message,
    Pickup,
    Recipient,
    State,
)

RETRY_STEP_S = {"local": 10, "remote": 20}  # Q-SEND-13: next try at birth + (isqrt(age) + step)^2
Judgement = tuple[Disposition, str]


@dataclass(slots=True)
class Delivery:
    """One delivery: the events that began and ended it."""

    began: Event
    ended: Event | None = None

    def value(self, recipient: str, channel: str) -> Attempt:
        """For the reader of a journey."""
        if self.ended is None:
            return Attempt(recipient, channel=channel, seq=self.began.seq)
        said = self.ended.fields
        words = (said["outcome"], said["said"], channel, said["kept"], tuple(said["forwards"]))
        return Attempt(recipient, *words, self.began.seq)


@dataclass(slots=True)
class Case:
    """What was seen of one recipient; or, without attempts, what all recipients of its message share."""

    address: str = ""
    attempts: list[Delivery] = field(default_factory=list)
    later: list[Event] = field(default_factory=list)  # FILED, MISSING, UNSEEN, ALARM
    foretold: Foretold | None = None
    sent: Event | None = None
    queued: Event | None = None
    ended: Event | None = None
    rest: list[Event] = field(default_factory=list)  # of the message: RETRIEVED, REMOVED, AMBIGUOUS, UNSURE
    blind: str = ""
    gap: Event | None = None  # the last of the POP3 log

    def end_attempt(self, event: Event) -> None:
        """Note how the delivery of that number ended; one whose beginning was not seen is an attempt all the same."""
        number = event.fields["delivery"]
        running = [one for one in self.attempts if one.ended is None and one.began.fields["delivery"] == number]
        if running:
            running[-1].ended = event
        else:
            self.attempts.append(Delivery(event, event))

    def tried(self, outcome: str) -> list[Event]:
        """The deliveries that ended so."""
        return [one.ended for one in self.attempts if one.ended and one.ended.fields["outcome"] == outcome]

    @property
    def forwards(self) -> list[str]:
        """The qp of each forwarded copy."""
        return [qp for event in self.tried("success") for qp in event.fields["forwards"]]

    @property
    def kept(self) -> int | None:
        """How many files the MTA says that it wrote; None where its words do not say so."""
        said = [event.fields["kept"] for event in self.tried("success")]
        return None if None in said else sum(said)

    def of(self, kind: Kind) -> list[Event]:
        """Later events of one kind."""
        return [event for event in self.later if event.kind is kind]


def recipient(routed: str, case: Case, shared: Case, copies: Mapping[str, Message]) -> Recipient:
    """The value of one recipient. ``copies`` are the message's forwarded copies by qp, derived already."""
    address = next((one.began.fields.get("address", "") for one in case.attempts), case.address)
    channel = next((one.began.fields.get("channel", "local") for one in case.attempts), "local")
    onward = [copies.get(qp) for qp in case.forwards]
    files = tuple(_file(event) for event in case.of(Kind.FILED))
    pickups = tuple(_pickups(shared.rest, {one.uidl for one in files}))
    smtp = _smtp(shared)
    queue = _queue(case, shared, channel)
    maildir = _maildir(case, shared, channel, queue, files, onward)
    pop3 = _pop3(case, shared, maildir, pickups, onward)
    end, why = _end(case, shared, channel, smtp, queue, maildir, onward)
    attempts = tuple(one.value(routed, channel) for one in case.attempts)
    legs = (smtp, queue, maildir, pop3)
    return Recipient(
        routed, address or routed, channel, legs, end, why, case.foretold, files, pickups, attempts=attempts
    )


def _file(event: Event) -> File:
    said = event.fields
    fault = Disposition(said["fault"]) if said.get("fault") else None
    owner = (said["mode"], said["uid"])
    return File(said["path"], said["uidl"], said["size"], *owner, event.at, fault, said.get("wrong", ""))


def _pickups(events: list[Event], uidls: set[str]) -> list[Pickup]:
    return [
        Pickup(
            event.fields["session"],
            event.fields["login"],
            event.fields["uidl"],
            event.fields.get("octets") or 0,
            event.at,
            event.kind is Kind.REMOVED,
        )
        for event in events
        if event.kind in (Kind.RETRIEVED, Kind.REMOVED) and event.fields["uidl"] in uidls
    ]


def _smtp(shared: Case) -> Leg:
    seen = tuple(event.seq for event in (shared.sent, shared.queued) if event)
    if shared.sent is not None:
        said = shared.sent.fields
        state = State.DONE if said.get("accepted", True) else State.FAILED
        return Leg(LEGS[0], state, str(said.get("reply", "")), shared.sent.at, evidence=seen)
    if shared.queued is not None:
        return Leg(LEGS[0], State.DONE, "it is in the queue; who sent it was not seen", shared.queued.at, evidence=seen)
    return Leg(LEGS[0], State.UNKNOWN, "the log begins after it was queued")


def _queue(case: Case, shared: Case, channel: str) -> Leg:
    seen = tuple(event.seq for one in case.attempts for event in (one.began, one.ended) if event)
    if shared.sent and not shared.sent.fields.get("accepted", True):
        return Leg(LEGS[1], State.FAILED, "SMTP did not take it")
    if shared.ended is None and (why := _cut(case, shared)):
        return Leg(LEGS[1], State.UNKNOWN, why, evidence=seen)
    if not case.attempts:
        state = State.WAITING if shared.ended is None else State.UNKNOWN
        return Leg(LEGS[1], state, "the log shows no delivery attempt yet" if shared.ended is None else "ended unseen")
    last = case.attempts[-1]
    if any(one.ended is None for one in case.attempts[-1:]):
        return Leg(LEGS[1], State.WAITING, "a delivery runs", last.began.at, evidence=seen)
    assert last.ended is not None
    said, at = last.ended.fields["said"], last.ended.at
    match last.ended.fields["outcome"]:
        case "success":
            return Leg(LEGS[1], State.DONE, said, at, evidence=seen)
        case "failure":
            return Leg(LEGS[1], State.FAILED, said, at, evidence=seen)
    tries = len(case.tried("deferral"))
    next_at = _next(shared, last.began.at, channel)
    return Leg(LEGS[1], State.DEFERRED, said, at, tries=tries, next_at=next_at, evidence=seen)


def _next(shared: Case, began_at: float, channel: str) -> float | None:
    """When qmail-send tries again, by its own rule."""
    if shared.queued is None:
        return None
    birth = shared.queued.at
    age_s = max(0, int(began_at - birth))
    return birth + float((isqrt(age_s) + RETRY_STEP_S.get(channel, 10)) ** 2)


def _cut(case: Case, shared: Case) -> str:
    """Why the log does not tell how this goes on, if it was cut and no line came since."""
    last = max((event.seq for one in case.attempts for event in (one.began, one.ended) if event), default=0)
    cuts = [event for event in shared.rest if event.kind is Kind.UNSURE and event.seq > last]
    return str(cuts[-1].fields["why"]) if cuts else ""


def _maildir(
    case: Case, shared: Case, channel: str, queue: Leg, files: tuple[File, ...], onward: list[Message | None]
) -> Leg:
    seen = tuple(event.seq for event in case.later if event.kind is not Kind.ALARM)
    if queue.state is not State.DONE:
        state = {State.DEFERRED: State.WAITING}.get(queue.state, queue.state)
        return Leg(LEGS[2], state, "" if state is State.WAITING else queue.why)
    if channel == "remote":
        return Leg(LEGS[2], State.UNKNOWN, "it went to another host, which is not seen from here")
    if case.kept is None:
        return Leg(LEGS[2], State.UNKNOWN, "the log does not say what was kept")
    if onward and not case.kept:
        return _of_copies(2, onward)
    if not case.kept:
        return Leg(LEGS[2], State.FAILED, "the instructions keep nothing", queue.at)
    own = _own_files(case, shared, files, seen)
    return own if own.state is not State.DONE or not onward else _of_copies(2, onward, own)


def _own_files(case: Case, shared: Case, files: tuple[File, ...], seen: tuple[int, ...]) -> Leg:
    kept = case.kept or 0
    at = max((one.at for one in files), default=None)
    if wrong := next((one for one in files if one.fault), None):
        return Leg(LEGS[2], State.FAILED, f"{wrong.path}: {wrong.wrong}", at, evidence=seen)
    if len(files) > kept:
        return Leg(LEGS[2], State.FAILED, f"{len(files)} files hold it, and the MTA says {kept}", at, evidence=seen)
    if len(files) == kept:
        return Leg(LEGS[2], State.DONE, ", ".join(one.path for one in files), at, evidence=seen)
    if missing := case.of(Kind.MISSING):
        return Leg(LEGS[2], State.FAILED, missing[-1].fields["why"], missing[-1].at, evidence=seen)
    unclear = [*case.of(Kind.UNSEEN), *(event for event in shared.rest if event.kind is Kind.AMBIGUOUS)]
    if unclear:
        return Leg(LEGS[2], State.UNKNOWN, str(unclear[-1].fields.get("why", "")), evidence=seen)
    return Leg(LEGS[2], State.WAITING, "its file was not seen yet")


def _of_copies(number: int, onward: list[Message | None], own: Leg | None = None) -> Leg:
    """The leg of what was forwarded: the least that any copy has reached."""
    if None in onward:
        return Leg(LEGS[number], State.WAITING, "the forwarded copy is not in the log yet")
    found = [one.legs[number] for copy in onward if copy for one in copy.recipients]
    found += [own] if own else []
    if not found:
        return Leg(LEGS[number], State.WAITING, "no delivery of the forwarded copy has been tried yet")
    order = (State.FAILED, State.UNKNOWN, State.DEFERRED, State.WAITING, State.DONE)
    return min(found, key=lambda leg: order.index(leg.state))


def _pop3(case: Case, shared: Case, maildir: Leg, pickups: tuple[Pickup, ...], onward: list[Message | None]) -> Leg:
    files = {str(event.fields["uidl"]): event for event in case.of(Kind.FILED)}
    if maildir.state is not State.DONE:
        return Leg(LEGS[3], maildir.state, "" if maildir.state is State.WAITING else maildir.why)
    if not files:
        return _of_copies(3, onward)
    handed = {one.uidl: one for one in reversed(pickups) if not one.removed}
    if len(handed) == len(files):
        first = min(handed.values(), key=lambda one: one.at)
        seen = tuple(event.seq for event in shared.rest if event.fields.get("uidl") in handed)
        own = Leg(LEGS[3], State.DONE, f"RETR by {first.login}, session {first.session}", first.at, evidence=seen)
        return _of_copies(3, onward, own) if onward else own
    unclear = [event.fields.get("why", "") for event in shared.rest if event.kind is Kind.AMBIGUOUS]
    left = [event for uidl, event in files.items() if uidl not in handed]
    if why := shared.blind or _hidden(left, shared.gap) or next(iter(unclear), ""):
        return Leg(LEGS[3], State.UNKNOWN, why)
    taken = any(one.removed for one in pickups)
    why = "it was removed, and no complete RETR of it was seen" if taken else ""
    return Leg(LEGS[3], State.UNKNOWN if taken else State.WAITING, why)


def _hidden(left: list[Event], gap: Event | None) -> str:
    """Why POP3 may have handed out one of these files unseen: its log lost a part since the file was written."""
    if gap and any(gap.seq > event.seq or gap.at >= event.at for event in left):
        return f"a part of the POP3 log is missing, and may tell of it: {gap.fields['why']}"
    return ""


def _end(
    case: Case, shared: Case, channel: str, smtp: Leg, queue: Leg, maildir: Leg, onward: list[Message | None]
) -> Judgement:
    if smtp.state is State.FAILED:
        return Disposition.SMTP, smtp.why
    by_queue = {
        State.FAILED: Disposition.BOUNCED,
        State.DEFERRED: Disposition.DEFERRED,
        State.WAITING: Disposition.QUEUE,
        State.UNKNOWN: Disposition.UNKNOWN,
    }
    if queue.state in by_queue:
        return by_queue[queue.state], queue.why
    if channel == "remote":
        return Disposition.REMOTE, queue.why
    if case.kept == 0 and not onward:
        return Disposition.DISCARDED, maildir.why
    return _filed(case, maildir, onward)


def _filed(case: Case, maildir: Leg, onward: list[Message | None]) -> Judgement:
    """What the MTA calls a success: do the files and the forwarded copies bear it out?"""
    ends: list[Judgement] = [(one.end, one.why) for copy in onward if copy for one in copy.recipients]
    if onward and (None in onward or not ends):
        ends.append((Disposition.QUEUE, "the forwarded copy is on its way"))
    files = [_file(event) for event in case.of(Kind.FILED)]
    if case.kept:
        ends += [(one.fault, f"{one.path}: {one.wrong}") for one in files if one.fault]
        ends.append(_counted(case, maildir, files))
    elif case.kept is None:
        ends.append((Disposition.UNKNOWN, maildir.why))
    return min(ends, key=lambda one: WORST_FIRST.index(one[0]))


def _counted(case: Case, maildir: Leg, files: list[File]) -> Judgement:
    kept = case.kept or 0
    if len(files) > kept:
        return Disposition.DOUBLED, f"{len(files)} files hold it, and the MTA says {kept}"
    if len(files) == kept:
        return Disposition.ONCE, ", ".join(one.path for one in files)
    if case.of(Kind.MISSING):
        return Disposition.LOST, maildir.why
    return Disposition.UNKNOWN, maildir.why or "its file was not seen yet"
