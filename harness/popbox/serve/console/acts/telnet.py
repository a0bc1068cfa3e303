"""The HOWTO's session typed in the browser, line by line, on 110 or 25 of the mail host that is served."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from popbox.errors import ConnectionFailed
from popbox.hosts.base import SERVICES, Host, Service
from popbox.serve.console.acts.acting import acting, done
from popbox.serve.console.render import Pages, missing
from popbox.serve.errors import ApiError
from popbox.serve.forms import Entered, Filled, Filling
from popbox.serve.live import Live
from popbox.serve.sessions import Session
from popbox.serve.writes.common import Asking
from popbox.serve.writes.telnet import IDLE_S, LINE_OCTETS, NEEDS, SAMPLES, Talk, Talks, content

TELNET = "/telnet"
SHOWN_LINES = 300  # our choice: the last ones of a conversation
SHOWN_CHARACTERS = 30_000  # our choice: of these, so that the page stays small
PORTS: dict[Service, int] = {"smtp": 25, "pop3": 110}
FORGOTTEN = "there is no such conversation of yours; one that was ended long ago is forgotten"
TalkId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{16}$")]


def talking(live: Live, pages: Pages, talks: Talks) -> APIRouter:
    """The page that begins a conversation, and the page of one."""
    router = APIRouter(include_in_schema=False)

    def page(session: Session | None, status: int = 200, problem: ApiError | None = None) -> Response:
        services = [_service(live.host, one) for one in SERVICES]
        return acting(
            pages, "telnet.html.j2", session, status, page="telnet", title="Telnet", services=services, problem=problem,
            talk=None, idle_s=IDLE_S,
        )  # fmt: skip

    def shown(talk: Talk, session: Session, status: int = 200, problem: ApiError | None = None) -> Response:
        lines, left_out = _last(talk.lines)
        return acting(
            pages, "telnet.html.j2", session, status, page="telnet", title=f"Port {PORTS[talk.service]}", talk=talk,
            lines=lines, left_out=left_out, next_line=_next(talk), within=content(talk), problem=problem,
            most=LINE_OCTETS, idle_s=IDLE_S,
        )  # fmt: skip

    @router.get(TELNET)
    def ask(session: Entered) -> Response:
        """On which port."""
        return page(session)

    @router.post(TELNET)
    def begin(form: Filled, session: Filling, caller: Asking) -> Response:
        """Connect."""
        try:
            if (on := form.one("on")) not in SERVICES:
                return page(session, 422, ApiError(422, "smtp or pop3 is wanted"))
            talk = talks.begin(on, session, caller)
        except ApiError as problem:
            return page(session, problem.status, problem)
        return done(pages, f"{TELNET}/{talk.id}#line")

    @router.get(f"{TELNET}/{{id}}")
    def show(id: TalkId, session: Entered) -> Response:
        """What was said, and the form for the next line."""
        talk = talks.of(id, session) if session else None
        return shown(talk, session) if talk and session else missing(pages, FORGOTTEN)

    @router.post(f"{TELNET}/{{id}}")
    def say(id: TalkId, form: Filled, session: Filling) -> Response:
        """Send a line."""
        if (talk := talks.of(id, session)) is None:
            return missing(pages, FORGOTTEN)
        try:
            talks.say(talk, form.one("line"))
        except ApiError as problem:
            return shown(talk, session, problem.status, problem)
        return done(pages, f"{TELNET}/{id}#line")

    @router.post(f"{TELNET}/{{id}}/end")
    def end(id: TalkId, _: Filled, session: Filling) -> Response:
        """Hang up."""
        if (talk := talks.of(id, session)) is None:
            return missing(pages, FORGOTTEN)
        talks.end(talk)
        return done(pages, f"{TELNET}/{id}")

    return router


def _service(host: Host, service: Service) -> dict[str, Any]:
    """A port as the page offers it."""
    cannot = host.cannot(NEEDS[service])
    try:
        where = "" if cannot else str(host.address(service))
    except ConnectionFailed as error:
        where, cannot = "", str(error)
    return {"name": service, "port": PORTS[service], "where": where, "cannot": cannot, "sample": SAMPLES[service]}


def _last(lines: tuple[str, ...]) -> tuple[list[str], int]:
    """The last lines of a conversation that fit on a page, and how many are left out."""
    kept, size = list[str](), 0
    for line in reversed(lines[-SHOWN_LINES:]):
        size += len(line)
        if size > SHOWN_CHARACTERS:
            break
        kept.append(line)
    return kept[::-1], len(lines) - len(kept)


def _next(talk: Talk) -> str:
    """What the sample has next, as long as what was typed is the sample; passwords are compared by their place."""
    lines = SAMPLES[talk.service]
    said = [one.text for one in talk.wire.log if one.side == "C"]
    same = all(one == line or one.startswith("PASS *") for one, line in zip(said, lines, strict=False))
    return lines[len(said)] if same and len(said) < len(lines) else ""
