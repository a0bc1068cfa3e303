"""One message's way: each recipient with its legs and their evidence, and what was foretold beside what happened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from popbox.errors import HostError
from popbox.hosts.base import Ability
from popbox.journey.lines import line
from popbox.journey.model import Disposition, Event, File, Foretold, Journey, Kind, Leg, Message, Recipient
from popbox.serve.console.render import neighbours
from popbox.serve.console.words import GOOD, PENDING, clock
from popbox.serve.live import Live
from popbox.serve.mail.messages import Mailroom

CARDS = 10  # our choice: recipients on one page, each with all its evidence
MOST_LINES = 60  # our choice: of evidence for one leg, half of them the first
ENDS = {
    "bounced": Disposition.BOUNCED,
    "deferred": Disposition.DEFERRED,
    "discarded": Disposition.DISCARDED,
    "refused": Disposition.SMTP,
    "remote": Disposition.REMOTE,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A file that was seen; ``sha256`` of what lies there now, or ``gone``: why there is none."""

    file: File
    sha256: str = ""
    gone: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One recipient on the page. ``heading``: it is the first of its message there. ``agrees`` is in words."""

    message: Message
    recipient: Recipient
    heading: bool
    files: tuple[Seen, ...]
    happened: tuple[str, ...]
    agrees: str
    proof: Mapping[str, list[str]]


def way(live: Live, mailroom: Mailroom, journey: Journey, events: Mapping[int, Event], first: int) -> dict[str, Any]:
    """What a page shows: the recipients from a number on (from 1), those that went wrong before the others."""
    pairs = [(one, to) for one in (journey.message, *journey.copies) for to in _worst_first(one.recipients)]
    chosen = pairs[first - 1 : first - 1 + CARDS]
    hashes = _hashes(live, mailroom, [file for _, to in chosen for file in to.files])
    cards, before = list[Card](), 0
    for message, recipient in chosen:
        happened = tuple(dict.fromkeys(_maildirs(journey, recipient)))
        files = tuple(hashes[file.path] for file in recipient.files)
        proof = {leg.name: list(_evidence(events, leg)) for leg in recipient.legs}
        agreed = agrees(recipient, happened)
        cards.append(Card(message, recipient, message.id != before, files, happened, agreed, proof))
        before = message.id
    previous, following = neighbours(first, len(chosen), len(pairs), CARDS)
    return {
        "cards": cards,
        "first": first,
        "recipients_total": len(pairs),
        "previous": previous,
        "next": following,
        "dialogue": _dialogue(events.values()),
    }


def _worst_first(recipients: Iterable[Recipient]) -> list[Recipient]:
    return sorted(recipients, key=lambda one: one.end in GOOD)


def _evidence(events: Mapping[int, Event], leg: Leg) -> Iterator[str]:
    """The events that a leg's state rests on, as lines."""
    seqs = [seq for seq in leg.evidence if seq in events]
    half, left_out = MOST_LINES // 2, len(seqs) - MOST_LINES
    for number, seq in enumerate(seqs):
        if left_out > 0 and half <= number < half + left_out:
            if number == half:
                yield f"... {left_out} lines"
            continue
        yield f"{clock(events[seq].at)} {line(events[seq])}"


def _dialogue(events: Iterable[Event]) -> list[str]:
    """What popbox and the server said, where popbox itself sent the message."""
    return next((list(one.fields.get("dialogue", ())) for one in events if one.kind is Kind.SENT), [])


def _hashes(live: Live, mailroom: Mailroom, files: list[File]) -> dict[str, Seen]:
    """Path -> the file, with what lies there now."""
    if not files or (why := live.host.cannot(Ability.FILES)):
        return {one.path: Seen(one, gone=why) for one in files}
    try:
        found = mailroom.hashes([(one.path.rsplit("/", 2)[0], one.uidl) for one in files])
    except HostError as error:
        return {one.path: Seen(one, gone=error.what) for one in files}
    return {one.path: Seen(one, sha256, gone) for one, (sha256, gone) in zip(files, found, strict=True)}


def _maildirs(journey: Journey, recipient: Recipient) -> Iterator[str]:
    """Where its files lie, and those of the copies that were forwarded of it, at any depth."""
    yield from (one.path.rsplit("/", 2)[0] for one in recipient.files)
    forwards = {qp for one in recipient.attempts for qp in one.forwards}
    for copy in journey.copies:
        if copy.queued_as in forwards and copy.relation == "forward":
            for one in copy.recipients:
                yield from _maildirs(journey, one)


def agrees(recipient: Recipient, happened: tuple[str, ...]) -> str:
    """Whether what happened is what the rules foretold, in words; ``happened`` are the Maildirs that hold it."""
    told = recipient.foretold
    if told is None:
        return "the rules were not asked"
    if told.outcome == "unknown":
        return "nothing was foretold"
    if told.outcome == "delivered":
        return _arrived(recipient, told, happened)
    if (end := ENDS.get(told.outcome)) is None:
        return "what the rules foretold is not seen from here"
    if recipient.end is end:
        return "as foretold"
    return "not at its end yet" if recipient.end in PENDING else "not as foretold"


def _arrived(recipient: Recipient, told: Foretold, happened: tuple[str, ...]) -> str:
    missing, more = set(told.maildirs) - set(happened), set(happened) - set(told.maildirs)
    if more:
        return "not as foretold"
    if missing and recipient.end in (*PENDING, Disposition.UNKNOWN):
        return "not at its end yet" if recipient.end in PENDING else "not seen whole"
    if missing or recipient.end not in GOOD:
        return "as foretold until now" if recipient.end in PENDING and not missing else "not as foretold"
    return "as foretold, but for mbox files, which are not looked into" if told.mboxes else "as foretold"
