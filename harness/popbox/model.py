"""What a scenario says and what came of it: the two models that everything else passes around.

Scenario side: strict, unknown keys are errors. Result side: plain data, fit for JSON.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from popbox.fields import Address, Strict, Table
from popbox.proof import Message
from popbox.steps import Step

Statement = Annotated[str, Field(pattern=r"^H-([1-9]|[12][0-9]|3[0-6])$")]


class Mailbox(Table):
    """A mailbox to declare; the keys are those of accounts.toml."""

    login: str | None = Field(default=None, pattern=r"^[^:\s]+$")
    crypt: str = Field(pattern=r"^[^:\s]+$", description="a crypt(3) hash")
    extensions: bool = Field(default=False, description="joe-anything too")


class Domain(Table):
    """A domain to declare; the keys are those of accounts.toml."""

    catchall: str | None = Field(default=None, description="mailbox or forward that takes all other addresses")
    mailboxes: dict[str, Mailbox] = Field(default_factory=dict)
    forwards: dict[str, list[Address]] = Field(default_factory=dict, description="local part -> addresses")


class Accounts(Table):
    """What must be declared before the first step."""

    domains: dict[str, Domain] = Field(default_factory=dict)


class Needs(Table):
    """What a scenario cannot do without; where it is missing, the scenario is skipped with the reason."""

    host: list[Literal["local", "docker", "remote"]] | None = None
    mta: list[Literal["qmail", "standin"]] | None = None
    chain: bool = Field(default=False, description="it runs popup | checkpoppasswd | pop3d on the mail host")
    own_host: bool = Field(default=False, alias="own-host", description="it changes what others would see")
    own_disk: bool = Field(
        default=False, alias="own-disk", description="a host of its own, with queue and popboxes on small file systems"
    )

    @model_validator(mode="before")
    @classmethod
    def _disk_means_host(cls, data: Any) -> Any:
        return {**data, "own-host": True} if isinstance(data, dict) and data.get("own-disk") is True else data


class Scenario(Table):
    """One behaviour, proved by steps in order."""

    title: str = Field(min_length=1, max_length=120)
    proves: list[Statement] = Field(default_factory=list, description="statements of the HOWTO that it proves")
    needs: Needs = Needs()
    accounts: Accounts = Accounts()
    step: list[Step] = Field(min_length=1)


class Verdict(StrEnum):
    """How a scenario ended. ``NOT_PROVED``: nothing failed, and nobody could look at what became of its mail."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_PROVED = "not proved"
    SKIPPED = "skipped"


class Observation(Strict):
    """What a verb saw. ``said`` is one line for a person; ``hint`` says what to look at when it failed."""

    passed: bool
    said: str
    hint: str = ""
    transcript: tuple[str, ...] = ()
    evidence: dict[str, str] = Field(default_factory=dict)


class StepResult(Strict):
    """A step with what was seen."""

    number: int
    name: str
    verb: str
    seen: Observation
    took_s: float


class Result(Strict):
    """A scenario's end: its world, every step, what became of every message, and the logs when it failed."""

    scenario: str
    title: str
    proves: list[str]
    host: str
    mta: str
    verdict: Verdict
    reason: str = ""
    steps: tuple[StepResult, ...] = ()
    messages: tuple[Message, ...] = ()
    logs: dict[str, str] = Field(default_factory=dict)
    began: AwareDatetime
    took_s: float = 0.0


class Report(Strict):
    """A whole run, and the world it ran in: what JSON and HTML reports are made of (``report/schema.json``)."""

    format: Literal[1] = Field(default=1, description="version of this form: keys are added, never renamed or removed")
    host: str
    mta: str
    why: str = Field(default="", description="why this host and MTA, where the choice was left to popbox")
    versions: dict[str, str] = Field(description="of popbox, Python, the system and what the mail host tells")
    machine: str = Field(description="name of the machine that popbox ran on")
    began: AwareDatetime
    took_s: float
    results: tuple[Result, ...]
