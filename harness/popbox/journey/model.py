"""A message's way as values: events as they were seen, and the journey that is derived from them. No I/O.

Times are wall clock, in seconds. Sizes are octets. A message's id is the ``seq`` of its first event, so that ids grow,
are never used twice, and a cursor compares with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What an event says. The fields are those named behind it."""

    SENT = "sent"  # by popbox itself: sender, recipients, qp, reply, and what the caller adds
    QUEUED = "queued"  # qp, number, sender, bytes, uid
    TRYING = "trying"  # delivery, channel, recipient (as routed), address (as the envelope had it), foretold (a seq)
    TRIED = "tried"  # delivery, recipient, outcome, said, kept, forwards (their qp)
    BOUNCED = "bounced"  # qp: of the bounce
    ENDED = "ended"
    LINKED = "linked"  # parent (a message id), relation
    FILED = "filed"  # recipient, maildir, path, uidl, size, mode, uid, subject, message_id, from, fault, wrong
    MISSING = "missing"  # recipient, why: the log says delivered, and no file is there
    UNSEEN = "unseen"  # recipient, why: this host's files cannot be looked at
    RETRIEVED = "retrieved"  # session, login, uidl, octets: one complete RETR
    REMOVED = "removed"  # session, login, uidl: at QUIT
    AMBIGUOUS = "ambiguous"  # what, and messages: two or more fit
    UNSURE = "unsure"  # why: the log was cut while this message was on its way
    ALARM = "alarm"  # recipient, why: what happened is not what the rules foretold
    FORETOLD = "foretold"  # of no message: address, outcome, why, maildirs, mboxes, elsewhere
    GAP = "gap"  # of no message: why, and log: `pop3` where a part of that log is missing
    BLIND = "blind"  # of no message: why POP3 does not say which messages it hands out; empty once it does
    NOTE = "note"  # of no message: what a user of the store adds, such as a write through an API


def addresses_in(said: Mapping[str, Any]) -> Iterator[str]:
    """The addresses that the fields of an event of no message name, as they stand there."""
    recipients = said.get("recipients")
    for one in (said.get("address"), *(recipients if isinstance(recipients, list) else ())):
        if isinstance(one, str):
            yield one


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was seen. ``place`` is where in ``source``; no two events have the same source and place.

    ``seq`` is 0 until it is stored. ``message`` is the id of the message that it is about; None for those about none.
    """

    at: float
    kind: Kind
    message: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    place: str = ""
    seq: int = 0


class State(StrEnum):
    """Where a leg is. ``UNKNOWN`` is never good: ``why`` gives the reason."""

    WAITING = "waiting"
    DONE = "done"
    DEFERRED = "deferred"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Disposition(StrEnum):
    """Where a message is at the end of a run: delivered exactly once, or the place where it is stuck or went wrong."""

    ONCE = "delivered exactly once"  # to each address that it was expected at
    SMTP = "smtp"  # refused, or the conversation broke
    QUEUE = "queue"  # accepted, and not finished
    DEFERRED = "deferred"  # tried, put off, to be tried again
    BOUNCED = "bounced"  # the MTA gave it up
    REMOTE = "remote"  # handed to another host
    DISCARDED = "discarded"  # the instructions keep nothing
    LOST = "lost"  # the MTA says delivered, and it is nowhere
    DOUBLED = "doubled"
    CORRUPTED = "corrupted"  # the octets are not those that were sent
    WRONG_PLACE = "maildir: wrong place"
    WRONG_OWNER = "maildir: wrong owner"
    WRONG_MODE = "maildir: wrong mode"
    POP3 = "pop3"  # the file is right, and POP3 hands out something else
    UNKNOWN = "not known"  # this host shows neither log nor files


WORST_FIRST = tuple(
    Disposition(one)
    for one in (
        "lost", "doubled", "corrupted", "maildir: wrong place", "maildir: wrong owner", "maildir: wrong mode", "pop3",
        "smtp", "bounced", "deferred", "queue", "not known", "discarded", "remote", "delivered exactly once",
    )
)  # fmt: skip
STATES_WORST_FIRST = (State.FAILED, State.DEFERRED, State.UNKNOWN, State.WAITING, State.DONE)
SMTP, QUEUE, MAILDIR, POP3 = LEGS = ("SMTP", "queue", "Maildir", "POP3")


@dataclass(frozen=True, slots=True)
class Leg:
    """One of four legs. ``tries`` and ``next_at`` are set where it is deferred; ``evidence`` are seqs of events."""

    name: str
    state: State
    why: str = ""
    at: float | None = None
    tries: int = 0
    next_at: float | None = None
    evidence: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery: how it ended (``running`` if not yet) and the MTA's words; ``seq`` is that of its first event.

    ``kept`` counts the files that it wrote; None where the words do not say so. ``forwards`` are the qp of its copies.
    """

    recipient: str  # as routed
    outcome: str = "running"
    said: str = ""
    channel: str = "local"
    kept: int | None = None
    forwards: tuple[str, ...] = ()
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Foretold:
    """How the mail host's own rules said that an address ends (``mailhost explain``), and when they were asked."""

    address: str
    outcome: str  # of `explain --json`, or `unknown`
    why: str = ""
    maildirs: tuple[str, ...] = ()  # below the qmail home; one for each copy
    mboxes: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()  # ends of forwarded copies that are kept nowhere here, in words
    at: float = 0.0
    routed: str = ""  # the address as virtualdomains makes it: in Delivered-To and in the log

    @property
    def places(self) -> tuple[str, ...]:
        """Maildirs and mbox files that get a copy each."""
        return self.maildirs + self.mboxes


