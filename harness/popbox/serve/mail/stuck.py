"""Why a message that is waited for has not come: where it is stuck, went elsewhere, or that none was accepted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from popbox.errors import HostError
from popbox.journey.lines import line
from popbox.journey.model import Disposition, Event, Journey, Kind, Message, Recipient
from popbox.journey.store import Filters
from popbox.serve.duration import moment
from popbox.serve.journeys import Brief, brief, copies_of, found
from popbox.serve.live import Live
from popbox.serve.mail.wanted import Wanted
from popbox.serve.space import Space
from popbox.serve.view import addresses

MOST_NEAR = 20  # our choice: journeys that are looked at, the latest
MOST_LINES = 30  # our choice: of log and evidence
OF_ALL = (Kind.SENT, Kind.RETRIEVED, Kind.REMOVED)  # they may name addresses and logins of other spaces


@dataclass(frozen=True, slots=True)
class Stuck:
    """``reason`` in one sentence, ``near`` what came close in a line each, ``log`` what the host logged of it."""

    reason: str
    near: tuple[str, ...]
    log: tuple[str, ...]
    last_seen: Brief | None


def why_not(live: Live, wanted: Wanted, within: Space | None, broken: Iterable[str] = ()) -> Stuck:
    """What the journeys behind the cursor say. It asks the host too, so it may block.

    ``broken`` is what is broken on purpose: its lines stand first in the reason, and what else the host sees of itself.
    """
    ours = _journeys(live, wanted, within, to=wanted.to) if wanted.to else []
    near = [] if ours else _near(live, wanted, within)
    told = [said for one in ours for said in _of_address(one, wanted)]
    told += [_elsewhere(one) for one in near]
    if ours:
        reason = next((said for said in told if "came" not in said.partition(":")[0]), told[0] if told else "")
    else:
        reason = _nothing(live, wanted)
    ill = [f"the host is broken on purpose: {line}" for line in broken] or [
        f"the host is ill: {one}" for one in _ill(live)
    ]
    reason = "; ".join((*ill, reason))
    if error := live.state.error:
        reason = f"what the host does is not recorded: {error}; {reason}"
    latest = next(iter(ours or near), None)
    log = [said for one in (ours or near)[:3] for said in _log(live.store.events_of(one.id), within)]
    last = brief(latest, copies_of(live, latest, within)) if latest else None
    return Stuck(reason, tuple(told[:MOST_LINES]), tuple(log[-MOST_LINES:]), last)


def _ill(live: Live) -> list[str]:
    """What the host sees that is wrong with it."""
    with suppress(HostError, OSError):
        return live.host.ailments()
    return []


def _journeys(
    live: Live, wanted: Wanted, within: Space | None, to: str | None = None, subject: str | None = None
) -> list[Journey]:
    filters = Filters(to=to, subject=subject, domain=within.domain if within else None)
    return found(live, live.store.search(filters, wanted.since, MOST_NEAR), within)


def _near(live: Live, wanted: Wanted, within: Space | None) -> list[Journey]:
    """Those with the subject at another address; where there are none, the latest of all."""
    same = _journeys(live, wanted, within, subject=wanted.subject) if wanted.subject else []
    return same or _journeys(live, wanted, within)


def _of_address(journey: Journey, wanted: Wanted) -> Iterator[str]:
    """What became of a journey's message for the wanted address."""
    for message in (journey.message, *journey.copies):
        for one in message.recipients:
            if (wanted.to or "").lower() in addresses(one):
                yield _said(message, one, journey)


def _said(message: Message, one: Recipient, journey: Journey) -> str:
    subject = message.subject or next((copy.subject for copy in journey.copies if copy.relation == "forward"), None)
    what = f"from <{message.sender}>" + (f", subject {subject!r}" if subject is not None else "")
    if one.end is Disposition.ONCE:
        return f"another message came for {one.address}, {what}"
    return f"a message for {one.address} {what} is stuck: {one.end.value}: {one.why}{_next(one)}"


def _next(one: Recipient) -> str:
    leg = one.legs[1]
    if one.end is not Disposition.DEFERRED:
        return ""
    return f" ({leg.tries} tries{f', next at {_time(leg.next_at)}' if leg.next_at else ''})"


def _elsewhere(journey: Journey) -> str:
    to = ", ".join(one.address for one in journey.message.recipients) or "addresses not known yet"
    subject = brief(journey, []).subject
    return f"the host took one from <{journey.message.sender}> for {to}, subject {subject!r}: {journey.end.value}"


def _nothing(live: Live, wanted: Wanted) -> str:
    """That no message for the address was accepted, and how the rules treat it."""
    if not wanted.to:
        return f"the host has taken no such message since cursor {wanted.since}"
    said = f"the host has taken no message for {wanted.to} since cursor {wanted.since}"
    with suppress(HostError, ValueError, KeyError):
        told = json.loads(live.host.run("explain", "--json", "--", wanted.to).stdout)
        if told["outcome"] != "delivered":
            return f"{said}, and by its rules mail for that address is {told['outcome']}"
    return said


def _log(events: Iterable[Event], within: Space | None) -> Iterator[str]:
    """The events of a journey, as the log has them."""
    names: dict[str, str] = {}
    for event in events:
        said = event.fields
        if event.kind is Kind.TRYING:
            names[said["recipient"]] = said["address"]
        recipient = said.get("recipient")
        if within and (event.kind in OF_ALL or (recipient and not within.holds(names.get(recipient, recipient)))):
            continue
        yield f"{_time(event.at)} {line(event)}"


def _time(at: float) -> str:
    return moment(at, "milliseconds")
