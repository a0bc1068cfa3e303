"""A JSON Schema as Markdown: a section for each table of the file, a line for each of its keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from docs.reference.markdown import code, escaped, item

Schema = dict[str, Any]
_KINDS = {"object": "table", "boolean": "true or false", "number": "number", "integer": "whole number"}
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
}


class Tables:
    """The tables of a schema, by the path at which each is found first."""

    def __init__(self, schema: Schema, *, toml: bool) -> None:
        """``toml``: paths are written as TOML writes tables, otherwise with dots."""
        self._root, self._toml = schema, toml
        self._seen: dict[str, str] = {}  # definition -> path of its section

    def sections(self, mark: str = "###") -> str:
        """All sections, the whole file first."""
        return "\n\n".join(self._visit("", self._root, mark))

    def _visit(self, path: str, schema: Schema, mark: str) -> Iterator[str]:
        """The section of a table, then those of the tables below it."""
        lines = []
        for key, value in schema.get("properties", {}).items():
            needed = ", required" if key in schema.get("required", ()) else ""
            told = self._told(value)
            lines.append(item(key, f"{self._kind(value)}{needed}{'. ' if told else ''}{told}"))
        if lines:
            told = escaped(schema.get("description", ""))
            yield "\n\n".join(part for part in (f"{mark} {self._heading(path)}", told, "\n".join(lines)) if part)
        for key, value in schema.get("properties", {}).items():
            for suffix, table in self._below(value):
                yield from self._visit(f"{path}.{key}{suffix}".lstrip("."), table, mark)

    def _below(self, value: Schema) -> Iterator[tuple[str, Schema]]:
        """The tables that a value may be, not yet shown, each with what its path has more."""
        for one in value.get("anyOf") or value.get("oneOf") or ():
            yield from self._below(one)
        name = value.get("$ref", "").rpartition("/")[2]
        if name:
            if name in self._seen:
                return
            self._seen[name] = ""
            value = self._resolved(value)
        if "properties" in value:
            yield "", value
        elif isinstance(value.get("additionalProperties"), dict):
            yield from ((f'."NAME"{suffix}', table) for suffix, table in self._below(value["additionalProperties"]))
        elif isinstance(value.get("items"), dict):
            yield from ((f"[]{suffix}", table) for suffix, table in self._below(value["items"]))

    def _resolved(self, value: Schema) -> Schema:
        """The definition that a value refers to."""
        found: Any = self._root
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return dict(found)

    def _heading(self, path: str) -> str:
        if not path:
            return "Top level"
        if not self._toml:
            return code(path)
        return code(f"[[{path[:-2]}]]" if path.endswith("[]") else f"[{path.replace('[]', '')}]")

    def _kind(self, value: Schema) -> str:
        """What a value is, in a word or two."""
        if "$ref" in value:
            named = self._resolved(value)
            return self._kind({**named, "title": value["$ref"].rpartition("/")[2]})
        if choices := value.get("anyOf", value.get("oneOf")):
            kinds = [self._kind(one) for one in choices if "type" in one or "$ref" in one or "enum" in one]
            kinds = [kind for kind in kinds if kind != "null"]  # TOML has none, and JSON's says no more than "optional"
            return " or ".join(dict.fromkeys(kinds)) or "table"
        if "enum" in value:
            return "one of " + ", ".join(code(_said(one)) for one in value["enum"])
        if "const" in value:
            return code(_said(value["const"]))
        if value.get("type") == "array":
            return f"list ({self._kind(value.get('items', {}))})"
        kinds = value.get("type", "any value")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return " or ".join(_KINDS.get(kind, kind) for kind in kinds)

    def _told(self, value: Schema) -> str:
        """Description, limits and default."""
        named = self._resolved(value) if "$ref" in value else value
        text = escaped(value.get("description") or named.get("description") or "")
        limits = [words.format(named[key]) for key, words in _LIMITS.items() if named.get(key, 0) not in (0, 1)]
        if "pattern" in named:
            limits.append(f"matches {code(named['pattern'])}")
        if value.get("default") not in (None, "", [], {}):
            limits.append(f"default {code(_said(value['default']))}")
        return " ".join(part for part in (text, f"({'; '.join(limits)})" if limits else "") if part)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
