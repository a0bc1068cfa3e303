"""``popbox``: the front door for people and for CI.

Exit codes: 0 passed, 1 failed, 2 unusable input, 3 host unavailable.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from popbox.conformance.command import pop3_check
from popbox.errors import HostError, PopboxError, ScenarioError
from popbox.hosts.base import Host, closing
from popbox.hosts.choose import Choice, HostName, MtaName, choose, remove_left, start
from popbox.migrate.command import migrate
from popbox.model import Result, StepResult, Verdict
from popbox.operate.commands import COMMANDS
from popbox.operate.doctor_command import doctor
from popbox.operate.probe_command import probe_command
from popbox.report.text import checklist, result_lines, step_lines, summary, whole_lines
from popbox.runner import Watcher
from popbox.runner import run as run_scenario
from popbox.scenario import ScenarioFile, load, load_all
from popbox.settings import Settings
from popbox.suite import run_all

PASSED, FAILED, UNUSABLE, UNAVAILABLE = 0, 1, 2, 3
DEMO = "howto-telnet.toml"


def host_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--host``, ``--mta`` and ``--keep``, the same for every verb that brings a host up."""
    for option in (
        click.option("--keep", is_flag=True, help="Leave the host up afterwards; `popbox down` removes it."),
        click.option("--mta", type=click.Choice(["auto", "qmail", "standin"]), default="auto", show_default=True),
        click.option("--host", type=click.Choice(["auto", "local", "docker"]), default="auto", show_default=True),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="popbox")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Bring up a single-uid qmail host, send it mail, and prove what arrives on port 110."""
    ctx.obj = Settings.from_environment(os.environ)


cli.add_command(pop3_check)
cli.add_command(migrate)
cli.add_command(probe_command)
cli.add_command(doctor)
for command in COMMANDS:
    cli.add_command(command)


def main() -> int:
    """Run the command line; returns the exit code. Errors that are meant to be seen become one line on stderr."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return UNUSABLE
    except ScenarioError as error:
        return _say(error, UNUSABLE)
    except HostError as error:
        return _say(error, UNAVAILABLE)
    except (PopboxError, OSError) as error:  # OSError: our own output or state directory, say a full disk
        return _say(error, FAILED)
    return code if isinstance(code, int) else PASSED


def _say(error: Exception, code: int) -> int:
    click.echo(f"popbox: {error}", err=True)
    return code


@cli.command()
@host_options
@click.pass_obj
def demo(settings: Settings, host: HostName, mta: MtaName, keep: bool) -> int:
    """Show the HOWTO at work: declare joe@domain.com, mail it, find it in the Maildir, fetch it by telnet."""
    file = load(settings.assets / "scenarios" / DEMO)
    return _on_host(settings, host, mta, keep, lambda up: [_run_one(file, up, transcripts=True)])


@cli.command()
@click.argument("scenarios", nargs=-1, type=click.Path(path_type=Path))
@host_options
@click.pass_obj
def run(settings: Settings, scenarios: tuple[Path, ...], host: HostName, mta: MtaName, keep: bool) -> int:
    """Run scenario files, or all in a directory; without any, those that come with popbox."""
    files = load_all(list(scenarios) or [settings.assets / "scenarios"])
    if len(files) == 1 or keep:
        return _on_host(settings, host, mta, keep, lambda up: [_run_one(file, up) for file in files])
    choice = choose(host, mta, settings)
    click.echo(_world(choice))
    results = []
    for result in run_all(files, lambda: start(choice, settings)):
        results.append(result)
        for line in result_lines(result) if result.verdict is not Verdict.FAILED else whole_lines(result):
            click.echo(line)
    return _closing_line(results, choice)


@cli.command()
@click.pass_obj
def down(settings: Settings) -> int:
    """Remove hosts that were kept, and those that a killed popbox left."""
    gone = remove_left(settings)
    for line in gone:
        click.echo(f"removed {line}")
    if not gone:
        click.echo("no host is up")
    return PASSED


def _on_host(settings: Settings, host: HostName, mta: MtaName, keep: bool, work: Callable[[Host], list[Result]]) -> int:
    """Choose and start a host, do the work on it, take it away; the first and the last line name host and MTA."""
    choice = choose(host, mta, settings)
    click.echo(_world(choice))
    with closing(start(choice, settings), keep) as up:
        results = work(up)
        if keep:
            up.keep()
            _say_kept(up)
    return _closing_line(results, choice)


def _closing_line(results: list[Result], choice: Choice) -> int:
    for line in checklist(results):
        click.echo(line)
    click.echo(f"{summary(results)}; host {choice.host}, MTA {choice.mta}")
    return FAILED if any(result.verdict is Verdict.FAILED for result in results) else PASSED


def _world(choice: Choice) -> str:
    why = f" ({choice.why})" if choice.why else ""
    return f"host {choice.host}, MTA {choice.mta}{why}"


def _run_one(file: ScenarioFile, host: Host, transcripts: bool = False) -> Result:
    click.echo(f"\n{file.scenario.title}")

    class Show(Watcher):
        def step_ended(self, file: ScenarioFile, step: StepResult) -> None:
            for line in step_lines(step, transcripts):
                click.echo(line)

    result = run_scenario(file, host, Show())
    for line in result_lines(result):
        click.echo(line)
    return result


def _say_kept(host: Host) -> None:
    smtp, pop3 = host.address("smtp"), host.address("pop3")
    click.echo(f"\nThe host stays up: SMTP {smtp}, POP3 {pop3}, qmail home {host.home()}")
    click.echo("  logins: testid, password testpw (joe@domain.com)" if _has_demo_box(host) else "")
    click.echo(f"  {host.by_hand()} mailbox list")
    click.echo(f"  telnet {pop3.host} {pop3.port}\n  USER testid\n  PASS testpw\n  LIST\n  RETR 1\n  QUIT")
    click.echo("`popbox down` removes it.\n")


def _has_demo_box(host: Host) -> bool:
    return b"testid:" in host.read("users/poppasswd")
