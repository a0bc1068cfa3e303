"""``popbox``: the command line, for people and for CI.

Exit codes: 0 passed, 1 failed, 2 unusable input, 3 host unavailable.
"""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress

import click

from popbox.cli.on_demand import OnDemand
from popbox.cli.output import echo
from popbox.errors import HostError, PopboxError, UnusableError
from popbox.settings import Settings

PASSED, FAILED, UNUSABLE, UNAVAILABLE = 0, 1, 2, 3
EXTRAS = {"serve": ("fastapi", "starlette", "uvicorn"), "load": ("duckdb", "gevent", "locust", "matplotlib", "psutil")}

PLACES = {
    "backup": "backup:backup",
    "demo": "run:demo",
    "doctor": "doctor:doctor",
    "down": "down:down",
    "exec": "host:exec_",
    "load": "load:load",
    "logs": "host:logs",
    "migrate": "migrate:migrate",
    "pop3-check": "pop3_check:pop3_check",
    "probe": "probe:probe_command",
    "provision": "host:provision",
    "restore": "backup:restore",
    "run": "run:run",
    "schema": "schema:schema",
    "send": "host:send",
    "serve": "serve:serve",
    "status": "host:status",
    "telnet": "host:telnet",
    "up": "host:up",
}


@click.group(commands=OnDemand(PLACES), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="popbox")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Bring up a single-uid qmail host, send it mail, and prove what arrives on port 110."""
    ctx.obj = Settings.from_environment(os.environ, lambda line: echo(f"popbox: {line}", err=True))


def main() -> int:
    """Run the command line; returns the exit code. An expected error becomes one line on stderr.

    Raises:
        KeyboardInterrupt: SIGINT, or another signal that ``popbox.__main__`` turns into it, ended the command.
    """
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return getattr(error, "unusable", UNUSABLE)  # a command may have an exit code of its own for that
    except click.Abort:  # click's name for an interrupt
        raise KeyboardInterrupt from None
    except UnusableError as error:
        return _say(error, UNUSABLE)
    except HostError as error:
        return _say(error, UNAVAILABLE)
    except ModuleNotFoundError as error:
        return _say(_lacking(error), UNUSABLE)
    except PopboxError as error:
        return _say(error, FAILED)
    except OSError as error:  # of our own output, or of a file of ours: say a full disk
        if isinstance(error.__context__, KeyboardInterrupt):  # click could not end the line that ^C is in
            raise error.__context__ from None
        named = isinstance(error.filename, str | bytes)
        what = error.strerror or error
        return _say(f"{os.fsdecode(error.filename)}: {what}" if named else what, FAILED)
    return code if isinstance(code, int) else PASSED


def _lacking(error: ModuleNotFoundError) -> str:
    """What to install for a package that is not here: in the image ``popbox/box``, say, only `popbox serve` is whole.

    Raises:
        ModuleNotFoundError: it is a module of ours, so popbox itself is broken.
    """
    package = (error.name or "").partition(".")[0]
    if package in ("", "popbox"):
        raise error
    wanted = next((f"popbox[{extra}]" for extra, brings in EXTRAS.items() if package in brings), "popbox")
    return f"{package} is not installed here: pip install '{wanted}'"


def _say(error: object, code: int) -> int:
    echo(f"popbox: {error}", err=True)
    if os.strerror(errno.EMFILE) in str(error):
        echo(f"popbox: ulimit -n is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} here", err=True)
    return code
