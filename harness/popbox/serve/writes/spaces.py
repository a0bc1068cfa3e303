"""Spaces: a domain of its own for one test, worker or shard, in which any address receives."""

from __future__ import annotations

import json
import secrets
import threading
import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, ConfigDict, Field

from popbox.hosts.base import Ability, Host
from popbox.serve.errors import ApiError
from popbox.serve.keys import Keys
from popbox.serve.live import Live
from popbox.serve.reads import Answer
from popbox.serve.space import Within
from popbox.serve.writes.broken import Broken
from popbox.serve.writes.common import TOKENS, Asking, Given, WholeHost, able, noted, told
from popbox.serve.writes.mailboxes import Login, make

MOST_SPACES = 100  # our choice: alive at once; more is a client that ends none
BOX = "box"  # the local part of the mailbox that takes all mail of a space
LABELS = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
Name = Annotated[str, Path(pattern=r"^s[0-9a-f]{10}$", description="of a space, as its making told it")]


class NewSpace(Given):
    """A space that is wanted."""

    under: str = Field(
        default="test",
        max_length=200,
        pattern=LABELS,
        description="what the random label stands under: `test` (RFC 2606), or what a form takes, as `example.com`",
    )


class MadeSpace(Answer):
    """A space that was made. Its token is for the header `popbox-space`."""

    space: str = Field(description="its name")
    domain: str = Field(description="any address in it receives")
    cursor: int = Field(description="behind the last event before it was made")
    token: str = Field(description="limits reads and writes to this space")
    mailbox: Login = Field(description="takes what comes for any address of the domain without a mailbox of its own")


class ShownSpace(BaseModel):
    """A space that has not ended."""

    model_config = ConfigDict(extra="forbid")

    space: str
    domain: str
    cursor: int
    made_at: float = Field(description="wall clock, seconds since 1970")


class Spaces(Answer):
    """The spaces that have not ended, oldest first."""

    spaces: list[ShownSpace]


class EndedSpace(Answer):
    """A space that has ended: its domain and mail are gone from the host."""

    space: str
    domain: str
    removed: bool = Field(description="false: the host had no such domain any more")


def spaces(live: Live, keys: Keys | None, broken: Broken) -> APIRouter:
    """The endpoints, over one host."""
    router, host, one_at_a_time = APIRouter(), live.host, threading.Lock()
    world: dict[str, Any] = {"host": host.name, "mta": host.mta}

    @router.post("/v1/spaces", operation_id="makeSpace", status_code=201, dependencies=TOKENS)
    def make_space(caller: WholeHost, new: Annotated[NewSpace, Body()] = NewSpace()) -> MadeSpace:  # noqa: B008
        """Make a domain of its own, in which any address receives."""
        name = f"s{secrets.token_hex(5)}"
        domain = f"{name}.{new.under}"
        with noted(live, caller, "make space", space=name, domain=domain):
            able(host, Ability.DECLARE)
            with one_at_a_time:
                _room(live)
                live.store.make_space(name, domain, time.time())
            cursor = next(cursor for one, _, cursor, _ in live.store.spaces() if one == name)
            login = _declare(live, name, domain)
        token = keys.of_space(name) if keys else ""
        return MadeSpace(**world, space=name, domain=domain, cursor=cursor, token=token, mailbox=login)

    @router.get("/v1/spaces", operation_id="spaces")
    def shown(within: Within) -> Spaces:
        """The spaces that have not ended, those of killed clients too."""
        found = [ShownSpace(space=one[0], domain=one[1], cursor=one[2], made_at=one[3]) for one in live.store.spaces()]
        return Spaces(**world, spaces=[one for one in found if within is None or one.space == within.name])

    @router.delete("/v1/spaces/{space}", operation_id="endSpace", dependencies=TOKENS)
    def end_space(space: Name, caller: Asking) -> EndedSpace:
        """End a space: its faults are healed, its domain goes from the host, with all its mail."""
        if not caller.whole and caller.space != space:
            raise ApiError(403, "that is another space than the one of popbox-space")
        domain = live.store.live_spaces().get(space)
        if domain is None:
            raise ApiError(404, f"there is no space {space}", "GET /v1/spaces shows those that have not ended")
        heal = partial(broken.heal_all, "end of space", lambda one: one.space == space)
        with noted(live, caller, "end space", space=space, domain=domain):
            able(host, Ability.DECLARE)
            heal()  # first: what is frozen runs no command
            removed = _remove(host, space, domain)
            live.store.end_space(space, time.time())
            heal()  # what began in between; from now on nothing does
        return EndedSpace(**world, space=space, domain=domain, removed=removed)

    return router


def _room(live: Live) -> None:
    if len(live.store.live_spaces()) >= MOST_SPACES:
        hint = "GET /v1/spaces shows them, DELETE /v1/spaces/SPACE ends one"
        raise ApiError(409, f"there are {MOST_SPACES} spaces, and that is all that may be", hint)


def _declare(live: Live, name: str, domain: str) -> Login:
    """Declare what a space has on the host, or nothing of it. The store knows it already, so a crash leaves it shown.

    Raises:
        ApiError: the host refused.
        HostError: the host does not answer.
    """
    declared = False
    try:
        told(live.host, "domain", "add", "--", domain)  # refuses a domain that is there
        declared = True
        login = make(live.host, f"{BOX}@{domain}", name, extensions=True)
        told(live.host, "catchall", "set", "--", domain, f"{BOX}@{domain}")
    except BaseException:
        if declared:
            _remove(live.host, name, domain)
        live.store.end_space(name, time.time())
        raise
    return login


def _remove(host: Host, name: str, domain: str) -> bool:
    """Take a space's domain away with its mail, once it is clear that it is the one that was made for it.

    Its mailbox has the space's name as login. A domain that has nothing in it loses nothing.

    Raises:
        ApiError: it is another's.
        HostError: the host does not answer.
    """
    found = [one for one in json.loads(told(host, "domain", "list", "--json")) if one["domain"] == domain]
    if not found:
        return False
    boxes = json.loads(told(host, "mailbox", "list", "--json", "--", domain))
    if (boxes or found[0]["forwards"]) and name not in {one["login"] for one in boxes}:
        evidence = (f"no mailbox in {domain} has the login {name}",)
        raise ApiError(409, f"{domain} is not the domain that was made for {name}", "remove it by hand", evidence)
    told(host, "domain", "del", "--purge", "--", domain)
    return True
