"""Journeys over HTTP: found by what is known of a message, and each whole."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from popbox.journey.model import Disposition, Journey, State
from popbox.journey.store import Filters
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.mail.arrivals import arrivals_of
from popbox.serve.reads import Answer
from popbox.serve.space import Space, Within
from popbox.serve.view import seen

MOST = 500  # our choice: journeys of one answer; each costs about half a millisecond
GREATEST = 2**63 - 1  # of SQLite's integers

Id = Annotated[int, InPath(ge=1, le=GREATEST)]
Cursor = Annotated[int, Field(ge=0, le=GREATEST, description="only what was accepted behind this cursor")]


def exactly(what: str, least: int = 1) -> Any:
    """A parameter that is compared whole, never as a part."""
    return Field(None, min_length=least, max_length=2_000, description=what)


class Search(BaseModel):
    """What journeys are asked for. A parameter that is not known is refused: it would find too much."""

    model_config = ConfigDict(extra="forbid")

    to: str | None = exactly("an address of the envelope, or as the MTA's log has it")
    sender: str | None = exactly("of the envelope; empty for bounces", 0)
    subject: str | None = exactly("decoded")
    message_id: str | None = exactly("with its angle brackets")
    uidl: str | None = exactly("as POP3 names it")
    queue_id: str | None = exactly("the `qp` of the SMTP reply, or the log's message number")
    domain: str | None = exactly("of a recipient, or of the sender")
    since: Cursor = 0
    limit: int = Field(100, ge=1, le=MOST)
    oldest_first: bool = Field(False, description="to go on from the last one's id as `since`")

    def filters(self, within: Space | None) -> Filters | None:
        """What the store is asked for; None where nothing of it can belong to the space."""
        if within and ((self.to and not within.holds(self.to)) or (self.domain or within.domain) != within.domain):
            return None
        words = (self.to, self.sender, self.subject, self.message_id, self.uidl, self.queue_id)
        return Filters(*words, within.domain if within else self.domain)


class Brief(BaseModel):
    """A journey in one line. ``id`` finds it whole."""

    model_config = ConfigDict(extra="forbid")

    id: int
    at: float = Field(description="when it was queued, wall clock, in seconds since 1970")
    sender: str = Field(description="of the envelope; empty for a bounce")
    to: list[str] = Field(description="of the envelope")
    subject: str | None = Field(description="null while no copy in a Maildir tells it")
    message_id: str | None
    octets: int | None
    queued_as: str = Field(description="the `qp` of the SMTP reply")
    end: Disposition
    why: str
    ended: bool = Field(description="nothing more is to come but POP3")
    legs: dict[str, State] = Field(description="SMTP, queue, Maildir, POP3: the worst of all recipients")
    alarms: int = Field(description="how many times the host did what its rules did not foretell")
    copies: int = Field(description="forwarded copies and bounces below it")
    messages: list[int] = Field(description="ids of what lies in Maildirs of it: /v1/messages/{id}")
    cursor: int = Field(description="behind its last event")


class Found(Answer):
    """Journeys, and where to go on."""

    journeys: list[Brief]
    cursor: int = Field(description="of the store, before it was searched: what comes later is behind it")


class Whole(Answer):
    """One journey with all that came of it."""

    journey: Journey
    messages: list[int] = Field(description="ids of what lies in Maildirs of it: /v1/messages/{id}")


def brief(journey: Journey, messages: list[int]) -> Brief:
    """The line for a journey."""
    message = journey.message
    return Brief(
        id=journey.id,
        at=message.at,
        sender=message.sender,
        to=[one.address for one in message.recipients],
        subject=journey.subject,
        message_id=journey.message_id,
        octets=message.octets,
        queued_as=message.queued_as,
        end=journey.end,
        why=journey.why,
        ended=journey.ended,
        legs={leg.name: leg.state for leg in journey.legs},
        alarms=len(journey.alarms),
        copies=len(journey.copies),
        messages=messages,
        cursor=journey.cursor,
    )


def found(live: Live, ids: tuple[int, ...], within: Space | None) -> list[Journey]:
    """The journeys of these messages, each once, in the order of the ids, as the space may see them."""
    whole: dict[int, Journey] = {}
    known: set[int] = set()
    for one in ids:
        journey = None if one in known else live.store.journey(one)
        if journey is not None:
            known |= {journey.id, *(copy.id for copy in journey.copies)}
            if (part := seen(journey, within)) is not None:
                whole[journey.id] = part
    return list(whole.values())


def copies_of(live: Live, journey: Journey, within: Space | None) -> list[int]:
    """Ids of the copies in Maildirs, as far as the space holds their addresses."""
    family = arrivals_of(live.store.events_of(journey.id))
    return [one.id for one in family if within is None or within.holds(one.to)]


def journeys(live: Live) -> APIRouter:
    """The endpoints, over one store. They run in threads."""
    router = APIRouter()
    world: dict[str, Any] = {"host": live.host.name, "mta": live.host.mta}

    def line(journey: Journey, within: Space | None) -> Brief:
        return brief(journey, copies_of(live, journey, within))

    @router.get("/v1/journeys", operation_id="journeys")
    def listed(within: Within, asked: Annotated[Search, Query()]) -> Found:
        """Journeys of which all that is given fits, whole and never in part; newest first."""
        cursor = live.store.cursor()
        filters = asked.filters(within)
        search = live.store.search
        ids = search(filters, asked.since, asked.limit, oldest_first=asked.oldest_first) if filters else ()
        return Found(**world, journeys=[line(one, within) for one in found(live, ids, within)], cursor=cursor)

    @router.get("/v1/journeys/{id}", operation_id="journey")
    def whole(within: Within, id: Id) -> Whole:
        """A journey by the id of any of its messages: envelope, legs, evidence, what was foretold, files, pickups."""
        journey = live.store.journey(id)
        part = seen(journey, within) if journey else None
        if part is None:
            raise ApiError(404, "there is no journey of that id", "/v1/journeys has those there are")
        return Whole(**world, journey=part, messages=copies_of(live, part, within))

    return router
