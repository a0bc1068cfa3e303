"""The one form of every error: what is wrong, what to do about it, and what was seen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from popbox.printable import plain
from popbox.scenario.mistakes import known_keys
from popbox.scenario.toml_lines import unknown_key

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


def why_unusable(found: Iterable[Mapping[str, Any]], schema: Mapping[str, Any] = NOTHING) -> tuple[str, ...]:
    """Each field that cannot be used, and why, of what pydantic's ``errors()`` has.

    ``schema`` is that of what was sent: a field that it does not know is told with those that it knows.
    """
    return tuple(f"{'.'.join(map(str, one['loc']))}: {_why(one, schema)}" for one in found)


def _why(one: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if one["type"] != "extra_forbidden" or not (known := known_keys(dict(schema), one["loc"][:-1])):
        return str(one["msg"])
    return unknown_key(str(one["loc"][-1]), known)


def request_schema(described: Mapping[str, Any], path: str, method: str) -> dict[str, Any]:
    """What a request may have, by the OpenAPI description: ``body``, and parameters by where they stand."""
    operation = described["paths"].get(path, {}).get(method.lower(), {})
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    properties: dict[str, Any] = {"body": body}
    for one in operation.get("parameters", ()):
        place = properties.setdefault(one["in"], {"properties": {}})
        place["properties"][one["name"]] = one.get("schema", {})
    return {"$defs": described.get("components", {}).get("schemas", {}), "properties": properties}


def body_of(problem: ApiError, host: str, mta: str) -> bytes:
    """The answer's body; what it quotes of peers and logs is plain."""
    evidence = [plain(line) for line in problem.evidence]
    told = Problem(error=plain(problem.error), hint=plain(problem.hint), evidence=evidence, host=host, mta=mta)
    return json.dumps({**told.model_dump(), **problem.more}, ensure_ascii=True).encode()
