"""Events -> journey. Pure: the same events give the same journey, whenever and by whomever they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from popbox.journey.legs import Case, Delivery, recipient
from popbox.journey.model import (
    LEGS,
    STATES_WORST_FIRST,
    WORST_FIRST,
    Disposition,
    Event,
    Foretold,
    Journey,
    Kind,
    Leg,
    Message,
    Recipient,
    State,
)

Lookup = Callable[[int], Event | None]
NOTHING_YET = "no delivery has been tried yet"


@dataclass(slots=True)
class _Told:
    """All that was seen of one message, by kind."""

    id: int
    sent: Event | None = None
    queued: Event | None = None
    linked: Event | None = None
    ended: Event | None = None
    bounced: Event | None = None
    first: Event | None = None
    cases: dict[str, Case] = field(default_factory=dict)
    rest: list[Event] = field(default_factory=list)
    children: list[_Told] = field(default_factory=list)


def derive(root: int, events: Iterable[Event], foretold: Lookup, blind: str = "", gap: Event | None = None) -> Journey:
    """The journey of message ``root``, from all events of its family in order.

    ``foretold`` gives an event FORETOLD by its seq; ``blind`` is why POP3 does not say what it hands out, if so;
    ``gap`` is the last event GAP of the POP3 log.
    """
    told: dict[int, _Told] = {}
    last = 0
    for event in events:
        if event.message is not None:
            _take(told.setdefault(event.message, _Told(event.message)), event, foretold)
            last = event.seq
    for one in told.values():
        parent = told.get(one.linked.fields["parent"]) if one.linked else None
        if parent is not None and one.id != root:
            parent.children.append(one)
    made: dict[int, Message] = {}
    order: list[_Told] = []
    _make(told[root], made, order, Case(blind=blind, gap=gap))
    return _journey(told[root], made, order, last)


def _take(told: _Told, event: Event, foretold: Lookup) -> None:
    told.first = told.first or event
    match event.kind:
        case Kind.SENT:
            told.sent = event
        case Kind.QUEUED:
            told.queued = event
        case Kind.LINKED:
            told.linked = event
        case Kind.ENDED:
            told.ended = event
        case Kind.BOUNCED:
            told.bounced = event
        case Kind.TRYING:
            case = told.cases.setdefault(event.fields["recipient"], Case())
            case.attempts.append(Delivery(event))
            if (said := event.fields.get("foretold")) and (found := foretold(said)):
                case.foretold = as_foretold(found)
        case Kind.TRIED:
            case = told.cases.setdefault(event.fields["recipient"], Case())
            case.end_attempt(event)
        case Kind.FILED | Kind.MISSING | Kind.UNSEEN | Kind.ALARM if event.fields.get("recipient"):
            told.cases.setdefault(event.fields["recipient"], Case()).later.append(event)
        case _:
            told.rest.append(event)


def as_foretold(event: Event) -> Foretold:
    """The value of an event FORETOLD."""
    said = event.fields
    maildirs, mboxes, elsewhere = (tuple(said.get(name, ())) for name in ("maildirs", "mboxes", "elsewhere"))
    return Foretold(said["address"], said["outcome"], said.get("why", ""), maildirs, mboxes, elsewhere, event.at)


def _make(told: _Told, made: dict[int, Message], order: list[_Told], pop3: Case) -> None:
    """The value of a message, and before it, since ends depend on them, those of its children.

    ``pop3`` has what is not seen of POP3.
    """
    order.append(told)
    for child in told.children:
        _make(child, made, order, pop3)
    copies = {made[one.id].queued_as: made[one.id] for one in told.children if _relation(one) == "forward"}
    frame = replace(pop3, sent=told.sent, queued=told.queued, ended=told.ended, rest=told.rest)
    recipients = [recipient(routed, case, frame, copies) for routed, case in told.cases.items()]
    recipients += [recipient("", Case(address=one), frame, {}) for one in _untried(told)]
    first = told.queued or told.sent or told.first
    assert first is not None
    said: Mapping[str, object] = {
        **(told.sent.fields if told.sent else {}),
        **(told.queued.fields if told.queued else {}),
    }
    files = [event.fields for case in told.cases.values() for event in case.later if event.kind is Kind.FILED]
    heads = [*([told.sent.fields] if told.sent else []), *files]
    octets = said.get("bytes")
    made[told.id] = Message(
        id=told.id,
        queued_as=str(said.get("qp", "")),
        number=str(said.get("number", "")),
        sender=str(said.get("sender", "")),
        octets=octets if isinstance(octets, int) else None,
        at=first.at,
        parent=told.linked.fields["parent"] if told.linked else None,
        relation=_relation(told),
        recipients=tuple(recipients),
        subject=next((one["subject"] for one in heads if one.get("subject") is not None), None),
        message_id=next((one["message_id"] for one in heads if one.get("message_id") is not None), None),
        ended_at=told.ended.at if told.ended else None,
        bounced_as=told.bounced.fields["qp"] if told.bounced else "",
        sent=told.sent.fields if told.sent else None,
    )


def _relation(told: _Told) -> str:
    return str(told.linked.fields["relation"]) if told.linked else ""


def _untried(told: _Told) -> list[str]:
    """Addresses that popbox itself sent to, and that no delivery names yet."""
    sent = [str(one) for one in (told.sent.fields["recipients"] if told.sent else ())]
    named = {one.lower() for one in told.cases}
    named |= {str(one.began.fields.get("address", "")).lower() for case in told.cases.values() for one in case.attempts}
    # Where no rules were asked: a virtual domain's prefix stands before the address (qmail-send(8)).
    routed = named - {one.lower() for one in sent}
    left = [one for one in sent if one.lower() not in named]
    return [one for one in left if not any(other.endswith(f"-{one.lower()}") for other in routed)]


def _journey(root: _Told, made: dict[int, Message], order: list[_Told], last: int) -> Journey:
    message = made[root.id]
    end, why = worst(message.recipients) if message.recipients else (Disposition.QUEUE, NOTHING_YET)
    alarms = [
        event.fields["why"]
        for one in order
        for event in [*one.rest, *(event for case in one.cases.values() for event in case.later)]
        if event.kind is Kind.ALARM
    ]
    return Journey(
        id=root.id,
        message=message,
        copies=tuple(made[one.id] for one in order[1:]),
        legs=legs_of(message),
        end=end,
        why=why,
        ended=all(_at_end(one, made[one.id]) for one in order),
        alarms=tuple(alarms),
        cursor=last,
    )


def _at_end(told: _Told, message: Message) -> bool:
    """Whether the MTA is done with a message, each file that it owes was found or given up, and each copy is known."""
    if told.sent and not told.sent.fields.get("accepted", True):
        return True
    known = {one.queued.fields["qp"] for one in told.children if one.queued}
    wanted = {qp for case in told.cases.values() for qp in case.forwards}
    wanted |= {message.bounced_as} if message.bounced_as else set()
    settled = all(one.legs[2].state is not State.WAITING for one in message.recipients)
    return told.ended is not None and wanted <= known and settled


def worst(recipients: Iterable[Recipient]) -> tuple[Disposition, str]:
    """The worst end of all recipients, and whose it is."""
    one = min(recipients, key=lambda one: WORST_FIRST.index(one.end))
    who = one.address or one.routed
    return one.end, f"{who}: {one.why}" if one.why else who


def legs_of(message: Message) -> tuple[Leg, Leg, Leg, Leg]:
    """For each leg the worst of all recipients."""
    if not message.recipients:
        smtp = Leg(LEGS[0], State.DONE, at=message.at)
        queue, maildir, pop3 = (Leg(name, State.WAITING, NOTHING_YET) for name in LEGS[1:])
        return smtp, queue, maildir, pop3
    columns = zip(*(one.legs for one in message.recipients), strict=True)
    smtp, queue, maildir, pop3 = (min(one, key=lambda leg: STATES_WORST_FIRST.index(leg.state)) for one in columns)
    return smtp, queue, maildir, pop3
