"""The JSON Schema of scenario files, for editors: made from the model, so that it says what the reader accepts."""

from __future__ import annotations

import json
from typing import Any

from popbox.scenario.faults import FAULTS, WaitUntil
from popbox.scenario.model import Scenario
from popbox.scenario.steps import STEP_VERBS

DIALECT = "http://json-schema.org/draft-07/schema#"  # what editors for TOML read


def scenario_schema() -> dict[str, Any]:
    """The schema as a dictionary."""
    schema = _plain(Scenario.model_json_schema(by_alias=True))
    tables = schema["$defs"]
    _exactly_one(tables["Step"], STEP_VERBS)
    _exactly_one(tables["Break"], FAULTS)
    _exactly_one(tables["Mailbox"], ("crypt", "password"))
    _exactly_one(tables["WaitUntil"], WaitUntil.model_fields)
    telnet = tables["Step"]["properties"]["telnet"]
    tables["Step"]["properties"]["telnet"] = {"anyOf": [{"type": "string", "description": "a transcript"}, telnet]}
    tables["Send"]["anyOf"] = [{"required": ["from", "to"]}, {"required": ["dialogue"]}]
    tables["File"]["anyOf"] = [{"required": [key]} for key in ("has", "lacks", "mode")]
    return {"$schema": DIALECT, "title": "A popbox scenario", **{k: v for k, v in schema.items() if k != "title"}}


def scenario_schema_text() -> str:
    """The schema as it is committed in scenarios/scenario.schema.json."""
    return json.dumps(scenario_schema(), indent=1) + "\n"


def _exactly_one(table: dict[str, Any], keys: Any) -> None:
    table["oneOf"] = [{"required": [key]} for key in keys]


def _plain(value: Any) -> Any:
    """TOML has no null: what may be left out is simply not required. Titles that repeat the key go, too."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("default", ...) is None:
        value = {key: one for key, one in value.items() if key != "default"}
    if {"type": "null"} in (kinds := value.get("anyOf", [])):
        left = [one for one in kinds if one != {"type": "null"}]
        rest = {key: one for key, one in value.items() if key != "anyOf"}
        value = {**left[0], **rest} if len(left) == 1 else {**rest, "anyOf": left}
    return {key: _plain(one) for key, one in value.items() if not (key == "title" and isinstance(one, str))}
