"""``popbox schema``: the JSON Schemas of what popbox reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from popbox import load
from popbox.cli.output import echo
from popbox.load.plan.read import schema_text as load_schema_text
from popbox.report import run_report
from popbox.scenario.schema import scenario_schema_text
from popbox.settings import find_assets

PASSED = 0
LOAD = Path(load.__file__).parent
ACCOUNTS = "images/mailhost/mailhost/accounts/sources/accounts.schema.json"  # beside the code that reads such files
SCHEMAS: dict[str, Callable[[], str]] = {
    "scenario": scenario_schema_text,
    "accounts": lambda: (find_assets() / ACCOUNTS).read_text("utf-8"),
    "report": lambda: run_report.SCHEMA.read_text("utf-8"),
    "load": load_schema_text,
    "load-report": lambda: (LOAD / "books/load.schema.json").read_text(
        "utf-8"
    ),  # beside the code that needs more packages
}


@click.command()
@click.argument("what", type=click.Choice(list(SCHEMAS)))
def schema(what: str) -> int:
    """Print a JSON Schema: of scenarios, accounts.toml or load files, for your editor, or of the reports of both."""
    echo(SCHEMAS[what](), nl=False)
    return PASSED
