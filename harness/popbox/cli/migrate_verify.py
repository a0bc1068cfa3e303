"""``popbox migrate verify``: the click command. It gives the exit code back."""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from popbox.cli.output import write
from popbox.cli.pop3_hosts import host_options, the_host, warn
from popbox.migrate.pop3 import accounts
from popbox.migrate.pop3.accounts import Account, Unusable
from popbox.migrate.pop3.host import Host, Unavailable, leaving
from popbox.migrate.verify import oracle, text
from popbox.migrate.verify.html import as_html
from popbox.migrate.verify.report import SCHEMA, Oracle, Report, SideReport, totals
from popbox.migrate.verify.result import Box
from popbox.migrate.verify.state import State
from popbox.migrate.verify.work import Work, name_elsewhere

EQUAL, DIFFERENT, UNUSABLE, UNAVAILABLE = 0, 1, 2, 3
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@host_options("old")
@click.option("--old", metavar="HOST:PORT", required=True, help="The old host.")
@host_options("new")
@click.option("--new", metavar="HOST:PORT", required=True, help="The new host.")
@click.option(
    "--accounts", "accounts_path", metavar="FILE.csv|DIR", required=True, type=click.Path(path_type=Path, exists=True)
)
@click.option("--only", multiple=True, metavar="LOGIN", help="Only this box; more than once.")
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
@click.option("--json", "json_file", metavar="F", help="All of it; - for standard output.")
@click.option("--csv", "csv_file", metavar="F", help="A row a box; - for standard output.")
@click.option("--html", "html_file", metavar="F", help="One file for a browser.")
@click.option("-v", "--verbose", is_flag=True, help="Show the boxes that are equal as well.")
def verify(
    accounts_path: Path,
    only: tuple[str, ...],
    no_content: bool,
    state_file: Path | None,
    oracles: tuple[str, ...],
    oracle_boxes: int,
    json_file: str | None,
    csv_file: str | None,
    html_file: str | None,
    verbose: bool,
    **options: Any,
) -> int:
    """Compare each box on two hosts: login, UIDL set, order, sizes, content. Changes nothing on either.

    Exit codes: 0 all is equal, 1 something is different, 2 unusable input, 3 a host or a box could not be asked.
    """
    boxes = chosen(accounts.load(accounts_path), only)
    if accounts.open_to_others(accounts_path):
        warn(f"{accounts_path} can be read by other users of this machine")
    work = Work(the_host("old", options), the_host("new", options), not no_content)
    state = State(state_file, _about(work)) if state_file else None
    began, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    try:
        work.old.probe()
        work.new.probe()
    except Unavailable as error:
        click.echo(f"popbox migrate verify: {error}", err=True)
        return UNAVAILABLE
    results, resumed = _verified(work, boxes, state)
    tried = list(oracle.run(work, oracles, boxes, results, oracle_boxes))
    report = _report(work, results, tried, began, time.monotonic() - start, resumed)
    for file, form in ((json_file, Report.as_json), (csv_file, text.as_csv), (html_file, as_html)):
        if file is not None:
            _write(file, form(report))
    if "-" not in (json_file, csv_file, html_file):
        text.show(report, Console(highlight=False), verbose)
    if state is not None:
        state.end(finished=not report.totals.unavailable)
    return UNAVAILABLE if report.totals.unavailable else EQUAL if report.equal else DIFFERENT


def chosen(boxes: list[Account], only: tuple[str, ...]) -> list[Account]:
    """All, or those named.

    Raises:
        click.BadParameter: a name is not among the accounts.
    """
    for name in only:
        if name not in {box.old_login for box in boxes}:
            raise click.BadParameter(f"--only {name}: no such login among the accounts")
    return [box for box in boxes if not only or box.old_login in only]


def _about(work: Work) -> dict[str, Any]:
    """What makes lines of a state file count for this run too."""
    sides = {str(host.side): [str(host.address), host.tls, host.profile] for host in (work.old, work.new)}
    return {**sides, "content": work.content}


def _verified(work: Work, boxes: list[Account], state: State | None) -> tuple[list[Box], int]:
    """Results in the order of the accounts, and how many were done already."""
    found = {(box.login, box.new_login): box for box in state.done} if state else {}
    wanted = [(box.old_login, box.new_login) for box in boxes]
    found = {key: found[key] for key in wanted if key in found}
    resumed = len(found)
    bar = Progress(len(boxes), resumed)
    for box in work.run([a for a in boxes if (a.old_login, a.new_login) not in found]):
        found[box.login, box.new_login] = box
        if state is not None and not box.unavailable:
            state.note(box)
        bar.done(box)
    bar.end()
    return name_elsewhere([found[key] for key in wanted]), resumed


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


def _report(work: Work, boxes: list[Box], oracles: list[Oracle], began: str, took_s: float, resumed: int) -> Report:
    seen = {"old": Counter(b.old.profile for b in boxes), "new": Counter(b.new.profile for b in boxes)}
    old, new = (_side(host, seen[host.side]) for host in (work.old, work.new))
    return Report(
        schema=SCHEMA,
        old=old,
        new=new,
        content=work.content,
        began=began,
        took_s=round(took_s, 3),
        resumed=resumed,
        totals=totals(boxes),
        boxes=tuple(boxes),
        oracles=tuple(oracles),
    )


def _side(host: Host, seen: Counter[str]) -> SideReport:
    seen = Counter({name: count for name, count in seen.items() if name})
    used = max(seen, key=lambda name: seen[name]) if host.profile == "auto" and seen else host.profile
    return SideReport(
        address=str(host.address),
        tls=host.tls,
        profile=host.profile,
        profiles_seen=dict(sorted(seen.items())),
        leaving=leaving(used),
    )


def _write(file: str, content: str) -> None:
    try:
        write(file, content)
    except OSError as error:
        raise Unusable(file, f"cannot be written: {error}") from error
