"""Reading load files: TOML to Plan, with errors that name file, table and key."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from popbox.errors import ScenarioError
from popbox.load.plan.model import Plan
from popbox.scenario.load import first_rule


def table_of(path: Path) -> dict[str, Any]:
    """A file as TOML has it.

    Raises:
        ScenarioError: it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(str(path), "", error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(str(path), "", f"not TOML: {error}") from error


def from_table(table: dict[str, Any], where: str) -> Plan:
    """A plan from a table that was read already; ``where`` is the file's name for errors.

    Raises:
        ScenarioError: a key does not fit.
    """
    try:
        return Plan.model_validate(table)
    except ValidationError as error:
        raise ScenarioError(where, *first_rule(error)) from error


def schema_text() -> str:
    """The JSON Schema of load files, for editors, as it is kept in scenarios/load/load.schema.json."""
    return json.dumps({"title": "A popbox load file", **Plan.model_json_schema(by_alias=True)}, indent=1) + "\n"
