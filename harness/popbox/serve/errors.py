"""The one form of every error: what is wrong, what to do about it, and what was seen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from popbox.printable import plain

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Problem(BaseModel):
    """The body of every answer that is no success."""

    model_config = ConfigDict(extra="forbid")

    error: str = Field(description="what is wrong, in one sentence")
    hint: str = Field(default="", description="what to do about it")
    evidence: list[str] = Field(default=[], description="what was seen: replies, log lines, rules")
    host: str = Field(default="", description="where the mail host runs: local, docker, remote, mounted")
    mta: str = Field(default="", description="what takes the mail: qmail, stand-in, unknown")


class ApiError(Exception):
    """An answer that is no success. Its text is for the client: never that of an exception from elsewhere."""

    def __init__(
        self,
        status: int,
        error: str,
        hint: str = "",
        evidence: tuple[str, ...] = (),
        more: Mapping[str, Any] = NOTHING,
    ) -> None:
        """``status`` is the HTTP code; ``more`` is JSON for the body, fit to be shown as it is."""
        super().__init__(error)
        self.more = more
        self.status, self.error, self.hint, self.evidence = status, error, hint, evidence


def why_unusable(found: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Each field that cannot be used, and why, of what pydantic's ``errors()`` has."""
    return tuple(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)


def body_of(problem: ApiError, host: str, mta: str) -> bytes:
    """The answer's body; what it quotes of peers and logs is plain."""
    evidence = [plain(line) for line in problem.evidence]
    told = Problem(error=plain(problem.error), hint=plain(problem.hint), evidence=evidence, host=host, mta=mta)
    return json.dumps({**told.model_dump(), **problem.more}, ensure_ascii=True).encode()
