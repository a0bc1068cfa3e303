"""A move as it goes: boxes by verdict, messages that differ, and the cut-over sheet with its ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from popbox.serve.console.acts.acting import acting, done
from popbox.serve.console.journeys import Number, Text
from popbox.serve.console.render import Pages, missing, neighbours
from popbox.serve.errors import ApiError
from popbox.serve.forms import Entered, Filled
from popbox.serve.live import Live
from popbox.serve.move.handed import Judged, Moving, Progress, Proof
from popbox.serve.move.sheet import Line
from popbox.serve.sessions import Session
from popbox.serve.writes.common import Asking, noted

MOVE, TICKS = "/move", "/move/ticks"
PAGE = 100
FINDINGS = 100  # our choice: of one box on a page
EVERY_MS = 2_000  # our choice: how often a page that is looked at asks for what is new


def moves(live: Live, pages: Pages, moving: Moving) -> APIRouter:
    """The screen, its boxes, and the form of a step."""
    router = APIRouter(include_in_schema=False)

    def page(session: Session | None, status: int = 200, **values: Any) -> Response:
        asked = {"show": "", "first": 1, "problem": None, **values}
        sheet, unread = _sheet(moving)
        shown = {**_proof(moving.proof, asked["show"], asked["first"]), **asked, "sheet": sheet, "unread": unread}
        where = moving.sheet.path.name if moving.sheet else ""
        return acting(pages, "move.html.j2", session, status, page="move", title="Move", where=where, **shown)

    @router.get(MOVE)
    def show(session: Entered, show: Text = "", first: Number = 1) -> Response:
        """Boxes by verdict, and the sheet."""
        if not moving:
            return missing(pages, "no move is shown here: `popbox serve --move STATE --sheet FILE` does")
        return page(session, show=show if show in ("equal", "different") else "", first=first)

    @router.get(f"{MOVE}/box")
    def box(login: Text, first: Number = 1) -> Response:
        """What is not the same of one box."""
        boxes = moving.proof.look()[1] if moving.proof else ()
        if (found := next((one for one in boxes if one.login == login), None)) is None:
            return missing(pages, "no box of that login was judged yet")
        part = found.findings[first - 1 : first - 1 + FINDINGS]
        _, after = neighbours(first, len(part), len(found.findings), FINDINGS)
        next_path = f"{MOVE}/box?{urlencode({'login': login, 'first': after})}" if after else ""
        title = f"Box {found.login}"
        return pages.page("moved.html.j2", page="move", title=title, box=found, findings=part, next_path=next_path)

    @router.post(TICKS)
    def tick(form: Filled, session: Entered, caller: Asking) -> Response:
        """Tick a step of the sheet, or take its tick away."""
        on = form.one("done") == "yes"
        if moving.sheet is None:
            return missing(pages, "there is no cut-over sheet here: `popbox serve --sheet FILE` has one")
        try:
            with noted(live, caller, "tick" if on else "untick") as said:
                said["step"] = moving.sheet.tick(form.one("key"), done=on)
        except LookupError as error:
            return page(session, 409, problem=ApiError(409, str(error), "look at the sheet again; nothing was done"))
        except OSError as error:
            why = (str(error.strerror or error),)
            return page(session, 503, problem=ApiError(503, "the sheet cannot be changed", "it is as it was", why))
        return done(pages, f"{MOVE}#sheet")

    return router


def _sheet(moving: Moving) -> tuple[list[Line], str]:
    """Its lines, or why they cannot be read."""
    if moving.sheet is None:
        return [], ""
    try:
        return moving.sheet.read(), ""
    except OSError as error:
        return [], f"{moving.sheet.path}: {error.strerror or error}"


def _proof(proof: Proof | None, show: str, first: int) -> dict[str, Any]:
    progress, boxes = proof.look() if proof else (Progress(), ())
    wanted: Sequence[Judged] = [one for one in boxes if not show or one.equal == (show == "equal")]
    part = wanted[first - 1 : first - 1 + PAGE]

    before, after = neighbours(first, len(part), len(wanted), PAGE)

    def path(at: int) -> str:
        return f"{MOVE}?{urlencode({'show': show, 'first': at})}" if at else ""

    return {
        "proof": proof.name if proof else "",
        "progress": progress,
        "boxes": part,
        "wanted": len(wanted),
        "left_out": progress.equal + progress.different - len(boxes),
        "previous_path": path(before),
        "next_path": path(after),
        "every": EVERY_MS if proof and not progress.ended else 0,
    }
