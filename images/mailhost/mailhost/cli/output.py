"""How lists are printed: aligned columns for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from mailhost.cli.terminal import UNSEEN, on_a_line, say


def print_json(value: Any, indent: int | None = 2) -> None:
    """One JSON document on stdout; what cannot be seen is escaped as JSON escapes it.

    Without an ``indent`` it is one line, made in a quarter of the time (by C).
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    click.echo(UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns, each as wide as its widest cell; nothing at all for no rows."""
    lines = [[on_a_line(str(cell)) for cell in row] for row in rows]
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in [list(head), *lines]:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(title: str, facts: Iterable[tuple[str, str]]) -> None:
    """A title and named facts below it, one a line."""
    say(title)
    for name, value in facts:
        say(f"  {name:<11} {value}")
