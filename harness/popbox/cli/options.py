"""The options of ``--host remote``: which server, and what may be done to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from popbox.clients.wire import Address
from popbox.errors import UnusableError
from popbox.hosts.remote import Remote

if TYPE_CHECKING:
    from popbox.journey.store import Store

OPTIONS = {
    "smtp": click.option("--smtp", metavar="HOST:PORT", help="Host remote: where it takes mail."),
    "pop3": click.option("--pop3", metavar="HOST:PORT", help="Host remote: where it hands mail out."),
    "log_command": click.option(
        "--log-command", default="", metavar="COMMAND", help="Host remote: prints its mail log, or the end of it."
    ),
    "mailhost_command": click.option(
        "--mailhost-command", default="", metavar="COMMAND", help="Host remote: runs mailhost there, `ssh mx mailhost`."
    ),
    "allow_writes": click.option(
        "--allow-writes",
        is_flag=True,
        help="Host remote: send mail, delete it, change accounts; without it, only read.",
    ),
}


LONGEST_PASSWORD = 4096


on = click.option("--on", "name", metavar="NAME", help="Which host, where several are up; `popbox status` has names.")


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


def password_in(path: str) -> str:
    """The first line of a file, ``-`` for standard input.

    Raises:
        click.BadParameter: the file cannot be read, or its first line is empty.
    """
    try:
        octets = sys.stdin.buffer.readline() if path == "-" else Path(path).read_bytes()[:LONGEST_PASSWORD]
        password = octets.partition(b"\n")[0].removesuffix(b"\r").decode()
    except (OSError, UnicodeDecodeError) as error:
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
    if given["host"] != "remote":
        if used := [name for name, value in wish.items() if value]:
            raise click.UsageError(f"--{used[0].replace('_', '-')} is for --host remote, this is {given['host']}")
        return None
    if given["keep"]:
        raise click.UsageError("--keep is for hosts that popbox brings up; host remote stays as it is")
    mta = {"auto": "unknown", "standin": "stand-in"}.get(given["mta"], given["mta"])
    return Remote(_address("smtp", wish.pop("smtp")), _address("pop3", wish.pop("pop3")), mta, **wish)


def _address(option: str, text: str | None) -> Address:
    if not text:
        raise click.UsageError(f"--host remote needs --{option} HOST:PORT")
    found = _host_and_port(text)
    if found is None:
        raise click.UsageError(f"--{option} {text}: HOST:PORT is wanted, such as mx.example.net:110 or [::1]:110")
    return found
