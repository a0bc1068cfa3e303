"""A box as POP3 numbers it, and who opened it or failed to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from popbox.errors import HostError
from popbox.hosts.base import Ability, Host
from popbox.journey.feeds.maildirs import Numbered
from popbox.journey.join.rules import logins
from popbox.journey.store.search import Filters
from popbox.serve.console.journeys import Number, Text
from popbox.serve.console.render import Pages, missing, neighbours
from popbox.serve.live import Live
from popbox.serve.mail.messages import Mailroom

PAGE = 100
SESSIONS = 20  # our choice: the newest sessions, and as many refusals
LOG_OCTETS = 1 << 20  # our choice: of the log, from its end
NAMES = 5  # our choice: journeys that are looked at for the addresses of a box
REFUSED = ("login refused", "maildrop not opened")


@dataclass(frozen=True, slots=True)
class Session:
    """One session that has ended, by the POP3 log. ``at`` is wall clock, ``took_s`` seconds."""

    at: float
    login: str
    peer: str
    id: str
    retrieved: int
    removed: int
    took_s: float
    end: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """One login to the box that failed."""

    at: float
    login: str
    peer: str
    why: str


def boxes(live: Live, mailroom: Mailroom, pages: Pages) -> APIRouter:
    """The screen."""
    router = APIRouter(include_in_schema=False)

    @router.get("/box")
    def box(maildir: Text, first: Number = 1) -> Response:
        """A box as POP3 numbers it, and who opened it."""
        if not maildir.startswith("popboxes/") or ".." in maildir.split("/") or "\0" in maildir:
            return missing(pages, "a Maildir below popboxes/ is wanted")
        shown = {**_listed(live, mailroom, maildir, first), **_opened(live.host, maildir)}
        return pages.page("box.html.j2", page="box", title=maildir, **shown)

    return router


def _listed(live: Live, mailroom: Mailroom, maildir: str, first: int) -> dict[str, Any]:
    """One page of a box, with the journeys of its messages."""
    total, listed, problem = 0, list[Numbered](), live.host.cannot(Ability.FILES)
    try:
        total, listed = (0, []) if problem else mailroom.page(maildir, first, PAGE)
    except LookupError as error:
        problem = str(error)
    except HostError as error:
        problem = f"the box cannot be listed: {error.what}"
    journeys = {one.uidl: next(iter(live.store.search(Filters(uidl=one.uidl), limit=1)), None) for one in listed}

    before, after = neighbours(first, len(listed), total, PAGE)

    def path(at: int) -> str:
        return f"/box?{urlencode({'maildir': maildir, 'first': at})}" if at else ""

    return {
        "problem": problem,
        "total": total,
        "first": first,
        "listed": listed,
        "journeys": journeys,
        "addresses": _addresses(live, maildir, [of for of in journeys.values() if of]),
        "previous_path": path(before),
        "next_path": path(after),
    }


def _addresses(live: Live, maildir: str, ids: list[int]) -> list[str]:
    """Addresses whose mail came into the box, by the newest of these journeys."""
    found: dict[str, None] = {}
    for of in ids[-NAMES:]:
        journey = live.store.journey(of)
        for message in (journey.message, *journey.copies) if journey else ():
            into = [one for one in message.recipients if any(file.path.startswith(f"{maildir}/") for file in one.files)]
            found |= dict.fromkeys(one.address for one in into)
    return list(found)


def _opened(host: Host, maildir: str) -> dict[str, Any]:
    """Who opened the box, and who failed to; ``unseen`` is why that is not known."""
    none: dict[str, Any] = {"logins": (), "sessions": (), "refusals": ()}
    if why := host.cannot(Ability.LOG):
        return {**none, "unseen": why}
    try:
        names = [one.login for one in logins(host) if f"{one.box}/Maildir" == maildir]
        sessions, refusals = heard(host.log_end("pop3", LOG_OCTETS), names) if names else ([], [])
    except HostError as error:
        return {**none, "unseen": error.what}
    unseen = "" if names else "No login opens this box."
    return {"logins": names, "sessions": sessions, "refusals": refusals, "unseen": unseen}


def heard(log: str, names: list[str]) -> tuple[list[Session], list[Refusal]]:
    """What the end of a POP3 log tells of logins, the newest first. Of a list that is full no further line is read."""
    sessions, refusals = list[Session](), list[Refusal]()
    of_login = [f'"login": {json.dumps(one)}' for one in names]
    of_session, of_refusal = ['"event": "session"'], [f'"event": {json.dumps(one)}' for one in REFUSED]
    wanted = of_session + of_refusal
    for line in reversed(log.splitlines()):
        if not wanted:
            break
        if any(one in line for one in wanted) and any(one in line for one in of_login):
            said = _said(line, names)
            if said is not None and said["event"] == "session":
                sessions.append(_session(said))
            elif said is not None and said["event"] in REFUSED:
                refusals.append(Refusal(float(said["time"]), said["login"], str(said.get("peer", "")), _why(said)))
            wanted = of_session * (len(sessions) < SESSIONS) + of_refusal * (len(refusals) < SESSIONS)
    return sessions, refusals


def _said(line: str, names: list[str]) -> dict[str, Any] | None:
    """A line of one of these logins; None where it is none."""
    try:
        said: dict[str, Any] = json.loads(line)
        return said if said["login"] in names and float(said["time"]) >= 0 and isinstance(said["event"], str) else None
    except (ValueError, KeyError, TypeError):
        return None


def _session(said: dict[str, Any]) -> Session:
    counts = [said.get(name) for name in ("retrieved", "deleted")]
    retrieved, removed = (one if isinstance(one, int) else 0 for one in counts)
    took = said.get("seconds")
    took_s = float(took) if isinstance(took, int | float) else 0.0
    ids = (said["login"], str(said.get("peer", "")), str(said.get("id", "")))
    return Session(float(said["time"]), *ids, retrieved, removed, took_s, str(said.get("why", "")))


def _why(said: dict[str, Any]) -> str:
    return str(said.get("reason") or said.get("said") or said["event"])
