"""Sending a message from the console: written in a form, pasted as it is, or one of the hard ones."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response
from pydantic import ValidationError

from popbox.hosts.base import Ability
from popbox.message.letters import HARD
from popbox.serve.console.acts.acting import acting, answer_at, done, unusable
from popbox.serve.console.journeys import Text
from popbox.serve.console.render import Pages
from popbox.serve.errors import ApiError
from popbox.serve.forms import Entered, Filled, Filling, Form
from popbox.serve.live import Live
from popbox.serve.sessions import Session
from popbox.serve.writes.common import Asking
from popbox.serve.writes.message import SENDER, NewMessage
from popbox.serve.writes.send import Letter, letter_of, sent

SEND = "/send"
SHOWN = 160  # our choice: characters of a line of the dialogue
FIELDS = ("from", "to", "subject", "text", "html", "name", "content", "raw", "hard")


def sending(live: Live, pages: Pages) -> APIRouter:
    """The page and its form."""
    router = APIRouter(include_in_schema=False)

    def page(session: Session | None, status: int = 200, **values: Any) -> Response:
        shown: dict[str, Any] = {"answer": None, "problem": None, "given": {}, **values}
        given = {"from": SENDER, **dict.fromkeys(FIELDS[1:], ""), **shown.pop("given")}
        cannot = live.host.cannot(Ability.SEND)
        return acting(
            pages, "send.html.j2", session, status, page="send", title="Send a message", cannot=cannot, given=given,
            hard=HARD.values(), **shown,
        )  # fmt: skip

    @router.get(SEND)
    def show(session: Entered, to: Text = "", answer: Text = "") -> Response:
        """The forms, and what the server said to the message that was sent last."""
        return page(session, answer=session.kept(answer) if session and answer else None, given={"to": to})

    @router.post(SEND)
    def send(form: Filled, session: Filling, caller: Asking) -> Response:
        """Send it; a refusal by the server is an answer, too."""
        given = {name: form.one(name) for name in FIELDS if form.all(name)}
        try:
            new, letter = _wanted(form, given)
            receipt = sent(live, caller, new, letter)
        except ApiError as problem:
            return page(session, problem.status, problem=problem, given=given)
        return done(pages, answer_at(SEND, session, receipt.model_copy(update={"dialogue": _cut(receipt.dialogue)})))

    return router


def _cut(dialogue: list[str]) -> list[str]:
    """Lines as a page shows them, and a session keeps them: a message may be one line."""
    return [one if len(one) <= SHOWN else f"{one[:SHOWN]}... {len(one) - SHOWN} characters more" for one in dialogue]


def _wanted(form: Form, given: Mapping[str, str]) -> tuple[NewMessage, Letter]:
    """The envelope and the message that a form asks for.

    Raises:
        ApiError: 422, it is none; says which field is why.
    """
    kind, fields = form.one("kind"), dict[str, Any]()
    if kind == "raw":
        fields["raw"] = form.one("raw")
    elif kind == "fields":
        fields |= {name: form.lines(name) for name in ("subject", "text", "html") if given.get(name)}
        if given.get("name"):
            octets = form.lines("content").encode()
            fields["attachments"] = [{"name": given["name"], "content": base64.b64encode(octets).decode()}]
    elif given.get("hard") not in HARD:
        raise ApiError(422, "a hard message of the list is wanted")
    to = given.get("to", "").replace(",", " ").split()
    try:
        new = NewMessage.model_validate({"from": given.get("from", "").strip(), "to": to, **fields})
    except ValidationError as error:
        raise unusable(error, "this form cannot be sent") from error
    if kind in ("raw", "fields"):
        return new, letter_of(new)
    hard = HARD[given["hard"]]
    return new, Letter(hard.octets if hard.exact else hard.octets.replace(b"\r\n", b"\n"), exact=hard.exact)
