"""``popbox migrate verify``: the click command. It gives the exit code back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from popbox.cli.moving.audit import environ_of
from popbox.cli.moving.pop3_hosts import host_options
from popbox.cli.moving.verify_watch import Watch, watch
from popbox.cli.moving.verify_ways import Key, Way, by_files, by_pop3
from popbox.cli.output import NAME, OUTPUT, PathName, write
from popbox.migrate.oldhost.dialects.detect import READERS
from popbox.migrate.pop3.host import Unavailable
from popbox.migrate.verify import oracle, text
from popbox.migrate.verify.html import as_html
from popbox.migrate.verify.lines import as_lines
from popbox.migrate.verify.report import SCHEMA, Oracle, Report, totals
from popbox.migrate.verify.result import Box
from popbox.migrate.verify.shard import Shard, parse
from popbox.migrate.verify.state import State
from popbox.migrate.verify.work import name_elsewhere

EQUAL, DIFFERENT, UNUSABLE, UNAVAILABLE = 0, 1, 2, 3
WHOLE = Shard(1, 1)
FILE = PathName(path_type=Path, dir_okay=False)


def _shard(_: click.Context, __: click.Parameter, value: str | None) -> Shard | None:
    """``K/N``.

    Raises:
        click.BadParameter: it is none.
    """
    try:
        return parse(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.group(invoke_without_command=True)
@click.pass_context
@host_options("old")
@click.option("--old", type=NAME, metavar="HOST:PORT", help="The old host.")
@host_options("new")
@click.option("--new", type=NAME, metavar="HOST:PORT", help="The new host.")
@click.option("--accounts", "accounts_path", metavar="FILE.csv|DIR", type=PathName(path_type=Path, exists=True))
@click.option(
    "--files", nargs=2, type=NAME, metavar="OLD NEW", help="No passwords: compare the hosts' files; see README.md."
)
@click.option("--dialect", type=click.Choice(list(READERS)), help="With --files: as for audit.")
@click.option("--as", "stands_for", type=NAME, metavar="PATH", help="With --files: what OLD is on the old host.")
@click.option(
    "--home-as", "new_stands_for", type=NAME, metavar="PATH", help="With --files: what NEW is on the new host."
)
@click.option("--qmail-home", type=NAME, metavar="PATH", help="With --files: on the old host. [default: /var/qmail]")
@click.option("--only", multiple=True, type=NAME, metavar="LOGIN", help="Only this box; more than once.")
@click.option("--no-content", is_flag=True, help="No RETR: logins, UIDL, order and listed sizes alone.")
@click.option("--jobs", type=click.IntRange(1, 256), default=8, show_default=True, help="Connections to each host.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=30.0, show_default=True, help="Seconds."
)
@click.option("--tries", type=click.IntRange(1, 20), default=5, show_default=True, help="For a box, without progress.")
@click.option("--retry-wait", "wait_s", type=click.FloatRange(0.0, 60), default=1.0, show_default=True, help="Seconds.")
@click.option("--state", "state_file", metavar="F", type=FILE, help="Note boxes that are done; go on there if killed.")
@click.option("--oracle", "oracles", type=click.Choice(oracle.CLIENTS), multiple=True, help="Try it with this client.")
@click.option("--oracle-boxes", type=click.IntRange(1), default=3, show_default=True, help="How many boxes, at most.")
@click.option(
    "--watch",
    "watch_min",
    type=click.FloatRange(0, 1440),
    metavar="MINUTES",
    help="Look for late mail, that often.",
)
@click.option("--rounds", type=click.IntRange(0), default=0, help="With --watch: end after so many; 1 for cron.")
@click.option("--shard", callback=_shard, metavar="K/N", help="Only this part of the boxes; see merge.")
@click.option("--json-lines", "lines_file", type=OUTPUT, metavar="F", help="For merge: a line a box.")
@click.option("--json", "json_file", type=OUTPUT, metavar="F", help="All of it; - for standard output.")
@click.option("--csv", "csv_file", type=OUTPUT, metavar="F", help="A row a box; - for standard output.")
@click.option("--html", "html_file", type=OUTPUT, metavar="F", help="One file for a browser.")
@click.option("-v", "--verbose", is_flag=True, help="Show the boxes that are equal as well.")
def verify(
    ctx: click.Context,
    accounts_path: Path | None,
    files: tuple[str, str] | None,
    only: tuple[str, ...],
    no_content: bool,
    state_file: Path | None,
    oracles: tuple[str, ...],
    oracle_boxes: int,
    shard: Shard | None,
    lines_file: str | None,
    watch_min: float | None,
    rounds: int,
    json_file: str | None,
    csv_file: str | None,
    html_file: str | None,
    verbose: bool,
    **options: Any,
) -> int:
    """Compare each box on two hosts: login, UIDL set, order, sizes, content. Changes nothing on either.

    With --old, --new and --accounts it logs in by POP3; with --files it reads both hosts' files, and proves no login.

    Exit codes: 0 all is equal, 1 something is different, 2 unusable input, 3 a host or a box could not be asked.
    """
    if ctx.invoked_subcommand is not None:
        return EQUAL
    if only and lines_file:
        raise click.UsageError("--json-lines is a whole part for merge: without --only")
    given = {"--old": options["old"], "--new": options["new"], "--accounts": accounts_path}
    way = the_way(given, files, not no_content, shard or WHOLE, oracles, options, environ_of(ctx))
    keys = chosen(way.keys, only)
    about = {**way.about, **({"shard": str(shard)} if shard else {})}
    if watch_min is not None:
        return watch(way, keys, _watched(way, watch_min, rounds, state_file, json_file), about)
    state = State(state_file, about, len(keys)) if state_file else None
    began, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    try:
        way.probe()
    except Unavailable as error:
        click.echo(f"popbox migrate verify: {error}", err=True)
        return UNAVAILABLE
    results, resumed = _verified(way, keys, state)
    tried = list(oracle.run(way.work, oracles, way.accounts, results, oracle_boxes)) if way.work else []
    report = _report(way, results, tried, began, time.monotonic() - start, resumed, not no_content)
    forms: list[tuple[str | None, Callable[[Report], str]]] = [
        (json_file, Report.as_json),
        (csv_file, text.as_csv),
        (html_file, as_html),
        (lines_file, lambda report: as_lines(report, str(shard or WHOLE))),
    ]
    for file, form in forms:
        if file is not None:
            write(file, form(report))
    if "-" not in (json_file, csv_file, html_file, lines_file):
        text.show(report, Console(highlight=False), verbose)
    if state is not None:
        state.end(finished=not report.totals.unavailable)
    return UNAVAILABLE if report.totals.unavailable else EQUAL if report.equal else DIFFERENT


def _watched(way: Way, minutes: float, rounds: int, state_file: Path | None, json_file: str | None) -> Watch:
    """What ``--watch`` asks for.

    Raises:
        click.UsageError: it needs --state, and hosts that are asked by POP3.
    """
    if state_file is None or way.work is None:
        raise click.UsageError("--watch logs in, and needs --state FILE to know what it has seen")
    return Watch(minutes, rounds, state_file, json_file)


def the_way(
    given: Mapping[str, Any],
    files: tuple[str, str] | None,
    content: bool,
    shard: Shard,
    oracles: tuple[str, ...],
    options: dict[str, Any],
    environ: Mapping[str, str],
) -> Way:
    """The way that the options ask for.

    Raises:
        click.UsageError: they ask for none, for both, or for what a tree cannot answer.
        Unusable: the accounts file.
    """
    missing = [name for name, value in given.items() if value is None]
    if files is None:
        if missing:
            raise click.UsageError(f"give {', '.join(missing)}, or --files OLD NEW")
        return by_pop3(given["--accounts"], content, shard, options)
    if len(missing) < len(given) or oracles:
        raise click.UsageError("--files reads both hosts' files: without --old, --new, --accounts and --oracle")
    return by_files(files, content, shard, options, environ)


def chosen(keys: list[Key], only: tuple[str, ...]) -> list[Key]:
    """All, or those named.

    Raises:
        click.BadParameter: a name is not among the accounts.
    """
    for name in only:
        if name not in {old for old, _ in keys}:
            raise click.BadParameter(f"--only {name}: no such login among the accounts")
    return [key for key in keys if not only or key[0] in only]


def _verified(way: Way, keys: list[Key], state: State | None) -> tuple[list[Box], int]:
    """Results in the order of the accounts, and how many were done already."""
    found = {(box.login, box.new_login): box for box in state.done} if state else {}
    found = {key: found[key] for key in keys if key in found}
    resumed = len(found)
    bar = Progress(len(keys), resumed)
    for box in way.run([key for key in keys if key not in found]):
        found[box.login, box.new_login] = box
        if state is not None and not box.unavailable:
            state.note(box)
        bar.done(box)
    bar.end()
    return name_elsewhere([found[key] for key in keys]), resumed


class Progress:
    """One line on a terminal, rewritten."""

    def __init__(self, boxes: int, done: int) -> None:
        """``done`` are those of an earlier run."""
        self.boxes, self.before, self.now, self.different = boxes, done, 0, 0
        self.began = self.shown = time.monotonic()

    def done(self, box: Box) -> None:
        """Count, and show twice a second."""
        self.now, self.different = self.now + 1, self.different + (not box.equal)
        if sys.stderr.isatty() and time.monotonic() - self.shown > 0.5:
            self.shown = time.monotonic()
            rate = self.now / (self.shown - self.began)
            left_s = (self.boxes - self.before - self.now) / rate
            all_done = f"{self.before + self.now} of {self.boxes} boxes, {self.different} not equal"
            click.echo(f"\r\x1b[K{all_done}, {rate:.1f} boxes/s, {left_s:.0f} s left", nl=False, err=True)

    def end(self) -> None:
        """Take the line away."""
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)


def _report(
    way: Way, boxes: list[Box], oracles: list[Oracle], began: str, took_s: float, resumed: int, content: bool
) -> Report:
    old, new = way.sides(boxes)
    return Report(
        schema=SCHEMA,
        old=old,
        new=new,
        way=way.name,
        content=content,
        began=began,
        took_s=round(took_s, 3),
        resumed=resumed,
        totals=totals(boxes),
        boxes=tuple(boxes),
        oracles=tuple(oracles),
    )
