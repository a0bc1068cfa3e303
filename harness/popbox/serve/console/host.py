"""What waits, and what is declared: asked of the host when a page is opened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import APIRouter, Response

from popbox.journey.model import Message, Recipient, State
from popbox.serve.console.accounts import PAGE, Asked, Show, shown
from popbox.serve.console.explain import FILES
from popbox.serve.console.journeys import Cursor, Text
from popbox.serve.console.render import Pages
from popbox.serve.journeys import found as journeys_of
from popbox.serve.live import Live


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the queue: its recipient that is tried next, and how many ``more`` there are.

    ``next_at`` is wall clock, in seconds.
    """

    id: int
    sender: str
    address: str
    more: int
    state: State
    tries: int
    why: str
    next_at: float | None
    waits_s: float


def host_screens(live: Live, pages: Pages) -> APIRouter:
    """The screens that ask the host."""
    router = APIRouter(include_in_schema=False)

    @router.get("/queue")
    def queue(after: Cursor = 0) -> Response:
        """What the MTA has not ended: the oldest of it, by the next try."""
        ids = live.store.unfinished(since=after or 0, limit=PAGE + 1)
        waiting = sorted(_waiting(live, ids[:PAGE]), key=lambda one: one.next_at or 0.0)
        total, owed = live.store.open_count()
        return pages.page(
            "queue.html.j2",
            page="queue",
            title="Queue",
            waiting=waiting,
            total=total,
            owed=owed,
            after=after,
            next=ids[PAGE - 1] if len(ids) > PAGE else 0,
        )

    @router.get("/accounts")
    def accounts(of: Text = "", show: Show = "", after: Text = "") -> Response:
        """Domains, mailboxes and forwards, with what is wrong beside the line that it is about."""
        values = shown(pages, live.host, Asked(of, show, after))
        return pages.page("accounts.html.j2", page="accounts", title="Accounts", of=of, files=FILES, **values)

    return router


def _waiting(live: Live, ids: tuple[int, ...]) -> Iterator[Waiting]:
    """Those of the messages that wait for the MTA; of others only a file is owed. Copies have ids of their own."""
    now = time.time()
    journeys = journeys_of(live, ids, None)
    for message in (message for one in journeys for message in (one.message, *one.copies) if message.id in ids):
        pending = [one for one in message.recipients if one.legs[1].state in (State.WAITING, State.DEFERRED)]
        if pending or not message.recipients:
            yield _next(message, pending, now)


def _next(message: Message, pending: list[Recipient], now: float) -> Waiting:
    waits_s = max(0.0, now - message.at)
    if not pending:
        why = "the log shows no delivery attempt yet"
        return Waiting(message.id, message.sender, "", 0, State.WAITING, 0, why, None, waits_s)
    one = min(pending, key=lambda one: one.legs[1].next_at or 0.0)
    leg = one.legs[1]
    row = (leg.state, leg.tries, leg.why, leg.next_at, waits_s)
    return Waiting(message.id, message.sender, one.address, len(pending) - 1, *row)
