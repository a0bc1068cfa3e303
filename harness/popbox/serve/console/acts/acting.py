"""What the pages with forms share: whether there are forms, their tickets, and where their answers are."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from popbox.serve.console.render import Pages
from popbox.serve.errors import ApiError, why_unusable
from popbox.serve.sessions import Session


def acting(pages: Pages, template: str, session: Session | None, status: int = 200, **values: Any) -> Response:
    """A page with forms: they have tickets of ``session``; without one the page says what is lacking.

    Its template takes two macros from ``acts.html.j2``, with context. ``{% call form(PATH, LABEL) %}`` is a form, where
    ``session`` is; ``{{ locked(PATH) }}`` says on the page at PATH what is lacking where none is.
    """
    return pages.page(template, status, session=session, **values)


def done(pages: Pages, path: str) -> Response:
    """The answer to a form that was done: the page at ``path`` shows it, also when it is loaded again."""
    return RedirectResponse(f"{pages.root}{path}", 303)


def unusable(error: ValidationError, what: str) -> ApiError:
    """What fields are to be shown as: 422, and for each that is wrong why."""
    return ApiError(422, what, "nothing was done", why_unusable(error.errors())[:10])


def answer_at(page: str, session: Session, answer: Any) -> str:
    """A path of ``page`` whose ``answer`` is the name that the session keeps the answer by."""
    return f"{page}?answer={quote(session.keep(answer))}"
