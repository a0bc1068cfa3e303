"""``popbox migrate import --pop3``: its options, and what they mean together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from popbox.cli.moving.pop3_hosts import host_options, the_host, warn
from popbox.cli.output import NAME, PathName
from popbox.migrate.copy.destination import Place
from popbox.migrate.pop3 import accounts
from popbox.migrate.pop3source.run import SLOWEST_OCTETS_S, Options, Outcome, run

_FILES_ALONE = (
    "source", "dialect", "stands_for", "qmail_home", "mbox_quoting", "mbox_boundaries", "dovecot_uidl",
    "courier_uidl",
)  # fmt: skip


def pop3_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What an import over POP3 takes beside the options of every import; each goes into its ``**pop3``."""
    for option in (
        click.option("--retry-wait", "wait_s", type=click.FloatRange(0.0, 60), default=1.0, show_default=True,
                     help="With --pop3: seconds, growing."),
        click.option("--tries", type=click.IntRange(1, 20), default=5, show_default=True,
                     help="With --pop3: for a box, without progress."),
        click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=30.0, show_default=True,
                     help="With --pop3: seconds for each read."),
        click.option("--jobs", type=click.IntRange(1, 256), default=8, show_default=True,
                     help="With --pop3: connections to the old host."),
        host_options("old"),
        click.option("--domain", type=NAME, metavar="DOMAIN", help="With --pop3: of logins that are no addresses."),
        click.option("--accounts", "accounts_path", metavar="FILE.csv|DIR",
                     type=PathName(path_type=Path, exists=True),
                     help="With --pop3: logins and passwords, as for verify."),
        click.option("--pop3", "old", type=NAME, metavar="HOST:PORT", help="Read the old host over POP3 alone."),
    ):  # fmt: skip
        command = option(command)
    return command


def over_pop3(ctx: click.Context, options: dict[str, Any]) -> bool:
    """Whether the import goes over POP3, whose options are these.

    Raises:
        click.UsageError: options of one way are given with the other.
    """
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if options["old"] is not None:
        for name in _FILES_ALONE:
            if name in given:
                raise click.UsageError(f"{_shown(ctx, name)} is for an import of files, not for one with --pop3")
        if options["accounts_path"] is None:
            raise click.UsageError("--pop3 needs --accounts FILE.csv")
        return True
    if alone := sorted(_shown(ctx, name) for name in given & set(options)):
        raise click.UsageError(f"{alone[0]} is for an import with --pop3 HOST:PORT")
    return False


def _shown(ctx: click.Context, name: str) -> str:
    option = next(param.opts[0] for param in ctx.command.params if param.name == name)
    return option if option.startswith("-") else "SOURCE"


def fetch(options: dict[str, Any], place: Place, final: bool, max_rate: int | None, max_files: float | None) -> Outcome:
    """Do one pass.

    Raises:
        click.BadParameter: an option has a value that does not go with the others.
        Unavailable: the old host cannot be reached.
    """
    if max_rate is not None and max_rate < SLOWEST_OCTETS_S:
        raise click.BadParameter(f"--max-rate: with --pop3 at least {SLOWEST_OCTETS_S} octets a second")
    path: Path = options["accounts_path"]
    boxes = accounts.load(path)
    if accounts.open_to_others(path):
        warn(f"{path} can be read by other users of this machine")
    wish = Options(path, options["domain"], final, max_rate, max_files)
    return run(the_host("old", options), boxes, place, wish, sys.stderr)
