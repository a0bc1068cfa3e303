"""The host broken on purpose, and healed: services stopped, killed, frozen, cut off; disks full or read-only."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from popbox.hosts.base import SERVICES, Ability, Host
from popbox.hosts.breaking import place
from popbox.hosts.disk import DISKS
from popbox.serve.duration import seconds
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.reads import Answer
from popbox.serve.rules import Caller
from popbox.serve.space import Within
from popbox.serve.writes.broken import Broken, Fault
from popbox.serve.writes.common import TOKENS, Asking, Given, WholeHost, noted

Kinds = Literal["stop", "kill", "pause", "partition", "fill", "read-only"]
Targets = Literal["smtp", "pop3", "queue", "popboxes"]
TAKES: dict[str, tuple[str, ...]] = {"fill": DISKS, "read-only": ("popboxes",)}  # all others: a service
Id = Annotated[str, Path(pattern=r"^f[0-9a-f]{10}$", description="of a fault, as its making told it")]


class NewFault(Given):
    """A fault that is wanted."""

    fault: Kinds = Field(description="what is done to the host, as in a scenario's `break`")
    on: Targets = Field(description="`smtp` or `pop3`; for fill `queue` or `popboxes`, for read-only `popboxes`")
    lasts: str | None = Field(
        default=None,
        alias="for",
        max_length=20,
        description="heals by itself after 500ms, 30s, 2m, at most an hour; without it at DELETE or the end of serve",
    )

    @field_validator("lasts")
    @classmethod
    def _is_duration(cls, value: str | None) -> str | None:
        if value is not None and seconds(value) <= 0:
            raise ValueError("it is over before it begins")
        return value

    @model_validator(mode="after")
    def _fits(self) -> NewFault:
        takes = TAKES.get(self.fault, SERVICES)
        if self.on not in takes:
            raise ValueError(f"{self.fault} is on {' or '.join(takes)}")
        return self


class ShownFault(BaseModel):
    """A fault that is not healed."""

    model_config = ConfigDict(extra="forbid")

    id: str
    fault: Kinds
    on: Targets
    by: str = Field(description="who broke it: `token`, `console`, or `space NAME`")
    at: float = Field(description="wall clock, seconds since 1970")
    heals_at: float | None = Field(description="when it heals by itself; null where it does not")
    why: str = Field(description="why the last try to heal it failed; empty where none did")


class MadeFault(Answer, ShownFault):
    """A fault that was made."""


class Faults(Answer):
    """The faults that are not healed, oldest first."""

    faults: list[ShownFault]


class HealedFault(Answer):
    """A fault that is undone."""

    id: str
    fault: Kinds
    on: Targets
    answers: bool = Field(description="false: undone, and the service does not greet yet; true for a disk")
    evidence: list[str] = Field(description="why it does not")


def faults(live: Live, broken: Broken) -> APIRouter:
    """The endpoints, over one host."""
    router, host = APIRouter(), live.host
    world: dict[str, Any] = {"host": host.name, "mta": host.mta}

    @router.post("/v1/faults", operation_id="breakHost", status_code=201, dependencies=TOKENS)
    def break_host(new: NewFault, caller: WholeHost, within: Within) -> MadeFault:
        """Break the host on purpose, one fault a target. With `popbox-space` too, the end of that space heals it."""
        return MadeFault(**world, **_shown(begun(live, broken, new, caller, within.name if within else "")))

    @router.get("/v1/faults", operation_id="faults")
    def shown(within: Within) -> Faults:
        """The faults that are not healed: who broke what, and when it heals."""
        found = [one for one in broken.active if within is None or one.space == within.name]
        return Faults(**world, faults=[ShownFault(**_shown(one)) for one in found])

    @router.delete("/v1/faults/{id}", operation_id="healHost", dependencies=TOKENS)
    def heal_host(id: Id, caller: Asking, within: Within) -> HealedFault:
        """Undo a fault. The token of a space is good for its own."""
        fault = next((one for one in broken.active if one.id == id), None)
        if fault is None or (within is not None and fault.space != within.name):
            raise ApiError(404, f"there is no fault {id}", "GET /v1/faults shows those that are not healed")
        left = broken.heal(id, caller.who)
        told: dict[str, Any] = {"id": id, "fault": fault.kind, "on": fault.target}
        return HealedFault(**world, **told, answers=not left, evidence=[left] if left else [])

    return router


def unable(host: Host, kind: str) -> str:
    """Why a host cannot be broken so; empty where it can."""
    needed = (Ability(kind), *([Ability.OWN_DISK] if kind in TAKES else []))
    return next(filter(None, map(host.cannot, needed)), "")


def begun(live: Live, broken: Broken, new: NewFault, caller: Caller, space: str) -> Fault:
    """Break the host; the end of ``space`` heals it, where that is not empty.

    Raises:
        ApiError: the host cannot, or the target is broken already.
        HostError: it could not be done.
        StoreError: it could not be noted.
    """
    with noted(live, caller, "break", fault=new.fault, on=new.on, lasts=new.lasts) as told:
        if why := unable(live.host, new.fault):
            raise ApiError(409, "this host cannot do that", "", (why,))
        id_ = told["id"] = f"f{secrets.token_hex(5)}"
        who = f"space {space}" if space else caller.who
        fault = Fault(id_, new.fault, new.on, place(live.host), who, space, time.time())
        return broken.begin(fault, None if new.lasts is None else seconds(new.lasts))


def _shown(one: Fault) -> dict[str, Any]:
    told = {"id": one.id, "fault": one.kind, "on": one.target, "by": one.who}
    return {**told, "at": one.at, "heals_at": one.heals_at, "why": one.why}
