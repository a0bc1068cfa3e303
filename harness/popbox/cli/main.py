"""``popbox``: the command line, for people and for CI.

Exit codes: 0 passed, 1 failed, 2 unusable input, 3 host unavailable.
"""

from __future__ import annotations

import os

import click

from popbox.cli.backup import backup, restore
from popbox.cli.doctor import doctor
from popbox.cli.down import down
from popbox.cli.host import COMMANDS
from popbox.cli.migrate import migrate
from popbox.cli.output import echo
from popbox.cli.pop3_check import pop3_check
from popbox.cli.probe import probe_command
from popbox.cli.run import demo, run
from popbox.cli.serve import serve
from popbox.errors import HostError, PopboxError, UnusableError
from popbox.report import run_report
from popbox.scenario.schema import scenario_schema_text
from popbox.settings import Settings

PASSED, FAILED, UNUSABLE, UNAVAILABLE = 0, 1, 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="popbox")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Bring up a single-uid qmail host, send it mail, and prove what arrives on port 110."""
    ctx.obj = Settings.from_environment(os.environ, lambda line: echo(f"popbox: {line}", err=True))


cli.add_command(demo)
cli.add_command(run)
cli.add_command(pop3_check)
cli.add_command(migrate)
cli.add_command(probe_command)
cli.add_command(doctor)
for command in (*COMMANDS, backup, restore, down, serve):
    cli.add_command(command)


def main() -> int:
    """Run the command line; returns the exit code. An expected error becomes one line on stderr.

    Raises:
        KeyboardInterrupt: SIGINT, or another signal that ``popbox.__main__`` turns into it, ended the command.
    """
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return UNUSABLE
    except click.Abort:  # click's name for an interrupt
        raise KeyboardInterrupt from None
    except UnusableError as error:
        return _say(error, UNUSABLE)
    except HostError as error:
        return _say(error, UNAVAILABLE)
    except (PopboxError, OSError) as error:  # OSError: our own output or state directory, say a full disk
        return _say(error, FAILED)
    return code if isinstance(code, int) else PASSED


def _say(error: Exception, code: int) -> int:
    echo(f"popbox: {error}", err=True)
    return code


@cli.command()
@click.argument("what", type=click.Choice(["scenario", "report"]))
def schema(what: str) -> int:
    """Print the JSON Schema of scenario files, for your editor, or of the report that `run --json` writes."""
    echo(scenario_schema_text() if what == "scenario" else run_report.SCHEMA.read_text(), nl=False)
    return PASSED
