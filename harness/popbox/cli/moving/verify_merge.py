"""``popbox migrate verify merge``: reports of shards into one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click
from rich.console import Console

from popbox.cli.moving.verify import DIFFERENT, EQUAL, UNAVAILABLE, verify
from popbox.cli.output import OUTPUT, PathName
from popbox.migrate.pop3.accounts import Unusable
from popbox.migrate.verify import text
from popbox.migrate.verify.lines import streamed
from popbox.migrate.verify.merge import Incomplete, Merge
from popbox.migrate.verify.merge import merge as merged
from popbox.migrate.verify.report import Report
from popbox.migrate.verify.result import Box
from popbox.replacing import is_special

SHOWN = 100  # our choice: boxes that are not equal, on a terminal; all are in the files


@verify.command()
@click.argument("reports", metavar="REPORT...", nargs=-1, required=True, type=PathName(path_type=Path))
@click.option("--json", "json_file", type=OUTPUT, metavar="F", help="As verify --json; - for standard output.")
@click.option("--csv", "csv_file", type=OUTPUT, metavar="F", help="A row a box; - for standard output.")
def merge(reports: tuple[Path, ...], json_file: str | None, csv_file: str | None) -> int:
    """Make one report of those that each shard wrote with --json-lines.

    Exit codes: as verify; 2 where a file is no such report, is there twice, or is of another verification, 3 where
    a shard is missing.
    """
    try:
        found = merged(reports)
    except Incomplete as error:
        click.echo(f"popbox migrate verify merge: {error}", err=True)
        return UNAVAILABLE
    report = found.report()
    try:
        _forms(found, report, json_file, csv_file)
    except OSError as error:
        raise Unusable(json_file or csv_file or "", f"cannot be written: {error.strerror}") from error
    if "-" not in (json_file, csv_file):
        shown = tuple(_first(box for box in found.boxes() if not box.equal))
        text.show(report.model_copy(update={"boxes": shown}), Console(highlight=False), every=False)
        unequal = report.totals.boxes - report.totals.equal
        if unequal > len(shown):
            click.echo(f"not equal, and not shown: {unequal - len(shown)} more; --json and --csv have all")
    return UNAVAILABLE if report.totals.unavailable else EQUAL if report.equal else DIFFERENT


def _first(boxes: Iterator[Box]) -> Iterator[Box]:
    for _, box in zip(range(SHOWN), boxes, strict=False):
        yield box


def _forms(found: Merge, report: Report, json_file: str | None, csv_file: str | None) -> None:
    if json_file:
        with _opened(json_file) as file:
            streamed(report, found.boxes(), file)
    if csv_file:
        with _opened(csv_file) as file:
            text.write_csv(found.boxes(), file)


def _opened(path: str) -> IO[str]:
    return click.open_file(path, "w", encoding="utf-8", atomic=path != "-" and not is_special(Path(path)))
