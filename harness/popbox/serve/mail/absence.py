"""Whether no message fits: not that none was seen, but that all which was accepted has ended, and none of it fits.

Where the host does not show enough for that (a log that was cut, a file that was not seen, a subject that is not
known), the answer is that it cannot be told, never that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from popbox.errors import HostError
from popbox.hosts.base import Ability, Host
from popbox.journey.model import Disposition, Journey, Kind, Message, Recipient, State
from popbox.journey.store import Filters, Store
from popbox.serve.mail.arrivals import Arrival, arrivals_of
from popbox.serve.mail.wanted import MOST_LOOKED, Wanted, messages_behind
from popbox.serve.space import Space
from popbox.serve.view import addresses, seen


@dataclass(slots=True)
class Verdict:
    """``matching`` are what fits, ``waiting`` what has not ended, ``unknown`` what cannot be told; a line each."""

    matching: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    looked_at: int = 0


def not_begun(host: Host, store: Store) -> set[str]:
    """What lies in the MTA's queue, and is not in its log yet: SMTP has accepted it.

    Raises:
        HostError: the host does not show its queue.
    """
    if host.mta == "stand-in" and not host.cannot(Ability.EXPLAIN):
        ran = host.run("queue", "list", "--json")
        if ran.code:
            raise HostError(f"mailhost queue list ended with {ran.code}", ran.stderr)
        numbers = {str(one["id"]) for one in json.loads(ran.stdout)}
        return {one for one in numbers if not store.search(Filters(queue_id=one), limit=1)}
    if why := host.cannot(Ability.SHELL):
        raise HostError(f"the MTA's queue is not shown: {why}")
    ran = host.shell(f"find {host.home()}/queue/todo -type f")  # Q: qmail-send takes a message out once it is logged
    if ran.code:
        raise HostError(f"{host.home()}/queue/todo cannot be listed", ran.stderr)
    return set(ran.stdout.split())


def judge(store: Store, wanted: Wanted, within: Space | None, upto: int) -> Verdict:
    """What the store says of all that was accepted behind the cursor, up to the message ``upto``.

    Raises:
        ApiError: too many messages fit the address.
    """
    verdict = Verdict()
    verdict.unknown += [f"the log was cut: {why}" for why in store.gaps(wanted.since)]
    if within is None and wanted.since < (pruned := store.pruned()):  # of a live space nothing was taken out
        why = f"what was accepted up to cursor {pruned} may be in the store no more: it keeps what its limits allow"
        verdict.unknown.append(f"{why}; take a cursor just before what you ask about, and give it as since")
    for of in store.unsettled(wanted.since, MOST_LOOKED):
        journey = store.journey(of)
        if journey and not journey.ended and journey.id <= upto and _ours(journey, within):
            verdict.waiting.append(f"journey {journey.id}, {_words(journey)}: {journey.end.value}: {journey.why}")
    ids = messages_behind(store, Filters(to=wanted.to, domain=within.domain if within else None), wanted.since)
    verdict.looked_at = len(ids)
    for root in dict.fromkeys(store.root_of(one) for one in ids):
        if journey := store.journey(root):
            _look(verdict, journey, arrivals_of(store.events_of(root)), wanted, within, set(ids))
            verdict.unknown += _unclear(store, journey, wanted, within)
    return verdict


def _ours(journey: Journey, within: Space | None) -> bool:
    """Whether it may belong to the space; a message of which no delivery was tried may be for anyone."""
    return not journey.message.recipients or seen(journey, within) is not None


def _words(journey: Journey) -> str:
    to = ", ".join(one.address for one in journey.message.recipients)
    return f"from <{journey.message.sender}> to {to or 'addresses not known yet'}"


def _look(
    verdict: Verdict, journey: Journey, copies: list[Arrival], wanted: Wanted, within: Space | None, ids: set[int]
) -> None:
    """Sort each recipient of a journey's messages that may fit into matching, unknown, or neither."""
    began: dict[int, int] = {}
    for message in (journey.message, *journey.copies):  # parents first
        began[message.id] = began[message.parent or 0] if message.relation == "forward" else message.id
        for one in message.recipients if message.id in ids and began[message.id] > wanted.since else ():
            if not _is_concerned(one, wanted, within) or one.end is Disposition.SMTP:
                continue
            came = [copy for copy in copies if copy.names & addresses(one) and message.id in (copy.message, copy.began)]
            fitting = [copy for copy in came if wanted.takes(copy, within)]
            verdict.messages += [copy.id for copy in fitting]
            line = f"journey {journey.id}: for {one.address} from <{message.sender}>: {one.end.value}: {one.why}"
            if fitting or (not _is_other(message, one, came, wanted) and _is_wanted(message, wanted)):
                verdict.matching.append(line)
            elif not _is_other(message, one, came, wanted):
                verdict.unknown.append(f"{line}; its subject or From is not known")


def _is_concerned(one: Recipient, wanted: Wanted, within: Space | None) -> bool:
    """Whether a recipient has the wanted address, and the space holds it."""
    return (not wanted.to or wanted.to.lower() in addresses(one)) and (within is None or within.holds(one.address))


def _is_other(message: Message, one: Recipient, came: list[Arrival], wanted: Wanted) -> bool:
    """Whether what is known of the message says that it is another one: called when no copy of it fits."""
    if came and one.legs[2].state is State.DONE:
        return True
    return None not in (wanted.subject, message.subject) and wanted.subject != message.subject


def _is_wanted(message: Message, wanted: Wanted) -> bool:
    """Whether all that is asked is known to fit, though no copy of it is in a Maildir."""
    sender = wanted.sender is None or wanted.sender.lower() == message.sender.lower()
    return sender and wanted.subject in (None, message.subject)


def _unclear(store: Store, journey: Journey, wanted: Wanted, within: Space | None) -> Iterator[str]:
    """What was not seen of a journey though it was there: its files, or a part of the log."""
    for event in store.events_of(journey.id):
        if event.kind in (Kind.UNSURE, Kind.AMBIGUOUS) and (event.message or 0) > wanted.since:
            yield f"journey {journey.id}: {event.fields.get('why', '')}"
    for message in (journey.message, *journey.copies):
        for one in message.recipients:
            concerned = _is_concerned(one, wanted, within) and message.id > wanted.since
            if concerned and one.end is Disposition.UNKNOWN:
                yield f"journey {journey.id}: for {one.address}: not known: {one.why}"
