"""The results of a step, a scenario and a run: plain data, read by reports."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field

from popbox.ledger.proof import Message
from popbox.scenario.fields import Strict


class Verdict(StrEnum):
    """How a scenario ended. ``NOT_PROVED``: nothing failed, and what became of its mail is unknown."""

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
