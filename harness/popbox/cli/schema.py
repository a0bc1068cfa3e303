"""``popbox schema``: the JSON Schemas of what popbox reads and writes."""

from __future__ import annotations

import click

from popbox.cli.output import echo
from popbox.report import run_report
from popbox.scenario.schema import scenario_schema_text

PASSED = 0


@click.command()
@click.argument("what", type=click.Choice(["scenario", "report"]))
def schema(what: str) -> int:
    """Print the JSON Schema of scenario files, for your editor, or of the report that `run --json` writes."""
    echo(scenario_schema_text() if what == "scenario" else run_report.SCHEMA.read_text(), nl=False)
    return PASSED
