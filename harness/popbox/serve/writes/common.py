"""What every write has in common: who asks, what the host says to it, and the event that tells of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict

from popbox.errors import PopboxError
from popbox.hosts.base import Ability, Host
from popbox.journey.model import Event, Kind
from popbox.serve.errors import ApiError
from popbox.serve.guard import CALLER
from popbox.serve.live import Live
from popbox.serve.rules import Caller

SOURCE = "api"  # of events that tell of writes
OF_EXIT_CODE = {2: 422, 111: 503}  # of mailhost -> HTTP; else 409, the host is not as the change needs it
_TOKEN = APIKeyHeader(name="popbox-token", scheme_name="token", auto_error=False, description="of the whole server")
_SPACE = APIKeyHeader(name="popbox-space", scheme_name="space", auto_error=False, description="of one space")
TOKENS = [Security(_TOKEN), Security(_SPACE)]  # for the description: the guard has seen to them


class Given(BaseModel):
    """What a client sends: unknown keys are refused, and no value is taken for one of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def asking(request: Request) -> Caller:
    """Who asks, as the guard has found out."""
    caller: Caller = request.scope[CALLER]
    return caller


def _whole(request: Request) -> Caller:
    caller = asking(request)
    if not caller.whole:
        hint = "the token of a space is good for its mailboxes, its messages and its own end"
        raise ApiError(403, "this changes the whole host, and needs popbox-token", hint)
    return caller


Asking = Annotated[Caller, Depends(asking)]
WholeHost = Annotated[Caller, Depends(_whole)]


@contextmanager
def noted(live: Live, caller: Caller, what: str, **said: Any) -> Iterator[dict[str, Any]]:
    """An event for what is done within it, also where that fails: who, what and how it ended. Never a secret.

    What is put into the mapping is told too; ``space`` is the one that it concerns, or empty.

    Raises:
        StoreError: the event could not be stored.
    """
    more: dict[str, Any] = {"what": what, "who": caller.who, "space": caller.space or "", **said, "outcome": "done"}
    try:
        yield more
    except BaseException as error:
        more["outcome"] = error.error if isinstance(error, ApiError) else _why(error)
        raise
    finally:
        live.store.append([Event(time.time(), Kind.NOTE, None, more, SOURCE)])


def _why(error: BaseException) -> str:
    return str(error).splitlines()[0] if isinstance(error, PopboxError) else f"popbox: {type(error).__name__}"


def able(host: Host, *abilities: Ability) -> None:
    """Go on only where the host can do that.

    Raises:
        ApiError: 409, with the reason.
    """
    if why := next(filter(None, map(host.cannot, abilities)), ""):
        raise ApiError(409, "this host cannot do that", "", (why,))


def told(host: Host, *argv: str, stdin: bytes = b"") -> str:
    """What ``mailhost ARGV`` prints.

    Raises:
        ApiError: it refused.
        HostError: the host does not answer.
    """
    ran = host.run(*argv, stdin=stdin)
    if ran.code:
        said = (ran.stderr or ran.stdout).strip().splitlines()[-5:]
        status = OF_EXIT_CODE.get(ran.code, 409)
        raise ApiError(status, f"mailhost {' '.join(argv[:2])} ended with {ran.code}", "", tuple(said))
    return ran.stdout