@dataclass(frozen=True, slots=True)
class File:
    """A file that is a copy of the message, ``path`` below the qmail home. ``wrong`` is its ``fault`` in words."""

    path: str
    uidl: str
    size: int
    mode: int
    uid: int
    at: float
    fault: Disposition | None = None
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Pickup:
    """One RETR that handed it out whole, or (``removed``) its removal at QUIT."""

    session: str
    login: str
    uidl: str
    octets: int
    at: float
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address of the envelope. ``routed`` is how the MTA's log names it; ``address`` how the sender wrote it."""

    routed: str
    address: str
    channel: str
    legs: tuple[Leg, Leg, Leg, Leg]
    end: Disposition
    why: str
    foretold: Foretold | None = None
    files: tuple[File, ...] = ()
    pickups: tuple[Pickup, ...] = ()
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the queue. ``relation`` to ``parent``: ``forward``, ``bounce``, ``double bounce``, or empty.

    ``subject`` and ``message_id`` come from a copy in a Maildir, or from popbox's own send; None while nothing tells.
    """

    id: int
    queued_as: str
    number: str
    sender: str
    octets: int | None
    at: float
    parent: int | None = None
    relation: str = ""
    recipients: tuple[Recipient, ...] = ()
    subject: str | None = None
    message_id: str | None = None
    ended_at: float | None = None
    bounced_as: str = ""
    sent: Mapping[str, Any] | None = None

    @property
    def attempts(self) -> list[Attempt]:
        """All deliveries of it, in the order in which they began."""
        return sorted((one for to in self.recipients for one in to.attempts), key=lambda one: one.seq)

    @property
    def pending(self) -> list[Attempt]:
        """The last delivery of each recipient that is not at its end: running or deferred."""
        last = [to.attempts[-1] for to in self.recipients if to.attempts]
        return [] if self.ended_at is not None else [one for one in last if one.outcome in ("running", "deferral")]


@dataclass(frozen=True, slots=True)
class Journey:
    """A message with all that came of it: ``copies`` are forwarded copies and bounces at any depth, parents first.

    ``ended``: nothing more is to come but POP3. ``end`` and ``why`` are the worst of all recipients and forwarded
    copies; a bounce's own end is not counted. ``cursor`` is the seq of the last event.
    """

    id: int
    message: Message
    copies: tuple[Message, ...]
    legs: tuple[Leg, Leg, Leg, Leg]
    end: Disposition
    why: str
    ended: bool
    alarms: tuple[str, ...] = ()
    cursor: int = 0

    @property
    def forwards(self) -> list[Message]:
        """Forwarded copies, without bounces."""
        return [one for one in self.copies if one.relation == "forward"]

    @property
    def subject(self) -> str | None:
        """Of the message, else of a forwarded copy."""
        return next((one.subject for one in (self.message, *self.forwards) if one.subject is not None), None)

    @property
    def message_id(self) -> str | None:
        """Likewise."""
        return next((one.message_id for one in (self.message, *self.forwards) if one.message_id is not None), None)
