"""Reference pages that are no man pages: files of popbox, its reports, its HTTP API, its pytest options."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from docs.reference.manual import ROOT
from docs.reference.markdown import block, code, escaped, item
from docs.reference.schemas import Tables

Page = Callable[[], str]


def scenario() -> str:
    """A scenario file."""
    from popbox.scenario.schema import scenario_schema

    told = "What each verb proves and when it passes: [scenarios/README.md](../../../scenarios/README.md)."
    return f"# Scenario files\n\n{told}\n\n{Tables(scenario_schema(), toml=True).sections('##')}"


def load() -> str:
    """A load file."""
    schema = json.loads((ROOT / "scenarios/load/load.schema.json").read_text("utf-8"))
    told = "How a run is planned and judged: [harness/popbox/load/README.md](../../popbox/load/README.md)."
    return f"# Load files\n\n{told}\n\n{Tables(schema, toml=True).sections('##')}"


def reports() -> str:
    """JSON that popbox writes."""
    parts = ["# Reports in JSON\n\n`popbox schema report` and `popbox schema load-report` print the schemas."]
    for title, path in (
        ("popbox run --json", "harness/popbox/report/schema.json"),
        ("popbox load --report", "harness/popbox/load/books/load.schema.json"),
    ):
        schema = json.loads((ROOT / path).read_text("utf-8"))
        parts.append(f"## {title}\n\n{Tables(schema, toml=False).sections()}")
    return "\n\n".join(parts)


def http() -> str:
    """The endpoints of ``popbox serve``."""
    api = json.loads((ROOT / "harness/popbox/serve/openapi.json").read_text("utf-8"))
    told = "What the answers mean and who may write: [harness/README.md](../../README.md)."
    return "\n\n".join(["# HTTP API", told, *_endpoints(api)])


def _endpoints(api: dict[str, Any]) -> Iterator[str]:
    for path, methods in api["paths"].items():
        for method, does in methods.items():
            yield f"## {code(f'{method.upper()} {path}')}"
            yield escaped(does.get("description", ""))
            told = [_parameter(one) for one in does.get("parameters", [])]
            if told:
                yield "\n".join(told)
            if body := does.get("requestBody", {}).get("content", {}).get("application/json"):
                name = body["schema"].get("$ref", "").rpartition("/")[2]
                schema = api["components"]["schemas"].get(name, body["schema"])
                keys = Tables({**schema, "components": api["components"]}, toml=False).sections("###")
                yield keys.replace("### Top level", "The body, as JSON:")
            answers = (item(status, escaped(one["description"])) for status, one in does["responses"].items())
            yield "Answers:\n\n" + "\n".join(answers)


def _parameter(one: dict[str, Any]) -> str:
    needed = ", required" if one.get("required") else ""
    return item(one["name"], f"{one['in']}{needed}. {escaped(one.get('description', ''))}".strip())


def pytest_plugin() -> str:
    """Options of the pytest plugin."""
    import pytest

    from popbox.pytest_plugin import pytest_addoption

    parser = pytest.Parser(_ispytest=True)
    pytest_addoption(parser)
    group = parser.getgroup("popbox")
    lines = [item(" ".join(one.names()), escaped(one.attrs().get("help", ""))) for one in group.options]
    inis = [
        item(name, escaped(help_ or "")) for name, (help_, *_) in parser._inidict.items() if name.startswith("popbox_")
    ]
    fixtures = "The fixtures: [tests/example](../../../tests/example/README.md)."
    return "\n\n".join(
        ["# pytest plugin", fixtures, "## Options", "\n".join(lines), "## Settings in pytest.ini", "\n".join(inis)]
    )


def schemas() -> str:
    """Where the JSON Schemas are."""
    from popbox.cli.schema import SCHEMAS

    printed = "\n".join([*(f"popbox schema {name}" for name in SCHEMAS), "mailhost schema accounts"])
    return f"# JSON Schemas\n\n{block(printed)}\n\nEach prints one, for editors."


OTHERS: dict[str, tuple[str, Page]] = {
    "scenario": ("Scenario files", scenario),
    "load": ("Load files", load),
    "reports": ("Reports in JSON", reports),
    "http": ("HTTP API", http),
    "pytest": ("pytest plugin", pytest_plugin),
    "schemas": ("JSON Schemas", schemas),
}
