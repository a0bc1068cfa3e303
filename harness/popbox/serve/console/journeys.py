"""Now, what a search finds, and one message's journey."""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse

from popbox.journey.model import Journey, Kind
from popbox.journey.store import Filters
from popbox.serve.console.mail import mail_of
from popbox.serve.console.render import Pages, missing
from popbox.serve.console.way import way
from popbox.serve.journeys import Id
from popbox.serve.journeys import found as journeys_of
from popbox.serve.live import Live
from popbox.serve.mail.messages import Mailroom
from popbox.serve.watch.metrics import Counts, by_kind

PAGE = 100  # journeys of a page
MOST_COUNTED = 1000  # our choice: messages in the queue that are listed, and looked at for deferrals
NOTHING_YET = "No message has been seen yet. Send one: its row appears here."
WRONG = ((Kind.MISSING, "lost"), (Kind.BOUNCED, "bounced"), (Kind.ALARM, "alarms"))
ALWAYS = ("waiting", "deferred", Kind.MISSING, Kind.BOUNCED)  # told also where it is none
KEYS = ("to", "sender", "message_id", "uidl", "queue_id", "subject")  # what a search looks for, each match whole

Ids = Annotated[str, Query(max_length=2_000, pattern=r"^\d{1,16}(,\d{1,16}){0,99}$")]
Cursor = Annotated[int | None, Query(ge=0, le=2**53)]
Number = Annotated[int, Query(ge=1, le=10**9)]
Text = Annotated[str, Query(max_length=1_000)]


def journeys(live: Live, mailroom: Mailroom, counts: Counts, pages: Pages) -> APIRouter:
    """The screens that show journeys."""
    router = APIRouter(include_in_schema=False)
    began = time.time()

    @router.get("/")
    def now(before: Cursor = None, show: Text = "", domain: Text = "") -> Response:
        """The newest journeys, what waits, and what is wrong."""
        cursor = live.store.cursor()
        if show == "queue":
            ids = tuple(reversed(live.store.unfinished(limit=MOST_COUNTED)))[:PAGE]
        else:
            ids = live.store.search(Filters(domain=domain or None), before=before, limit=PAGE)
        found = journeys_of(live, ids, None)
        made = pages.rows(found)
        last = found[len(made) - 1].id if len(made) < len(found) else ids[-1] if len(ids) == PAGE else 0
        older = _path(before=last, domain=domain) if last and show != "queue" else ""
        return pages.page(
            "now.html.j2",
            page="now",
            title="In the queue" if show == "queue" else f"Journeys of {domain}" if domain else "Journeys",
            cursor=cursor if before is None and not show else None,
            filter=_path(domain=domain)[2:],
            counts=_tally(live, counts),
            began=began,
            trouble=live.state.error and f"The host is not recorded now: {live.state.error}",
            filters=_filters(show, domain),
            rows=made,
            empty=NOTHING_YET if before is None and not show and not domain else "None.",
            newer=_path(domain=domain) if before is not None else None,
            older=older,
        )

    @router.get("/find")
    def find(q: Text = "") -> Response:
        """What a search box means: an address, a subject, a Message-ID, a UIDL or a queue id, each whole."""
        wanted = q.strip()
        keyed = [wanted, f"<{wanted}>"] if "@" in wanted and not wanted.startswith("<") else [wanted]
        found = {
            one
            for value in keyed
            for key in KEYS
            if value
            for one in live.store.search(Filters(**{key: value}), limit=PAGE + 1)
        }
        ids = tuple(sorted(found, reverse=True)[: PAGE + 1])
        listed = journeys_of(live, ids, None)[:PAGE]
        if len(listed) == 1:
            return RedirectResponse(f"{pages.root}/journeys/{listed[0].id}", 303)
        made = pages.rows(listed)
        return pages.page(
            "find.html.j2",
            page="find",
            title=_found(len(made), more=len(ids) > PAGE or len(made) < len(listed)) if wanted else "Find a message",
            query=wanted,
            rows=made,
        )

    @router.get("/journeys/{of}")
    def journey(of: Id, copy: Cursor = None, view: Text = "text", first: Number = 1) -> Response:
        """One message's way: what was foretold, what happened, and the evidence for it."""
        cursor = live.store.cursor()  # first, so that what comes in between is in the stream
        if (found := live.store.journey(of)) is None:
            return missing(pages, "there is no such journey; one that is old may have been taken out of the store")
        if found.id != of:
            return RedirectResponse(f"{pages.root}/journeys/{found.id}", 303)
        events = {event.seq: event for event in live.store.events_of(found.id)}
        return pages.page(
            "journey.html.j2",
            page="journey",
            title=found.subject or "no subject seen",
            journey=found,
            cursor=cursor,
            **way(live, mailroom, found, events, first),
            **mail_of(mailroom, events.values(), copy, view),
        )

    @router.get("/rows")
    def rows(ids: Ids, domain: Text = "") -> Response:
        """Rows of the table of journeys, and what is counted, for the script that keeps both live."""
        asked = journeys_of(live, tuple(int(one) for one in ids.split(",")), None)
        wanted = [one for one in asked if not domain or _is_of(one, domain)]
        return pages.page("rows.html.j2", journeys=wanted, counts=_tally(live, counts), began=began)

    return router


def _tally(live: Live, counts: Counts) -> list[tuple[str, int, str]]:
    """Key, number and label: what waits, and what went wrong since this server began."""
    waiting, owed = live.store.open_count()
    found = by_kind(counts.now())
    deferred = "deferred" if waiting <= MOST_COUNTED else f"deferred, of the oldest {MOST_COUNTED}"
    told = [("waiting", waiting, "in the queue"), ("deferred", live.store.deferred_count(MOST_COUNTED), deferred)]
    told += [("owed", owed, "delivered, their files not seen yet")]
    told += [(kind.value, found[kind], label) for kind, label in WRONG]
    return [one for one in told if one[1] or one[0] in ALWAYS]


def _found(many: int, *, more: bool) -> str:
    """How many messages a search found; a message and its copies are one."""
    said = f"{many} {'message' if many == 1 else 'messages'}"
    return f"The newest {said} of those found" if more else f"{said} found"


def _path(**values: str | int | None) -> str:
    """The path of the first screen with what is set."""
    return "/?" + urlencode({key: value for key, value in values.items() if value})


def _filters(show: str, domain: str) -> list[tuple[str, str, bool]]:
    """Label, path, and whether it is this one."""
    links = [("all", "/", not show and not domain), ("in the queue", _path(show="queue"), show == "queue")]
    return [*links, (domain, _path(domain=domain), True)] if domain else links


def _is_of(journey: Journey, domain: str) -> bool:
    addresses = [journey.message.sender, *(one.address for one in journey.message.recipients)]
    return any(one.rpartition("@")[2].lower() == domain.lower() for one in addresses)
