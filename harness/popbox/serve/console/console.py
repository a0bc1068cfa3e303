"""All screens, and the files that they load."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Response

from popbox.serve.console.box import boxes
from popbox.serve.console.explain import explaining
from popbox.serve.console.host import host_screens
from popbox.serve.console.journeys import journeys
from popbox.serve.console.mail import frames
from popbox.serve.console.render import Pages
from popbox.serve.live import Live
from popbox.serve.mail.messages import Mailroom
from popbox.serve.move.handed import OldHost
from popbox.serve.watch.metrics import Counts

STATIC = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def console(live: Live, mailroom: Mailroom, counts: Counts, pages: Pages, old: OldHost | None) -> tuple[APIRouter, ...]:
    """The routers of the screens that change nothing; ``old`` is the host that was moved from, if any."""
    screens = (
        journeys(live, mailroom, counts, pages),
        host_screens(live, pages),
        explaining(live, mailroom, pages, old),
    )
    return *screens, boxes(live, mailroom, pages), frames(live, mailroom, pages), _static()


def _static() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    here = files("popbox.serve.console") / "static"
    held = {name: ((here / name).read_bytes(), kind) for name, kind in STATIC.items()}
    report = (files("popbox.report") / "templates" / "report.css").read_bytes()
    held["report.css"] = (report, "text/css")

    @router.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in held:
            return Response("there is no such file", 404, media_type="text/plain")
        octets, kind = held[name]
        return Response(octets, media_type=kind)

    return router
