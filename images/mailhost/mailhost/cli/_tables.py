"""How lists are printed: aligned columns for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns, each as wide as its widest cell; nothing at all for no rows."""
    lines = [list(map(str, row)) for row in rows]
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in [list(head), *lines]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(title: str, facts: Iterable[tuple[str, str]]) -> None:
    """A title and named facts below it, one a line."""
    click.echo(title)
    for name, value in facts:
        click.echo(f"  {name:<11} {value}")
