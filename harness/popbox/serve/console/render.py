"""Templates -> pages. All text from outside is escaped, and what cannot be seen in it is made visible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from fastapi import Response
from jinja2 import Environment

from popbox.journey.model import Journey
from popbox.report.pages import environment
from popbox.serve.console import words
from popbox.serve.errors import ApiError
from popbox.serve.guard import OF_PAGES

SCREENS = (
    ("now", "Now", "/"),
    ("queue", "Queue", "/queue"),
    ("accounts", "Accounts", "/accounts"),
    ("explain", "Explain", "/explain"),
    ("send", "Send", "/send"),
    ("telnet", "Telnet", "/telnet"),
    ("scenarios", "Scenarios", "/scenarios"),
    ("faults", "Faults", "/faults"),
)
MOVE = ("move", "Move", "/move")
ROWS_OCTETS = 56 * 1024  # our choice: a page has at most 60 KiB, a hundred rows of usual words
HEADERS = {name.decode(): value.decode() for name, value in OF_PAGES}


@cache
def _templates() -> Environment:
    made = environment("popbox.serve.console")
    made.filters |= {
        "below": words.below,
        "boxes": words.boxes,
        "clock": words.clock,
        "cut": words.cut,
        "duration": words.duration,
        "file_link": words.file_link,
        "foretold": words.foretold,
        "moment": words.moment,
        "octets": words.octets,
        "outcome": words.outcome,
        "stamp": words.stamp,
        "took": words.took,
        "verdict": words.verdict,
    }
    return made


class Pages:
    """Pages of one server: all share the host's name, what may be written, and the path that a proxy puts before."""

    def __init__(
        self, world: Mapping[str, str], *, writes: bool, root: str = "", more: tuple[tuple[str, str, str], ...] = ()
    ) -> None:
        """``world`` has ``host`` and ``mta``; ``root`` is a path without a slash at its end; ``more``: screens."""
        self.root = root
        self._shared: dict[str, Any] = {"world": world, "writes": writes, "root": root, "screens": SCREENS + more}

    def text(self, template: str, **values: Any) -> str:
        """A template, filled in."""
        return _templates().get_template(template).render(self._shared | values)

    def rows(self, journeys: Iterable[Journey]) -> list[str]:
        """Rows of the table of journeys, as markup: of the first ones, as many as a page holds."""
        return self.fitting("parts.html.j2", "row", ((journey,) for journey in journeys), ROWS_OCTETS)

    def fitting(self, template: str, macro: str, each: Iterable[tuple[Any, ...]], octets: int) -> list[str]:
        """What a macro makes of the values, as markup: of the first ones, as many as have room, and one at least."""
        row = getattr(_templates().get_template(template).make_module(self._shared), macro)
        made, left = list[str](), octets
        for values in each:
            text = row(*values)
            left -= len(text.encode())
            if left < 0 and made:
                break
            made.append(text)
        return made

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page as an answer."""
        return Response(self.text(template, **values), status, HEADERS, "text/html")

    def problem(self, error: ApiError) -> bytes:
        """An error as people see it."""
        return self.text("problem.html.j2", page="problem", title=error.error, problem=error).encode()

    def of_problem(self, error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
        """The same as an answer."""
        return Response(self.problem(error), error.status, {**HEADERS, **(headers or {})}, "text/html")


def neighbours(first: int, shown: int, total: int, page: int) -> tuple[int, int]:
    """Where the pages before and after begin, 0 where there is none; ``shown`` of ``total`` entries begin at ``first``.

    Entries count from 1; ``page`` is how many one page has.
    """
    return max(1, first - page) if first > 1 else 0, first + page if shown and first + shown <= total else 0


def missing(pages: Pages, why: str) -> Response:
    """A page that says what is not there."""
    return pages.page("missing.html.j2", 404, page="missing", title="Not found", why=why)
