"""``popbox migrate import``: exit code 0 all is over, 1 something is lost or not read, 2 bad input, 3 not reached."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from popbox.cli.moving.audit import environ_of, read, source_options
from popbox.cli.moving.import_pop3 import fetch, over_pop3, pop3_options
from popbox.cli.moving.import_report import report
from popbox.cli.output import FOLDER, OUTPUT, PathName
from popbox.migrate.copy import limits
from popbox.migrate.copy.courier import as_courier
from popbox.migrate.copy.destination import FILES, POP3, Place
from popbox.migrate.copy.dovecot import as_dovecot
from popbox.migrate.copy.run import Arrange, Options, run
from popbox.migrate.export.dovecot import POP3_UIDL_FORMAT
from popbox.migrate.oldhost.dialects.exported import kind_of
from popbox.migrate.oldhost.mboxes.survey import Choice
from popbox.migrate.oldhost.source import open_source, qmail_of


def _rate(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else limits.octets(text)
    except ValueError as why:
        raise click.BadParameter(str(why)) from why


def _arrange(_ctx: click.Context, _param: click.Parameter, form: str | None) -> tuple[str, Arrange] | None:
    try:
        return None if form is None else (form, as_dovecot(form))
    except ValueError as why:
        raise click.BadParameter(str(why)) from why


@click.command("import")
@click.pass_context
@source_options(required=False)
@pop3_options
@click.option("--to", type=FOLDER, required=True, metavar="DIR",
              help="Takes accounts.toml, not-carried.txt, the state of the import, and the mail.")  # fmt: skip
@click.option("--home", type=PathName(path_type=Path, file_okay=False, exists=True), metavar="DIR",
              help="Declare the accounts on this qmail home and put the mail into its boxes.")  # fmt: skip
@click.option("--final", is_flag=True, help="The last pass: follow moves and deletions of the old host too.")
@click.option("--mbox-quoting", type=click.Choice(["rd", "o", "none"]),
              help="How `From ` lines are quoted in mbox files; else each file decides.")  # fmt: skip
@click.option("--mbox-boundaries", type=click.Choice(["blank", "any", "length"]),
              help="Where messages begin in mbox files: at a From_ line behind an empty line, at any, or by "
              "Content-Length; else each file decides.")  # fmt: skip
@click.option("--dovecot-uidl", metavar="FORMAT", callback=_arrange,
              help="The old POP3 server is Dovecot with this pop3_uidl_format, by default %08Xu%08Xv.")  # fmt: skip
@click.option("--courier-uidl", type=click.Choice(["yes", "no"]),
              help="Whether UIDLs are those of courierpop3dsizelist; else yes where it lies in a Maildir without "
              "dovecot-uidlist.")  # fmt: skip
@click.option("--max-rate", metavar="OCTETS/S", callback=_rate, help="Read no faster: 500K, 20M, ...")
@click.option("--json", "json_file", type=OUTPUT, metavar="F",
              help="What this pass did and how long it took, for `migrate plan`; - for standard output.")  # fmt: skip
@click.option("--max-files", type=click.FloatRange(0.1), metavar="N/S", help="Take no more messages in a second.")
def import_(
    ctx: click.Context,
    source: str | None,
    dialect: str | None,
    stands_for: str | None,
    qmail_home: str | None,
    to: Path,
    home: Path | None,
    final: bool,
    mbox_quoting: str | None,
    mbox_boundaries: str | None,
    dovecot_uidl: tuple[str, Arrange] | None,
    courier_uidl: str | None,
    max_rate: int | None,
    max_files: float | None,
    json_file: str | None,
    **pop3: Any,
) -> int:
    """Turn an old mail host into accounts.toml and Maildirs, in as many passes as you like; the last one is --final.

    Names, dates and flags stay, so that UIDLs and the order of messages do. Mail that the new host took is not touched.
    Where the old host has no shell, --pop3 takes the place of SOURCE: over POP3 alone, reading only.

    \b
    Example:
      popbox migrate import ssh:old.example.net:/ --to move --home /var/qmail --max-rate 20M
      popbox migrate import ssh:old.example.net:/ --to move --home /var/qmail --final
      popbox migrate import --pop3 pop.old.example:995 --old-tls implicit --accounts boxes.csv --to move
    """
    environ = environ_of(ctx)
    if over_pop3(ctx, pop3):
        place = Place(to, home, environ, POP3)
        return report(fetch(pop3, place, final, max_rate, max_files), to, home, final, json_file)
    if source is None:
        raise click.UsageError("SOURCE or --pop3 HOST:PORT is wanted")
    choice = Choice(mbox_quoting, mbox_boundaries)  # type: ignore[arg-type]
    old = read(lambda: open_source(source, stands_for, environ))
    if dovecot_uidl is not None and courier_uidl == "yes":
        raise click.UsageError("--courier-uidl yes and --dovecot-uidl exclude each other")
    kind = read(lambda: kind_of(old)) if dialect in (None, "export") else ""
    if dovecot_uidl is None and kind == "dovecot" and courier_uidl is None:
        dovecot_uidl = POP3_UIDL_FORMAT, as_dovecot(POP3_UIDL_FORMAT)  # as the export's own dovecot.conf.part says
    sure = courier_uidl == "yes" or (courier_uidl is None and kind == "courier")
    form, arrange = dovecot_uidl or ("", None if courier_uidl == "no" else as_courier(sure=sure))
    over = f"{FILES} with Dovecot's UIDLs by {form}" if form else FILES
    options = Options(dialect, qmail_of(old, qmail_home), final, choice, max_rate, max_files, arrange)
    outcome = read(lambda: run(old, Place(to, home, environ, over), options, sys.stderr))
    return report(outcome, to, home, final, json_file)
