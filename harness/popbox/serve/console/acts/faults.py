"""Breaking the host from the console, and healing it: what is broken now, by whom, and when it heals."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Response
from pydantic import ValidationError

from popbox.errors import HostError
from popbox.hosts.base import SERVICES, Host
from popbox.hosts.breaking import SWITCHES
from popbox.serve.console.acts.acting import acting, answer_at, done, unusable
from popbox.serve.console.journeys import Text
from popbox.serve.console.render import Pages
from popbox.serve.errors import ApiError
from popbox.serve.forms import Entered, Filled, Filling
from popbox.serve.live import Live
from popbox.serve.sessions import Session
from popbox.serve.writes.broken import Broken
from popbox.serve.writes.common import Asking
from popbox.serve.writes.faults import TAKES, Id, NewFault, begun, unable

FAULTS = "/faults"
USUAL = "30s"
KINDS = ("stop", "kill", *SWITCHES)


def breaking(live: Live, pages: Pages, broken: Broken) -> APIRouter:
    """The page and its forms."""
    router = APIRouter(include_in_schema=False)

    def page(session: Session | None, status: int = 200, **values: Any) -> Response:
        shown: dict[str, Any] = {"answer": "", "problem": None, "lasts": USUAL, "wanted": "", **values}
        cannot = {kind: unable(live.host, kind) for kind in KINDS}
        can = [(kind, on) for kind in KINDS if not cannot[kind] for on in TAKES.get(kind, SERVICES)]
        return acting(
            pages, "faults.html.j2", session, status, page="faults", title="Faults", faults=broken.active,
            now=time.time(), ill=_ill(live.host), can=can, cannot={kind: why for kind, why in cannot.items() if why},
            **shown,
        )  # fmt: skip

    @router.get(FAULTS)
    def show(session: Entered, answer: Text = "") -> Response:
        """What is broken, and the forms that break and heal."""
        return page(session, answer=session.kept(answer) or "" if session and answer else "")

    @router.post(FAULTS)
    def break_(form: Filled, session: Filling, caller: Asking) -> Response:
        """Break something, for a while or until it is healed."""
        wanted, lasts = form.one("what"), form.one("for").strip()
        kind, _, on = wanted.partition(" ")
        try:
            new = NewFault.model_validate({"fault": kind, "on": on, "for": lasts or None})
            made = begun(live, broken, new, caller, "")
        except ValidationError as error:
            return page(session, 422, problem=unusable(error, "this is no fault"), lasts=lasts, wanted=wanted)
        except ApiError as problem:
            return page(session, problem.status, problem=problem, lasts=lasts, wanted=wanted)
        return done(pages, answer_at(FAULTS, session, f"{made.kind} {made.target}: done"))

    @router.post(f"{FAULTS}/{{id}}/heal")
    def heal(id: Id, _: Filled, session: Filling, caller: Asking) -> Response:
        """Undo a fault, and wait until the service answers."""
        try:
            left = broken.heal(id, caller.who)
        except ApiError as problem:
            return page(session, problem.status, problem=problem)
        said = f"{id} is undone" + (f"; the service does not answer yet: {left}" if left else "")
        return done(pages, answer_at(FAULTS, session, said))

    return router


def _ill(host: Host) -> list[str]:
    try:
        return host.ailments()
    except HostError as error:
        return [f"the host does not say: {error.what}"]
