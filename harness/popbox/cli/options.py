"""The options of ``--host remote`` and ``mounted``: which server, what may be done to it, where its files are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from popbox import reading
from popbox.cli.output import NAME, PathName
from popbox.clients.wire import Address
from popbox.errors import UnusableError
from popbox.hosts.mounted import Mounts
from popbox.hosts.remote import Remote
from popbox.operate.serving import VARIABLE

if TYPE_CHECKING:
    from popbox.journey.store import Store

OPTIONS = {
    "smtp": click.option("--smtp", type=NAME, metavar="HOST:PORT", help="Host remote, mounted: where it takes mail."),
    "pop3": click.option(
        "--pop3", type=NAME, metavar="HOST:PORT", help="Host remote, mounted: where it hands mail out."
    ),
    "log_command": click.option(
        "--log-command", default="", metavar="COMMAND", help="Host remote: prints its mail log, or the end of it."
    ),
    "mailhost_command": click.option(
        "--mailhost-command",
        default="",
        metavar="COMMAND",
        help="Host remote: runs mailhost there, `ssh mx mailhost`. Host mounted: runs it here.",
    ),
    "allow_writes": click.option(
        "--allow-writes",
        is_flag=True,
        help="Host remote: send mail, delete it, change accounts; without it, only read.",
    ),
}
MOUNTS = {
    "home": click.option(
        "--home",
        type=PathName(path_type=Path, file_okay=False),
        default=Path("/var/qmail"),
        show_default=True,
        metavar="DIR",
        help="Host mounted: its qmail home as it is mounted here.",
    ),
    "smtp_log": click.option(
        "--smtp-log",
        type=PathName(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Host mounted: the log of qmail-send.",
    ),
    "pop3_log": click.option(
        "--pop3-log",
        type=PathName(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Host mounted: the log of `serve pop3 --log-messages`; without it who fetched what is unknown.",
    ),
}
OTHERS = ("remote", "mounted")  # hosts that are there, and that popbox neither starts nor ends
LONGEST_PASSWORD = 4096


on = click.option(
    "--on", "name", type=NAME, metavar="NAME", help="Which host, where several are up; `popbox status` has names."
)


allow_writes = click.option(
    "--allow-writes",
    is_flag=True,
    help="Serve changes too, with the token POPBOX_TOKEN, else one in a file.",
)


def token(allow: bool) -> str | None:
    """Of writes over HTTP: the one of the environment, empty for one that is made; None where there are none."""
    return os.environ.get(VARIABLE, "") if allow else None


def opened_store(path: Path) -> Store:
    """The store of journeys, for this process to write.

    Raises:
        UnusableError: another process writes it, or it cannot be used.
    """
    from popbox.journey.store import Store, StoreError  # SQLite is loaded only where there is one

    try:
        return Store.open(path)
    except (StoreError, OSError) as error:
        raise UnusableError(f"--store {path}: {error}" if isinstance(error, OSError) else str(error)) from error


def address(text: str, least_port: int = 1) -> Address:
    """``HOST:PORT``, an IPv6 address in brackets; ``least_port`` 0 where a free one can be asked for.

    Raises:
        click.BadParameter: the text is not of that form.
    """
    found = _host_and_port(text, least_port)
    if found is None:
        raise click.BadParameter(f"{text!r} is not HOST:PORT")
    return found


def _host_and_port(text: str, least_port: int = 1) -> Address | None:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not least_port <= int(port) < 65_536:
        return None
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def octets_of(path: Path) -> bytes:
    """A file's octets.

    Raises:
        UnusableError: it cannot be read, is no file, or is larger than 256 MiB.
    """
    try:
        return reading.octets_of(path)
    except OSError as error:
        raise UnusableError(f"{path}: {error.strerror}") from error


def password_in(path: str) -> str:
    """The first line of a file, ``-`` for standard input.

    Raises:
        click.BadParameter: the file cannot be read, or its first line is empty.
    """
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else reading.opened(path) as file:
            octets = file.readline(LONGEST_PASSWORD)
        password = octets.partition(b"\n")[0].removesuffix(b"\r").decode()
    except OSError as error:
        raise click.BadParameter(f"--password-file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"--password-file {path}: {error}") from error
    if not password:
        raise click.BadParameter(f"--password-file {path}: its first line is empty")
    return password


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command that has ``--host`` and ``--mta``."""
    for option in reversed(OPTIONS.values()):
        command = option(command)
    return command


def read_remote(given: dict[str, Any]) -> Remote | None:
    """Take the options out of ``given``; None for another host.

    Raises:
        click.UsageError: options that do not fit together.
    """
    wish = {name: given.pop(name) for name in OPTIONS}
    if given["host"] not in OTHERS:
        if used := [name for name, value in wish.items() if value]:
            raise click.UsageError(f"--{used[0].replace('_', '-')} is for --host remote, this is {given['host']}")
        return None
    if given["keep"]:
        raise click.UsageError("--keep is for hosts that popbox brings up; host remote stays as it is")
    mta = {"auto": "unknown", "standin": "stand-in"}.get(given["mta"], given["mta"])
    return Remote(_address("smtp", wish.pop("smtp")), _address("pop3", wish.pop("pop3")), mta, **wish)


def read_mounts(given: dict[str, Any]) -> Mounts | None:
    """Take the options of MOUNTS out of ``given``; None for another host.

    Raises:
        click.UsageError: options that do not fit together.
    """
    wish = {name: given.pop(name) for name in MOUNTS}
    if given["host"] != "mounted":
        if used := [name for name in ("smtp_log", "pop3_log") if wish[name]]:
            raise click.UsageError(f"--{used[0].replace('_', '-')} is for --host mounted, this is {given['host']}")
        return None
    if given["log_command"]:
        raise click.UsageError("--log-command is for --host remote: --host mounted has --smtp-log FILE")
    if not wish["smtp_log"]:
        raise click.UsageError("--host mounted needs --smtp-log FILE")
    return Mounts(**wish)


def _address(option: str, text: str | None) -> Address:
    if not text:
        raise click.UsageError(f"--host remote needs --{option} HOST:PORT, and so does mounted")
    found = _host_and_port(text)
    if found is None:
        raise click.UsageError(f"--{option} {text}: HOST:PORT is wanted, such as mx.example.net:110 or [::1]:110")
    return found
