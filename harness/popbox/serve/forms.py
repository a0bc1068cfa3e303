"""What a form of the console sends: ``application/x-www-form-urlencoded``, with limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from popbox.serve.errors import ApiError
from popbox.serve.sessions import Session

FORM_OCTETS = 3 << 20  # our choice: a message of 1 MiB, of which each octet may be written with three
MOST_FIELDS = 100  # our choice
TICKET_FIELD = "ticket"
FORM, SESSION = "popbox.form", "popbox.session"  # keys of a scope


@dataclass(frozen=True, slots=True)
class Form:
    """The fields, in their order. Line ends are CR LF, as browsers send them."""

    fields: tuple[tuple[str, str], ...]

    def one(self, name: str, default: str = "") -> str:
        """The value of a field.

        Raises:
            ApiError: 422, it is there twice.
        """
        found = self.all(name)
        if len(found) > 1:
            raise ApiError(422, f"the field {name} is there {len(found)} times")
        return found[0] if found else default

    def all(self, name: str) -> list[str]:
        """Its values."""
        return [value for key, value in self.fields if key == name]

    def lines(self, name: str) -> str:
        """A text with LF line ends."""
        return self.one(name).replace("\r\n", "\n")


def decoded(body: bytes) -> Form:
    """The form of a request's body.

    Raises:
        ApiError: 422, it is no form, is not UTF-8, or has too many fields.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as error:
        hint = f"at most {MOST_FIELDS} fields, in UTF-8, as browsers send them"
        raise ApiError(422, "this form cannot be read", hint, (type(error).__name__,)) from error
    return Form(tuple(pairs))


def filled(request: Request) -> Form:
    """The form of a request that the guard has let pass, its ticket used."""
    form: Form = request.scope[FORM]
    return form


def entered(request: Request) -> Session | None:
    """The session of a request for a page; None for who has not entered."""
    session: Session | None = request.scope.get(SESSION)
    return session


def filling(request: Request) -> Session:
    """The session of a request that sends a form: the guard lets none pass without."""
    session: Session = request.scope[SESSION]
    return session


Filled = Annotated[Form, Depends(filled)]
Entered = Annotated[Session | None, Depends(entered)]
Filling = Annotated[Session, Depends(filling)]
