"""``popbox migrate audit``: exit code 0 nothing wrong, 1 something is, 2 the source cannot be used, 3 not reached."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from popbox.cli.output import NAME
from popbox.environment import NOTHING
from popbox.migrate.audit.audit import audit as run_audit
from popbox.migrate.audit.report import as_json, table
from popbox.migrate.oldhost.dialects.detect import QMAIL, READERS
from popbox.migrate.oldhost.source import open_source, qmail_of
from popbox.migrate.oldhost.tree import OldHostError
from popbox.settings import Settings

CLEAN, WRONG = 0, 1
T = TypeVar("T")


def source_options(*, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """SOURCE and how to read it, the same for audit and import."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(
                "--qmail-home",
                type=NAME,
                metavar="PATH",
                help=f"Where qmail is on the old host. [default: {os.fsdecode(QMAIL)}]",
            ),
            click.option(
                "--as",
                "stands_for",
                type=NAME,
                metavar="PATH",
                help="What SOURCE is on the old host: /, /var/qmail, ...",
            ),
            click.option("--dialect", type=click.Choice(list(READERS)), help="Do not find out, take this one."),
            click.argument("source", type=NAME, metavar="SOURCE" if required else "[SOURCE]", required=required),
        ):
            command = option(command)
        return command

    return add


@click.command()
@click.pass_context
@source_options()
@click.option("--json", "as_json_text", is_flag=True, help="Print JSON, for programs.")
@click.option("--all", "everything", is_flag=True, help="Show every finding, not only the first 50.")
def audit(
    ctx: click.Context,
    source: str,
    dialect: str | None,
    stands_for: str | None,
    qmail_home: str | None,
    as_json_text: bool,
    everything: bool,
) -> int:
    """Say what an old mail host has and what is wrong with it, by file and line; change nothing.

    SOURCE is a directory (a copy of the old host's root or of its /var/qmail), ssh:HOST:/path or container:NAME:/path.

    \b
    Example:
      popbox migrate audit /mnt/oldhost
      popbox migrate audit ssh:old.example.net:/
    """
    old = read(lambda: open_source(source, stands_for, environ_of(ctx)))
    found = read(lambda: run_audit(old, dialect, qmail_of(old, qmail_home)))
    if as_json_text:
        click.echo(json.dumps(as_json(found), indent=1))
    else:
        click.echo("\n".join(table(found, everything=everything)))
    return WRONG if found.findings or found.lost else CLEAN


def environ_of(ctx: click.Context) -> Mapping[str, str]:
    """What children may have of the environment; nothing where no front door has read it."""
    settings = ctx.find_object(Settings)
    return settings.environ if settings else NOTHING


def read(work: Callable[[], T]) -> T:
    """Do it.

    Raises:
        click.UsageError: the source cannot be used.
    """
    try:
        return work()
    except OldHostError as why:
        raise click.UsageError(str(why)) from why
