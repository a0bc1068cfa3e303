"""Reading load files: TOML to Plan, with errors that name file, table and key."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from popbox.load.plan.model import Plan
from popbox.scenario.mistakes import refused


def from_table(table: dict[str, Any], where: str, text: str = "") -> Plan:
    """A plan from a table that was read already; ``where`` is the file's name for errors, ``text`` what it says.

    Raises:
        ScenarioError: keys do not fit; names each, with its line where the text is given.
    """
    try:
        return Plan.model_validate(table)
    except ValidationError as error:
        raise refused(error, Plan, table, text, where) from error


def schema_text() -> str:
    """The JSON Schema of load files, for editors, as it is kept in scenarios/load/load.schema.json."""
    return json.dumps({"title": "A popbox load file", **Plan.model_json_schema(by_alias=True)}, indent=1) + "\n"
