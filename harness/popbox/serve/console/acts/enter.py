"""Entering: a browser says the token, or the word of the link that serve printed, and gets a cookie; and leaving."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from popbox.serve.console.acts.acting import acting, done
from popbox.serve.console.journeys import Text
from popbox.serve.console.render import Pages
from popbox.serve.errors import ApiError
from popbox.serve.forms import Entered, Filled
from popbox.serve.rules import ENTER, Rules
from popbox.serve.sessions import Session, Sessions

# Where one may be led after entering: a page of ours by its path alone, so never to another host.
NEXT = re.compile(r"/(?:[a-z]{1,20}(?:/[0-9]{1,19})?)?")
Once = Annotated[str, Query(max_length=100, pattern=r"^[A-Za-z0-9_-]*$")]


def entering(rules: Rules, pages: Pages, sessions: Sessions | None) -> APIRouter:
    """The page, and its two forms."""
    router = APIRouter(include_in_schema=False)

    def page(session: Session | None, status: int = 200, **values: Any) -> Response:
        shown = acting(pages, "enter.html.j2", session, status, page="enter", title="Enter", **values)
        shown.headers["referrer-policy"] = "strict-origin"  # `once` is in this page's address
        return shown

    @router.get(ENTER)
    def ask(session: Entered, once: Once = "", next: Text = "/") -> Response:
        """Ask for the token. A link has ``once``, which opening the page does not use up: previews open links, too."""
        where = _inner(next)
        if session and not once and where != ENTER and where != "/":
            return done(pages, where)
        return page(session, once=once, next=where)

    if sessions is None:
        return router

    @router.post(ENTER)
    async def enter(request: Request, form: Filled, session: Entered) -> Response:
        """Begin a session; one that the browser had ends."""
        jar = rules.jar(request.headers["host"])
        try:
            value = sessions.enter(form.one("once") or form.one("token").strip())
        except ApiError as error:
            return page(None, error.status, problem=error, once="", next=_inner(form.one("next")))
        sessions.leave(session)
        answer = done(pages, _inner(form.one("next")))
        answer.headers.append("set-cookie", jar.set(value))
        return answer

    @router.post("/leave")
    async def leave(request: Request, _: Filled, session: Entered) -> Response:
        """End the session."""
        sessions.leave(session)
        answer = done(pages, ENTER)
        answer.headers.append("set-cookie", rules.jar(request.headers["host"]).set(""))
        return answer

    return router


def _inner(path: str) -> str:
    return path if NEXT.fullmatch(path) else "/"
