"""``popbox run`` and ``popbox demo``: scenarios on a host, shown as they go, and the report of the whole."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from popbox.cli.options import allow_writes, opened_store, read_remote, remote_options, token
from popbox.cli.output import FOLDER, PathName, echo, write
from popbox.errors import HostError
from popbox.hosts.base import Host, closing
from popbox.hosts.choose import Choice, HostName, MtaName, choose, prepare, start
from popbox.hosts.remote import Remote, RemoteHost
from popbox.hosts.state import Registry
from popbox.operate import serving
from popbox.operate.target import kept_here
from popbox.report import run_report
from popbox.report.live import Screen, screen
from popbox.report.text import checklist, summary, wrong
from popbox.result import Report, Result, Verdict
from popbox.run.runner import run as run_scenario
from popbox.run.suite import JOBS, LOCAL_JOBS, MOST_JOBS, run_all
from popbox.scenario.load import ScenarioFile, load, load_all
from popbox.settings import Settings

PASSED, FAILED, NOTHING_PROVED = 0, 1, 4
DEMO = "howto-telnet.toml"
Form = Callable[[Report], str]
FILE = PathName(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Options:
    """What both commands take."""

    host: HostName
    mta: MtaName
    keep: bool
    jobs: int | None
    report: Path | None
    json: Path | None
    html: Path | None
    remote: Remote | None = None
    allow_unproved: bool = False
    allow_empty: bool = False
    store: Path | None = None
    writes: bool = False
    console: bool = False


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both commands."""
    for option in (
        click.option("--html", type=FILE, metavar="FILE", help="Write one HTML file that needs nothing else."),
        click.option("--json", type=FILE, metavar="FILE", help="Write the report as JSON."),
        click.option("--report", type=FOLDER, metavar="DIR", help="Write report.json and report.html there."),
        click.option("--keep", is_flag=True, help="Leave the host up afterwards; `popbox down` removes it."),
        click.option("--mta", type=click.Choice(["auto", "qmail", "standin"]), default="auto", show_default=True),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--host", type=click.Choice(["auto", "local", "docker"]), default="auto", show_default=True)
@click.option("--console", is_flag=True, help="Then leave the host up for a browser, until Enter.")
@allow_writes
@options
@click.pass_obj
def demo(settings: Settings, /, allow_writes: bool, **given: Any) -> int:
    """Show the HOWTO at work: declare joe@domain.com, mail it, find it in the Maildir, fetch it by telnet."""
    if given["keep"] and given["console"]:
        raise click.UsageError("--keep leaves the host up until `popbox down`, --console until Enter: give one of them")
    if allow_writes and not given["keep"] and not given["console"]:
        raise click.UsageError("--allow-writes is of `popbox serve`, which runs with --keep and --console")
    file = load(settings.assets / "scenarios" / DEMO)
    return _go(settings, [file], Options(jobs=1, writes=allow_writes, **given), transcripts=True)


@click.command()
@click.argument("scenarios", nargs=-1, type=PathName(path_type=Path))
@click.option(
    *("--jobs", "-j"),
    type=click.IntRange(1, MOST_JOBS),
    help=f"Scenarios at a time. [default: {LOCAL_JOBS} on host local, otherwise {JOBS}]",
)
@click.option("--host", type=click.Choice(["auto", "local", "docker", "remote"]), default="auto", show_default=True)
@remote_options
@click.option("--store", type=FILE, metavar="FILE", help="Keep journeys there; with --keep `popbox serve` goes on.")
@click.option("--allow-unproved", is_flag=True, help="0 also where what became of a message is unknown.")
@click.option("--allow-empty", is_flag=True, help="0 also where every scenario was skipped.")
@options
@click.pass_obj
def run(settings: Settings, /, scenarios: tuple[Path, ...], **given: Any) -> int:
    """Run scenario files, or all in a directory; without any, those that come with popbox.

    Exit codes: 0 passed, 1 failed, 2 unusable input, 3 host unavailable, 4 nothing failed and not all is proved:
    what became of a message is unknown, or every scenario was skipped.
    """
    files = load_all(list(scenarios) or [settings.assets / "scenarios"])
    if given["store"] and len(files) > 1 and not given["keep"]:
        raise click.UsageError("--store keeps the journeys of one host: give one scenario, or --keep")
    remote = read_remote(given)
    return _go(settings, files, Options(remote=remote, **given))


def _go(settings: Settings, files: list[ScenarioFile], wish: Options, transcripts: bool = False) -> int:
    """Run, show, report. The first and the last line name host and MTA."""
    outputs = _outputs(wish)
    choice = _choice(wish, settings)
    began, results = datetime.now(UTC), list[Result]()
    shown = screen(echo, len(files), steps=len(files) == 1 or wish.keep, transcripts=transcripts)
    echo(f"host {choice.host}, MTA {choice.mta}" + (f" ({choice.why})" if choice.why else ""))
    with contextlib.ExitStack() as up:
        try:
            # an interrupt here, too, takes the hosts away at once, and not when the generator happens to be collected
            with shown, contextlib.closing(_results(settings, files, choice, wish, shown, up)) as running:
                for result in running:
                    shown.result(result)
                    results.append(result)
        finally:  # also of a run that ended early: what is known is kept
            _write(outputs, choice, began, results)
        for line in (*checklist(results), *wrong(results)):
            echo(line)
        for path in outputs:
            echo(f"report: {path}")
        if wish.store:
            echo(f"journeys: {wish.store}")
        echo(f"{summary(results)}; host {choice.host}, MTA {choice.mta}")
        if wish.console:
            _show(settings, wish)
    return exit_code(results, wish)


def exit_code(results: list[Result], wish: Options) -> int:
    """Zero only for a proof, or for what was asked to count as one."""
    verdicts = {result.verdict for result in results}
    if Verdict.FAILED in verdicts:
        return FAILED
    unproved = Verdict.NOT_PROVED in verdicts and not wish.allow_unproved
    empty = verdicts <= {Verdict.SKIPPED} and not wish.allow_empty
    return NOTHING_PROVED if unproved or empty else PASSED


def _choice(wish: Options, settings: Settings) -> Choice:
    if wish.remote is None:
        return choose(wish.host, wish.mta, settings)
    unknown = "unknown MTA: --mta says which it is" if wish.remote.mta == "unknown" else ""
    return Choice("remote", wish.remote.mta, unknown)


def _start(choice: Choice, wish: Options, settings: Settings, own_disk: bool) -> Host:
    return RemoteHost(wish.remote, settings.say) if wish.remote else start(choice, settings, own_disk=own_disk)


def _results(
    settings: Settings,
    files: list[ScenarioFile],
    choice: Choice,
    wish: Options,
    shown: Screen,
    up: contextlib.ExitStack,
) -> Generator[Result]:
    """One file, or a host that is kept: one after the other on one host; otherwise as many at a time as asked for.

    The host that a console is wanted of goes with ``up``.
    """
    if len(files) > 1 and not wish.keep:
        prepare(choice, settings)  # once, and not by each host that starts beside others
        jobs = wish.jobs or (LOCAL_JOBS if choice.host == "local" else JOBS)
        yield from run_all(files, lambda own_disk: _start(choice, wish, settings, own_disk), jobs, shown)
        return
    own_disk = any(file.scenario.needs.own_disk for file in files)
    goes = len(files) == 1 and not (wish.keep or wish.console)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(opened_store(wish.store)) if wish.store else None
        host = stack.enter_context(closing(_start(choice, wish, settings, own_disk), wish.keep))
        for file in files:
            shown.begins(file)
            yield run_scenario(file, host, shown, store, host_goes=goes)
        if wish.keep:
            host.keep()
            for line in (*_kept_lines(host), *_served_lines(settings, wish), "`popbox down` removes it.\n"):
                shown.say(line)
        elif wish.console:
            up.push(stack.pop_all())


def _outputs(wish: Options) -> dict[Path, Form]:
    """Files to write; their folders are made now, so that a wrong one is known before the run.

    Raises:
        click.UsageError: a folder cannot be made.
    """
    folder = wish.report
    wanted: list[tuple[Path | None, Form]] = [(wish.json, run_report.as_json), (wish.html, _html)]
    wanted += [(folder / "report.json", run_report.as_json), (folder / "report.html", _html)] if folder else []
    paths = {path: form for path, form in wanted if path}
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"{path}: {error.strerror}") from error
    return paths


