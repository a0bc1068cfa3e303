"""Copies of messages in Maildirs, as what waits look for: each FILED event is one. Pure but for the store that is read.

An arrival's id is the ``seq`` of its event: it grows, is never used twice, and is the message's id in the API.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from popbox.journey.model import Event, Kind
from popbox.journey.store import Store
from popbox.message.parse import addresses
from popbox.serve.space import Space


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file. ``names`` are the addresses that led to it, in lower case: its own, and those that were forwarded.

    ``message`` is the message that it is a copy of, ``began`` the one that came in by SMTP, which was forwarded or is
    the same; a bounce began itself. ``senders`` are the envelope's and those of the From field, in lower case.
    """

    id: int
    message: int
    began: int
    at: float
    to: str
    names: frozenset[str]
    sender: str
    senders: frozenset[str]
    subject: str
    message_id: str
    maildir: str
    uidl: str
    size: int
    relation: str = ""


@dataclass(slots=True)
class _Told:
    """What the events say of one message of a family."""

    sender: str = ""
    queued_as: str = ""
    parent: int = 0
    relation: str = ""
    names: dict[str, str] = field(default_factory=dict)  # recipient as routed -> address of the envelope
    forwards: dict[str, str] = field(default_factory=dict)  # qp of a copy -> recipient as routed
    filed: list[Event] = field(default_factory=list)


def arrivals_of(events: Iterable[Event]) -> list[Arrival]:
    """The copies of a family of messages, oldest first."""
    family: dict[int, _Told] = {}
    for event in events:
        if event.message is not None:
            _take(family.setdefault(event.message, _Told()), event)
    return sorted((_arrival(family, event) for one in family.values() for event in one.filed), key=lambda one: one.id)


def _take(told: _Told, event: Event) -> None:
    said = event.fields
    match event.kind:
        case Kind.SENT:
            told.sender = said["sender"]
        case Kind.QUEUED:
            told.sender, told.queued_as = said["sender"], said["qp"]
        case Kind.TRYING:
            told.names[said["recipient"]] = said["address"]
        case Kind.TRIED:
            told.forwards |= dict.fromkeys(said["forwards"], said["recipient"])
        case Kind.LINKED:
            told.parent, told.relation = said["parent"], said["relation"]
        case Kind.FILED:
            told.filed.append(event)


def _arrival(family: dict[int, _Told], event: Event) -> Arrival:
    said, of = event.fields, event.message or 0
    own = family[of]
    to = own.names.get(said["recipient"], said["recipient"])
    names, began, told = {to.lower(), said["recipient"].lower()}, of, own
    for _ in range(len(family)):
        if told.relation != "forward" or (parent := family.get(told.parent)) is None:
            break
        routed = parent.forwards.get(told.queued_as, "")
        names |= {one.lower() for one in (routed, parent.names.get(routed, "")) if one}
        began, told = told.parent, parent
    written = {one.lower() for one in addresses(said.get("from"))}
    return Arrival(
        id=event.seq,
        message=of,
        began=began,
        at=event.at,
        to=to,
        names=frozenset(names),
        sender=own.sender,
        senders=frozenset(written | {own.sender.lower()}),
        subject=said.get("subject") or "",
        message_id=said.get("message_id") or "",
        maildir=said["maildir"],
        uidl=said["uidl"],
        size=said["size"],
        relation=own.relation,
    )


def arrival(store: Store, seq: int, within: Space | None) -> Arrival | None:
    """The copy of that id; None where there is none, or it belongs elsewhere."""
    event = store.event(seq)
    if event is None or event.kind is not Kind.FILED or event.message is None:
        return None
    family = family_of(store, event.message)
    found = next((one for one in family if one.id == seq), None)
    return found if found and (within is None or within.holds(found.to)) else None


def family_of(store: Store, message: int) -> list[Arrival]:
    """All copies of the journey that a message belongs to."""
    return arrivals_of(store.events_of(store.root_of(message)))
