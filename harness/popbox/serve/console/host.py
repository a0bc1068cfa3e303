"""What waits, and what is declared: asked of the host when a page is opened."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from popbox.errors import HostError
from popbox.hosts.base import Host
from popbox.journey.model import Message, Recipient, State
from popbox.serve.console.explain import FILES
from popbox.serve.console.journeys import Cursor, Text
from popbox.serve.console.render import Pages
from popbox.serve.console.words import below
from popbox.serve.errors import ApiError
from popbox.serve.journeys import found as journeys_of
from popbox.serve.live import Live
from popbox.serve.reads import asked

PAGE = 100


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
    host = live.host

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
    def accounts(of: Text = "", after: Text = "") -> Response:
        """Domains, mailboxes and forwards, with what is wrong beside the line that it is about."""
        return pages.page("accounts.html.j2", page="accounts", title="Accounts", of=of, **_accounts(host, of, after))

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


def _accounts(host: Host, of: str, after: str) -> dict[str, Any]:
    """One page of the mailboxes of a domain, of an address, or of all."""
    domains, mailboxes, forwards = (asked(host, kind, "list", "--json") for kind in ("domain", "mailbox", "forward"))
    findings, unlinted = _linted(host)
    wanted = of.strip().lower()

    def fits(address: str) -> bool:
        return not wanted or address.lower() == wanted or address.lower().rpartition("@")[2] == wanted

    chosen = [one for one in mailboxes if fits(one["address"]) and one["address"] > after]
    shown = [{**one, "maildir": below(_maildir(one), host.home())} for one in chosen[:PAGE]]
    logins = {one["login"] for one in mailboxes}  # what is said of one on another page stands there
    beside: dict[str, list[Any]] = {}
    loose: list[Any] = []
    for one in findings:
        login = one["text"].partition(" ")[0]
        (beside.setdefault(login, []) if login in logins else loose).append(one)
    return {
        "domains": [one for one in domains if not wanted or wanted.rpartition("@")[2] == one["domain"]],
        "mailboxes": shown,
        "forwards": [one for one in forwards if fits(one["address"])][:PAGE],
        "mailboxes_total": len(mailboxes),
        "forwards_total": len(forwards),
        "findings_total": len(findings),
        "beside": beside,
        "loose": loose[:PAGE],
        "unlinted": unlinted,
        "files": FILES,
        "next_path": f"/accounts?{urlencode({'of': of, 'after': shown[-1]['address']})}" if len(chosen) > PAGE else "",
    }


def _linted(host: Host) -> tuple[list[Any], str]:
    """What lint finds, or why it says nothing."""
    try:
        return asked(host, "lint", "--json", codes=(0, 1))["findings"], ""
    except ApiError as error:
        return [], "; ".join((error.error, *error.evidence))
    except HostError as error:
        return [], error.what


def _maildir(mailbox: Mapping[str, Any]) -> str:
    delivery = mailbox["delivery"] or ""
    return f"{mailbox['directory']}/{delivery[2:].rstrip('/')}" if delivery.startswith("./") else ""
