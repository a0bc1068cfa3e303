"""``popbox migrate import``: exit code 0 all is over, 1 something is lost or not read, 2 bad input, 3 not reached."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from popbox.cli.migrate_audit import environ_of, read, source_options
from popbox.migrate.copy import limits
from popbox.migrate.copy.destination import ACCOUNTS, LEFT, Place
from popbox.migrate.copy.report import SCHEMA, ImportReport
from popbox.migrate.copy.run import Options, Outcome, run
from popbox.migrate.oldhost.source import open_source
from popbox.migrate.units import duration, size

DONE, NOT_ALL = 0, 1
SHOWN = 20


def _rate(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else limits.octets(text)
    except ValueError as why:
        raise click.BadParameter(str(why)) from why


@click.command("import")
@click.pass_context
@source_options
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR",
              help="Takes accounts.toml, not-carried.txt, the state of the import, and the mail.")  # fmt: skip
@click.option("--home", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
              help="Declare the accounts on this qmail home and put the mail into its boxes.")  # fmt: skip
@click.option("--final", is_flag=True, help="The last pass: follow moves and deletions of the old host too.")
@click.option("--mbox-quoting", type=click.Choice(["rd", "o", "none"]), default="rd", show_default=True,
              help="How `From ` lines are quoted in mbox files.")  # fmt: skip
@click.option("--max-rate", metavar="OCTETS/S", callback=_rate, help="Read no faster: 500K, 20M, ...")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), metavar="F",
              help="What this pass did and how long it took, for `migrate plan`.")  # fmt: skip
@click.option("--max-files", type=click.FloatRange(0.1), metavar="N/S", help="Take no more messages in a second.")
def import_(
    ctx: click.Context,
    source: str,
    dialect: str | None,
    stands_for: str | None,
    qmail_home: str,
    to: Path,
    home: Path | None,
    final: bool,
    mbox_quoting: str,
    max_rate: int | None,
    max_files: float | None,
    json_file: Path | None,
) -> int:
    """Turn an old mail host into accounts.toml and Maildirs, in as many passes as you like; the last one is --final.

    Names, dates and flags stay, so that UIDLs and the order of messages do. Mail that the new host took is not touched.

    \b
    Example:
      popbox migrate import ssh:old.example.net:/ --to move --home /var/qmail --max-rate 20M
      popbox migrate import ssh:old.example.net:/ --to move --home /var/qmail --final
    """
    quoting = {"rd": "rd", "o": "o"}.get(mbox_quoting, "none")
    options = Options(dialect, os.fsencode(qmail_home), final, quoting, max_rate, max_files)  # type: ignore[arg-type]
    environ = environ_of(ctx)
    old = read(lambda: open_source(source, stands_for, environ))
    outcome = read(lambda: run(old, Place(to, home, environ), options, sys.stderr))
    for line in _lines(outcome, to, home):
        click.echo(line)
    if json_file is not None:
        _write(json_file, outcome, final)
    return NOT_ALL if outcome.tally.problems or outcome.losses else DONE


def _write(file: Path, outcome: Outcome, final: bool) -> None:
    tally = outcome.tally
    report = ImportReport(
        schema=SCHEMA,
        final=final,
        took_s=round(outcome.seconds, 3),
        copied=tally.copied,
        octets=tally.octets,
        known=tally.known,
        moved=tally.moved,
        removed=tally.removed,
        later=tally.later,
        problems=len(tally.problems) + len(outcome.losses),
    )
    file.write_text(report.model_dump_json(indent=1, by_alias=True) + "\n", encoding="utf-8")


def _lines(outcome: Outcome, to: Path, home: Path | None) -> list[str]:
    """What came of it."""
    tally, seconds = outcome.tally, max(outcome.seconds, 1e-9)
    lines = outcome.applied.splitlines() if home else []
    lines += [f"lost: {loss}" for loss in outcome.losses[:SHOWN]]
    if len(outcome.losses) > SHOWN:
        lines.append(f"... and {len(outcome.losses) - SHOWN} more; `migrate audit --all` shows them")
    lines += [f"not done: {problem}" for problem in tally.problems[:SHOWN]]
    if len(tally.problems) > SHOWN:
        lines.append(f"... and {len(tally.problems) - SHOWN} more")
    rate = f"{tally.copied / seconds:.0f} messages/s, {size(tally.octets / seconds)}/s"
    lines.append(
        f"copied {tally.copied} messages, {size(tally.octets)} in {duration(seconds)} ({rate}), each read back"
    )
    lines.append(f"there from earlier passes {tally.known}; moved {tally.moved}; removed {tally.removed}")
    if tally.later:
        lines.append(f"{tally.later} were moved, fetched or written to during the pass: the next pass copies them")
    if tally.deleted_there:
        lines.append(f"{tally.deleted_there} were fetched and deleted on the new host, and stay away")
    lines += [outcome.measured] if outcome.measured else []
    left = sum(1 for _ in (to / LEFT).open("rb"))
    lines.append(
        f"accounts in {to / ACCOUNTS}; {left} things that are not carried over, or not as they were: {to / LEFT}"
    )
    return lines
