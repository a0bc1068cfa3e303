"""New mailboxes. The password is generated on the mail host and told in this one answer."""

from __future__ import annotations

import json
import secrets
import threading
from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from popbox.hosts.base import Ability, Host
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.reads import Answer
from popbox.serve.space import Space, Within
from popbox.serve.writes.common import TOKENS, Asking, Given, able, noted, told

MOST_BOXES = 100  # our choice: in one space; more is a client that makes one for each message
Local = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[!-~]+$", description="before the @")]


class Login(BaseModel):
    """A mailbox and how to log in to it by POP3."""

    model_config = ConfigDict(extra="forbid")

    address: str
    login: str
    password: str = Field(description="generated on the mail host, and told here only")


class NewMailbox(Given):
    """A mailbox that is wanted."""

    local: Local | None = Field(default=None, description="the local part; without it a random one")
    domain: str | None = Field(
        default=None, max_length=253, description="one that the host has; in a space it is the space's own"
    )
    extensions: bool = Field(default=False, description="take LOCAL-anything too")


class MadeMailbox(Answer, Login):
    """A mailbox that was made."""


def make(host: Host, address: str, login: str, *, extensions: bool) -> Login:
    """Declare a mailbox with a generated password.

    Raises:
        ApiError: the host refused it.
        HostError: the host does not answer.
    """
    flags = ["--extensions"] if extensions else []
    shown = told(host, "mailbox", "add", "--json", "--generate", "--login", login, *flags, "--", address)
    return Login.model_validate(json.loads(shown))


def mailboxes(live: Live) -> APIRouter:
    """The endpoint, over one host."""
    router, host, one_at_a_time = APIRouter(dependencies=TOKENS), live.host, threading.Lock()
    world: dict[str, Any] = {"host": host.name, "mta": host.mta}

    @router.post("/v1/mailboxes", operation_id="makeMailbox", status_code=201)
    def make_mailbox(new: NewMailbox, caller: Asking, within: Within) -> MadeMailbox:
        """Declare a mailbox: in a space (`popbox-space`), or in any domain of the host."""
        address = f"{new.local or f'm{secrets.token_hex(4)}'}@{_domain(new.domain, within)}"
        with noted(live, caller, "make mailbox", address=address):
            able(host, Ability.DECLARE)
            with one_at_a_time if within else nullcontext():
                if within:
                    _room(host, within)
                made = make(host, address, f"m{secrets.token_hex(5)}", extensions=new.extensions)
        return MadeMailbox(**world, **made.model_dump())

    return router


def _room(host: Host, space: Space) -> None:
    """Go on only where the space may have one mailbox more.

    Raises:
        ApiError: 409, it has all that it may, or the host refused to tell.
        HostError: the host does not answer.
    """
    if len(json.loads(told(host, "mailbox", "list", "--json", "--", space.domain))) >= MOST_BOXES:
        hint = f"any address of {space.domain} receives without a mailbox of its own; the end of the space takes all"
        raise ApiError(409, f"this space has {MOST_BOXES} mailboxes, and that is all that it may have", hint)


def _domain(wanted: str | None, within: Space | None) -> str:
    """The domain of a new mailbox.

    Raises:
        ApiError: it is not said, or another's than the space's.
    """
    if within is None and wanted is None:
        raise ApiError(422, "domain is wanted", "name one that the host has, or make a space and say popbox-space")
    if within is not None and wanted is not None and wanted.lower() != within.domain:
        raise ApiError(403, "that domain is not of this space", f"the space has {within.domain}")
    return within.domain if within is not None else wanted or ""
