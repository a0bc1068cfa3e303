"""What waits, what is declared, how an address goes, what a box holds: asked of the host when a page is opened."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from popbox.errors import HostError
from popbox.hosts.base import Ability, Host
from popbox.journey.feeds.maildirs import Numbered
from popbox.journey.join.rules import logins
from popbox.journey.model import Journey, State
from popbox.journey.store.search import Filters
from popbox.serve.console.journeys import Number, Text
from popbox.serve.console.render import Pages
from popbox.serve.console.words import below
from popbox.serve.errors import ApiError
from popbox.serve.journeys import found as journeys_of
from popbox.serve.live import Live
from popbox.serve.mail.messages import Mailroom
from popbox.serve.reads import asked

PAGE = 100
LINES = 2_000  # our choice: of a file that a page shows
SESSIONS = 50  # our choice: the newest lines of the POP3 log about a box
LOG_OCTETS = 1 << 20  # our choice: of the log, from its end
FILES = ("control/me", "control/rcpthosts", "control/locals", "control/virtualdomains", "users/assign")
CONTROL = ("badmailfrom", "defaultdomain", "defaulthost", "envnoathost", "morercpthosts", "percenthack", "plusdomain")


@dataclass(frozen=True, slots=True)
class Waiting:
    """One recipient of a message in the queue. ``next_at`` is wall clock, in seconds."""

    id: int
    sender: str
    address: str
    state: State
    tries: int
    why: str
    next_at: float | None
    waits_s: float


def host_screens(live: Live, mailroom: Mailroom, pages: Pages) -> APIRouter:
    """The screens that ask the host."""
    router = APIRouter(include_in_schema=False)
    host = live.host

    @router.get("/queue")
    def queue() -> Response:
        """What the MTA has not ended, the next try first."""
        ids = live.store.unfinished(limit=PAGE + 1)
        found = journeys_of(live, ids[:PAGE], None)
        waiting = sorted(_waiting(found), key=lambda one: one.next_at or 0.0)
        return pages.page(
            "queue.html.j2",
            page="queue",
            title="Queue",
            waiting=waiting,
            more=len(ids) > PAGE,
            shown=len(waiting),
        )

    @router.get("/accounts")
    def accounts(of: Text = "", after: Text = "") -> Response:
        """Domains, mailboxes and forwards, with what is wrong beside the line that it is about."""
        return pages.page("accounts.html.j2", page="accounts", title="Accounts", of=of, **_accounts(host, of, after))

    @router.get("/explain")
    def explain(address: Text = "") -> Response:
        """An address's way through the files."""
        wanted, problem, explained = address.strip(), "", None
        if wanted:
            try:
                explained = asked(host, "explain", "--json", "--", wanted, codes=(0, 1))
            except ApiError as error:
                problem = "; ".join((error.error, *error.evidence))
        title = f"How mail for {wanted} goes" if wanted else "Explain an address"
        values = {"asked": wanted, "explained": explained, "problem": problem, "home": host.home()}
        return pages.page("explain.html.j2", 422 if problem else 200, page="explain", title=title, **values)

    @router.get("/file")
    def file(path: Text) -> Response:
        """A file that decides how mail goes, as it is."""
        if not _decides(path):
            why = "only files that route mail are shown: control/, users/assign, users/domains/ and .qmail files"
            return pages.page("missing.html.j2", 404, page="file", title="Not shown", why=why)
        lines = host.read(path).decode("utf-8", "replace").splitlines()
        return pages.page("file.html.j2", page="file", title=path, lines=lines[:LINES], cut=len(lines) > LINES)

    @router.get("/box")
    def box(maildir: Text, first: Number = 1) -> Response:
        """A box as POP3 numbers it, and who opened it."""
        if not maildir.startswith("popboxes/") or ".." in maildir.split("/"):
            why = "a Maildir below popboxes/ is wanted"
            return pages.page("missing.html.j2", 404, page="box", title="Not shown", why=why)
        return pages.page("box.html.j2", page="box", title=maildir, **_box(live, mailroom, maildir, first))

    return router


def _waiting(journeys: Iterable[Journey]) -> list[Waiting]:
    now = time.time()
    found = []
    for journey in journeys:
        for message in (journey.message, *journey.copies):
            for one in message.recipients:
                leg = one.legs[1]
                if leg.state in (State.WAITING, State.DEFERRED):
                    row = (leg.state, leg.tries, leg.why, leg.next_at, now - message.at)
                    found.append(Waiting(journey.id, message.sender, one.address, *row))
    return found


