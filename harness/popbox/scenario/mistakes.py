"""What is wrong with a file that a model has refused: every mistake, with its line and the key that was meant. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from popbox.errors import ScenarioError
from popbox.scenario.toml_lines import TomlPath, line_of, lines_of, meant, unknown_key

MOST_SHOWN = 50  # our choice: more mistakes than that are counted


def refused(
    error: ValidationError, model: type[BaseModel], table: dict[str, Any], text: str, file: str
) -> ScenarioError:
    """One error for all mistakes, in the order of the file; ``table`` is what its ``text`` says, as TOML has it."""
    lines = lines_of(text)
    each = [
        ScenarioError(file, dotted(path), rule, line_of(path, lines))
        for path, rule in mistakes(error, model.model_json_schema(by_alias=True), table)
    ]
    return ScenarioError.of(sorted(each, key=lambda one: one.line), MOST_SHOWN)


def mistakes(error: ValidationError, schema: dict[str, Any], table: Any) -> list[tuple[TomlPath, str]]:
    """Path and rule of each. A key that is missing is not told where an unknown one beside it was meant to be it."""
    found, misspelt = list[tuple[TomlPath, str]](), set[TomlPath]()
    details = error.errors(include_url=False, include_context=False)
    for one in details:
        path = _written(one, table)
        if one["type"] == "extra_forbidden":
            known = known_keys(schema, one["loc"][:-1])
            misspelt.update({(*path[:-1], key) for key in meant(str(path[-1]), known)})
            found.append((path, unknown_key(str(path[-1]), known)))
        else:
            found.append((path, _rule(one)))
    missing = {_written(one, table) for one in details if one["type"] == "missing"}
    return [(path, rule) for path, rule in found if path not in misspelt & missing]


def dotted(path: TomlPath) -> str:
    """``("step", 2, "send", "to")`` reads ``step 3.send.to``: people count from one."""
    words = ""
    for key in path:
        words += f" {key + 1}" if isinstance(key, int) else f".{key}"
    return words.strip(".")


def known_keys(schema: dict[str, Any], path: TomlPath) -> list[str]:
    """The keys that a table may have, by the JSON Schema of the whole."""
    for node in _nodes(schema, schema, path):
        if keys := node.get("properties"):
            return list(keys)
    return []


def _nodes(schema: dict[str, Any], node: dict[str, Any], path: TomlPath) -> Iterator[dict[str, Any]]:
    """What the schema says of a path: several where it may be one of several."""
    if "$ref" in node:
        yield from _nodes(schema, schema["$defs"][node["$ref"].rpartition("/")[2]], path)
        return
    named = node.get("discriminator", {}).get("mapping", {})
    if path and path[0] in named:  # the model's name of the alternative is part of the path
        yield from _nodes(schema, {"$ref": named[path[0]]}, path[1:])
        return
    for one in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from _nodes(schema, one, path)
    if not path:
        yield node
    elif isinstance(inner := _inner(node, path[0]), dict):
        yield from _nodes(schema, inner, path[1:])


def _inner(node: dict[str, Any], key: str | int) -> Any:
    if isinstance(key, int):
        return node.get("items")
    named = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
    return node.get("properties", {}).get(key, named)


def _written(one: ErrorDetails, table: Any) -> TomlPath:
    """The path of an error as the file has it: without the names that the model gives to alternatives."""
    path: list[str | int] = []
    for place, key in enumerate(one["loc"], 1):
        missing = one["type"] == "missing" and place == len(one["loc"])
        if isinstance(table, dict) and key not in table and not missing:
            continue
        path.append(key)
        there = isinstance(table, dict) or (isinstance(table, list) and isinstance(key, int) and key < len(table))
        table = table[key] if there and not missing else None
    return tuple(path)


def _rule(one: ErrorDetails) -> str:
    return "this key is required" if one["type"] == "missing" else one["msg"].removeprefix("Value error, ")
