"""The kinds of values that a step may hold, each with its rule, which is checked when the file is read."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from popbox.scenario.transcript import TranscriptError, not_regex, parse


class Strict(BaseModel):
    """A frozen record that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Table(Strict):
    """A table of a scenario file: its values are of the type that is written there, ``"1"`` is no number."""

    model_config = ConfigDict(strict=True)


class OneOrSeveral:
    """Behind a list in `Annotated`: one value that is no list stands for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The list's own rules, behind the change to a list."""
        return core_schema.no_info_before_validator_function(self.listed, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What a file may have there."""
        several = handler(schema)
        return {"anyOf": [several["items"], several]}

    @staticmethod
    def listed(value: Any) -> Any:
        """A list of one for a string."""
        return [value] if isinstance(value, str) else value


def _transcript(text: str) -> str:
    try:
        parse(text)
    except TranscriptError as error:
        raise ValueError(str(error)) from error
    return text


def _regex(text: str) -> str:
    if why := not_regex(re.sub(r"\$\{[^}]*\}", "x", text)):
        raise ValueError(why)
    return text


def _below(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError("a path below the qmail home is wanted: no leading / and no ..")
    return path


Transcript = Annotated[str, AfterValidator(_transcript), Field(description="C: and S: lines, see scenarios/README.md")]
Regex = Annotated[str, AfterValidator(_regex), Field(description="a Python regular expression; ${name} is literal")]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
Address = Annotated[str, Field(max_length=900, pattern=r"^[^\x00-\x1f<>]*$")]
Addresses = Annotated[list[Address], Field(min_length=1), OneOrSeveral()]
Below = Annotated[str, AfterValidator(_below), Field(min_length=1, description="path below the qmail home")]
Mode = Annotated[str, Field(pattern=r"^[0-7]{4}$", description="permission bits, octal")]