def _accounts(host: Host, of: str, after: str) -> dict[str, Any]:
    """One page of the mailboxes of a domain, of an address, or of all."""
    domains, mailboxes, forwards = (asked(host, kind, "list", "--json") for kind in ("domain", "mailbox", "forward"))
    findings = asked(host, "lint", "--json", codes=(0, 1))["findings"]
    wanted = of.strip().lower()

    def fits(address: str) -> bool:
        return not wanted or address.lower() == wanted or address.lower().rpartition("@")[2] == wanted

    chosen = [one for one in mailboxes if fits(one["address"]) and one["address"] > after]
    shown = [{**one, "maildir": below(_maildir(one), host.home())} for one in chosen[:PAGE]]
    logins = {one["login"] for one in shown}
    beside: dict[str, list[Any]] = {}
    for one in findings:
        if (login := one["text"].partition(" ")[0]) in logins:
            beside.setdefault(login, []).append(one)
    loose = [one for one in findings if one["text"].partition(" ")[0] not in logins]
    return {
        "domains": [one for one in domains if not wanted or wanted.rpartition("@")[2] == one["domain"]],
        "mailboxes": shown,
        "forwards": [one for one in forwards if fits(one["address"])][:PAGE],
        "mailboxes_total": len(mailboxes),
        "forwards_total": len(forwards),
        "findings_total": len(findings),
        "beside": beside,
        "loose": loose[:PAGE],
        "files": FILES,
        "next_path": f"/accounts?{urlencode({'of': of, 'after': shown[-1]['address']})}" if len(chosen) > PAGE else "",
    }


def _maildir(mailbox: Mapping[str, Any]) -> str:
    delivery = mailbox["delivery"] or ""
    return f"{mailbox['directory']}/{delivery[2:].rstrip('/')}" if delivery.startswith("./") else ""


def _decides(path: str) -> bool:
    """Whether a page may show a file: those that route mail, never one with passwords."""
    parts = path.split("/")
    if ".." in parts or path.startswith("/"):
        return False
    if parts[-1].startswith(".qmail") and parts[0] in ("popboxes", "alias"):
        return True
    routes = path in FILES or (parts[0] == "control" and parts[1:] in [[name] for name in CONTROL])
    return routes or parts[:2] == ["users", "domains"]


def _box(live: Live, mailroom: Mailroom, maildir: str, first: int) -> dict[str, Any]:
    """One page of a box, with the journeys of its messages."""
    total, listed, problem = 0, list[Numbered](), live.host.cannot(Ability.FILES)
    try:
        total, listed = (0, []) if problem else mailroom.page(maildir, first, PAGE)
    except LookupError as error:
        problem = str(error)
    except HostError as error:
        problem = f"the box cannot be listed: {error}"
    journeys = {one.uidl: next(iter(live.store.search(Filters(uidl=one.uidl), limit=1)), None) for one in listed}
    sessions, none = _sessions(live.host, maildir)

    def path(at: int) -> str:
        return f"/box?{urlencode({'maildir': maildir, 'first': at})}"

    return {
        "problem": problem,
        "total": total,
        "first": first,
        "listed": listed,
        "journeys": journeys,
        "previous_path": path(max(1, first - PAGE)) if first > 1 else "",
        "next_path": path(first + PAGE) if first + len(listed) <= total else "",
        "sessions": sessions,
        "no_sessions": none,
    }


def _sessions(host: Host, maildir: str) -> tuple[list[str], str]:
    """The newest lines of the POP3 log about the logins of a box; where there is none, why."""
    if why := host.cannot(Ability.LOG):
        return [], why
    opened_by = [one.login for one in logins(host) if f"{one.box}/Maildir" == maildir]
    if not opened_by:
        return [], "No login opens this box."
    quoted = [json.dumps(one) for one in opened_by]
    lines = host.log("pop3")[-LOG_OCTETS:].splitlines()
    found = [line for line in lines if any(f'"login": {one}' in line for one in quoted)]
    return found[-SESSIONS:], f"The POP3 log has no line about {', '.join(opened_by)}."
