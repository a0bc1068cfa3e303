"""The HTTP API as an ASGI application over one host and its journeys. Its schema, ``openapi.json``, only grows.

``python -m popbox.serve.app`` writes that file again, after a change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from popbox.errors import HostError, NotPossibleError
from popbox.journey.store import Store, StoreError
from popbox.serve.console.acts.all import acts
from popbox.serve.console.console import console
from popbox.serve.console.render import MOVE, Pages
from popbox.serve.errors import ApiError, Problem, body_of, request_schema, why_unusable
from popbox.serve.guard import Guard
from popbox.serve.journeys import journeys
from popbox.serve.live import Live
from popbox.serve.mail.absent import absent
from popbox.serve.mail.messages import Mailroom, messages
from popbox.serve.mail.waits import waits
from popbox.serve.move.handed import Moving
from popbox.serve.reads import reads
from popbox.serve.rules import Rules, for_people, said_by
from popbox.serve.sessions import Sessions
from popbox.serve.space import Space
from popbox.serve.watch.events import Streams, events
from popbox.serve.watch.metrics import Counts, metrics
from popbox.serve.writes.all import Lasting, writes
from popbox.serve.writes.broken import Broken
from popbox.serve.writes.scenario.runs import Runs
from popbox.serve.writes.telnet import Talks

SCHEMA = Path(__file__).with_name("openapi.json")
NO_MOVE = Moving()
NO_SUCCESS = {"model": Problem, "description": "no success: one form for all"}


def application(live: Live, rules: Rules, shipped: Path | None = None, moving: Moving = NO_MOVE) -> Guard:
    """The API over a host and its store, with the guard around it. ``live`` is entered and left by the caller.

    ``shipped`` is the folder of the scenarios that come with popbox, ``moving`` what is known of a move.
    """

    def living(name: str) -> Space | None:
        domain = live.store.live_spaces().get(name)
        return None if domain is None else Space(name, domain)

    lasting = Lasting(Broken(live), Runs(live), Talks(live), shipped)
    lasting.broken.resume()  # also where nothing can be changed any more; first: a frozen host runs no command
    lasting.runs.resume()
    sessions = Sessions(rules.keys) if rules.keys else None
    more = (MOVE,) if moving else ()
    pages = Pages({"host": rules.host, "mta": rules.mta}, writes=sessions is not None, root=rules.root, more=more)
    api = _api(live, rules, lasting, pages, sessions, moving)
    return Guard(api, rules, sessions=sessions, living=living, page=pages.problem)


def _api(
    live: Live,
    rules: Rules,
    lasting: Lasting,
    pages: Pages,
    sessions: Sessions | None,
    moving: Moving = NO_MOVE,
) -> FastAPI:
    host = live.host
    api = FastAPI(
        title="popbox",
        version=version("popbox"),
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": NO_SUCCESS},
    )
    mailroom = Mailroom(live)
    streams = Streams(live)
    for router in (
        reads(live),
        journeys(live),
        waits(live, mailroom, lasting.broken),
        absent(live),
        messages(live, mailroom),
    ):
        api.include_router(router)
    for router in writes(live, rules.keys, lasting):
        api.include_router(router)
    counts = Counts(live.store)
    watching = (events(live, streams), metrics(live, streams, counts))
    pages_of = (
        *console(live, mailroom, counts, pages, moving.old),
        *acts(live, rules, pages, sessions, lasting, moving),
    )
    for router in (*watching, *pages_of):
        api.include_router(router)

    def answer(request: Request, error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
        if for_people(said_by(request.scope["headers"]), request.scope["path"]):
            return pages.of_problem(error, headers)
        return Response(body_of(error, host.name, host.mta), error.status, headers, media_type="application/json")

    @api.exception_handler(ApiError)
    async def told(request: Request, error: ApiError) -> Response:
        return answer(request, error)

    @api.exception_handler(HostError)
    async def unavailable(request: Request, error: HostError) -> Response:
        if isinstance(error, NotPossibleError):
            return answer(request, ApiError(409, "this host cannot do that", "", (error.what,)))
        return answer(request, ApiError(503, "the mail host does not answer", "popbox status", (error.what,)))

    @api.exception_handler(StoreError)
    async def unwritten(request: Request, error: StoreError) -> Response:
        return answer(request, ApiError(503, "the store of journeys fails", "see its disk", (str(error),)))

    @api.exception_handler(RequestValidationError)
    async def unusable(request: Request, error: RequestValidationError) -> Response:
        schema = request_schema(api.openapi(), request.scope["route"].path, request.method)
        where = why_unusable(error.errors(), schema)
        return answer(request, ApiError(422, "the request cannot be used", "see /openapi.json", where))

    @api.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        problem = ApiError(error.status_code, str(error.detail), "see /openapi.json")
        return answer(request, problem, error.headers)  # 405: Allow

    @api.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return answer(request, ApiError(500, "popbox has a fault", "please report it", (type(error).__name__,)))

    return api


def schema_text() -> str:
    """The OpenAPI description as it is kept: of ``v1``, without popbox's own version."""
    nowhere = cast(Any, _Nowhere())  # describing asks nothing of a host
    lasting = Lasting(Broken(nowhere), Runs(nowhere), Talks(nowhere))
    described = _api(nowhere, Rules(frozenset(), frozenset()), lasting, Pages({}, writes=False), None).openapi()
    return json.dumps({**described, "info": {**described["info"], "version": "v1"}}, indent=1) + "\n"


class _Nowhere:
    """A host in name only, and what stands beside one."""

    name = mta = ""

    def __init__(self) -> None:
        self.store = Store.in_memory()

    @property
    def host(self) -> _Nowhere:
        """Itself: what describes asks nothing of it."""
        return self

    def at_end(self, _do: object) -> None:
        """It does not end."""


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), "utf-8")