def _html(report: Report) -> str:
    from popbox.report import html  # it brings jinja2, a tenth of all that a run imports

    return html.render(report)


def _write(outputs: dict[Path, Form], choice: Choice, began: datetime, results: list[Result]) -> None:
    report = run_report.make(choice.host, choice.mta, choice.why, began, results)
    for path, form in outputs.items():
        write(str(path), form(report))


def _kept_lines(host: Host) -> Iterator[str]:
    smtp, pop3 = host.address("smtp"), host.address("pop3")
    yield f"\nThe host stays up: SMTP {smtp}, POP3 {pop3}, qmail home {host.home()}"
    yield "  logins: testid, password testpw (joe@domain.com)" if b"testid:" in host.read("users/poppasswd") else ""
    yield f"  {host.by_hand()} mailbox list"
    yield f"  telnet {pop3.host} {pop3.port}\n  USER testid\n  PASS testpw\n  LIST\n  RETR 1\n  QUIT"


def _served_lines(settings: Settings, wish: Options) -> Iterator[str]:
    """``popbox serve`` beside the host that is kept. It is no reason to take the host away where that fails."""
    if not serving.installed():
        yield f"  no HTTP: {serving.MISSING}"
        return
    try:
        yield from (f"  {line}" for line in serving.told(settings, kept_here(settings), token(wish.writes)))
    except HostError as error:
        yield f"  no HTTP: {error}"


def _show(settings: Settings, wish: Options) -> None:
    """The console of the host that this process has up, until Enter, or the end of standard input."""
    if not serving.installed():
        echo(f"no console: {serving.MISSING}")
        return
    [name] = [one.id for one in Registry(settings.state).mine()]
    try:
        serving.begin(settings, name, token=token(wish.writes))
        echo("The host stays up, for you to look around in a browser. Enter takes it away.")
        echo(f"console: {serving.console(settings, name)}")
        sys.stdin.readline()
    except HostError as error:
        echo(f"no console: {error}")
    finally:
        serving.end(settings, name)
