"""``popbox up, status, logs, exec, send, telnet, provision``: what an operator does from outside."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click

from popbox.cli.options import address, allow_writes, octets_of, on, token
from popbox.cli.output import NAME, PathName, echo
from popbox.clients.smtp import deliver
from popbox.errors import ConnectionFailed, StepTimeout, UnusableError
from popbox.hosts.base import SERVICES, Ran, Service, closing
from popbox.hosts.choose import HostName, MtaName, attach, choose, start
from popbox.hosts.state import Registry
from popbox.operate import serving
from popbox.operate.status import lines, look
from popbox.operate.talk import converse
from popbox.operate.target import NONE, consoles, kept_here, target, targets
from popbox.settings import Settings

PASSED, FAILED, UNAVAILABLE = 0, 1, 3
FOLLOW_S = 0.25


@click.command()
@click.option("--host", type=click.Choice(["auto", "local", "docker"]), default="auto", show_default=True)
@click.option("--mta", type=click.Choice(["auto", "qmail", "standin"]), default="auto", show_default=True)
@click.option("--serve", "served", is_flag=True, help="Run `popbox serve` beside it, until `popbox down`.")
@allow_writes
@click.pass_obj
def up(settings: Settings, host: HostName, mta: MtaName, served: bool, allow_writes: bool) -> int:
    """Bring an empty mail host up and leave it up; `popbox down` removes it, mail and all.

    For a host to keep, use `docker compose up --wait`: the same containers, with volumes that stay.
    """
    if allow_writes and not served:
        raise click.UsageError("--allow-writes is of `popbox serve`: give --serve too")
    if served and not serving.installed():
        raise UnusableError(serving.MISSING)
    choice = choose(host, mta, settings)
    echo(f"host {choice.host}, MTA {choice.mta}" + (f" ({choice.why})" if choice.why else ""))
    with closing(start(choice, settings), keep=True) as running:
        running.keep()
        smtp, pop3 = running.address("smtp"), running.address("pop3")
        echo(f"SMTP {smtp}, POP3 {pop3}; by hand:\n  {running.by_hand()} domain add domain.com")
        if served:
            for line in serving.told(settings, kept_here(settings), token(allow_writes)):
                echo(line)
    return PASSED


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of objects, one for each host.")
@click.pass_obj
def status(settings: Settings, as_json: bool) -> int:
    """Show every host that is up, and whether its services speak their protocols.

    Those that a killed popbox left behind are shown too. Exit codes: 0 all is well, 1 something does not answer,
    3 no host is up.
    """
    registry, found = Registry(settings.state), targets(settings)
    found |= {record.id: record for record in registry.orphans()}
    http = consoles(settings, found)
    seen = [
        look(name, record, attach(record, settings, registry), serving.address(settings, name) or http.get(name, ""))
        for name, record in found.items()
    ]
    if as_json:
        echo(json.dumps([asdict(one) for one in seen], indent=1))
    for one in () if as_json else seen:
        echo("\n".join(lines(one)))
    up = [one for one in seen if not one.left_behind]
    if not up:
        echo(NONE, err=True)
        return UNAVAILABLE
    return PASSED if all(one.well for one in up) else FAILED


@click.command()
@click.argument("services", nargs=-1, type=click.Choice(SERVICES))
@click.option("--tail", "count", type=click.IntRange(0), help="Only so many last lines of each.")
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
@on
@click.pass_obj
def logs(settings: Settings, services: tuple[Service, ...], count: int | None, follow: bool, name: str | None) -> int:
    """Print what the services have logged."""
    running = target(settings, name)
    wanted = services or SERVICES
    shown = {service: f"{service} | " if len(wanted) > 1 else "" for service in wanted}
    if not follow:
        for service in wanted:
            for line in deque(running.log(service).splitlines(), count):
                echo(f"{shown[service]}{line}")
        return PASSED
    with ExitStack() as held:
        followed, passed_over = {}, {}
        for service in wanted:
            followed[service] = running.follow(service)
            held.callback(followed[service].close)
            passed_over[service] = 0 if count is None else running.log(service).count("\n") - count
        while True:
            for service, log in followed.items():
                for logged in log.lines():
                    passed_over[service] -= 1
                    if passed_over[service] < 0:
                        echo(f"{shown[service]}{logged.text}")
                if log.gap:
                    echo(f"popbox: {log.gap}", err=True)
            time.sleep(FOLLOW_S)


def _hand_on(ran: Ran) -> None:
    """What a program on the host printed: as it is to a file or a pipe, plain to a terminal."""
    (echo if sys.stdout.isatty() else click.echo)(ran.stdout, nl=False)
    (echo if sys.stderr.isatty() else click.echo)(ran.stderr, nl=False, err=True)


@click.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@on
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def exec_(settings: Settings, name: str | None, argv: tuple[str, ...]) -> int:
    """Run `mailhost ARGV` on the mail host; standard input is handed on, the exit code given back.

    Example: popbox exec domain list --json
    """
    stdin = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    ran = target(settings, name).run(*argv, stdin=stdin)
    _hand_on(ran)
    return ran.code


@click.command()
@click.argument("file", type=PathName(path_type=Path, exists=True, dir_okay=False))
@click.option("--plan", is_flag=True, help="Print what would be done, as a table, and do nothing.")
@click.option("--no-delete", is_flag=True, help="Keep what FILE does not name.")
@click.option("--yes", is_flag=True, help="Do not ask before taking anything away.")
@on
@click.pass_obj
def provision(settings: Settings, file: Path, plan: bool, no_delete: bool, yes: bool, name: str | None) -> int:
    """Make the host what FILE, an accounts.toml on this machine, says; see `mailhost apply`."""
    verb = ["plan"] if plan else ["apply", *(["--no-delete"] if no_delete else []), *(["--yes"] if yes else [])]
    ran = target(settings, name).run(*verb, "/dev/stdin", stdin=octets_of(file))
    _hand_on(ran)
    return ran.code


@click.command()
@click.argument("sender", metavar="FROM")
@click.argument("recipients", metavar="TO...", nargs=-1, required=True)
@click.option("--file", "path", type=PathName(path_type=Path, exists=True, dir_okay=False), help="The message.")
@click.option("--to-host", type=NAME, metavar="HOST:PORT", help="Any SMTP server, in place of a host that is up.")
@on
@click.pass_obj
def send(
    settings: Settings,
    sender: str,
    recipients: tuple[str, ...],
    path: Path | None,
    to_host: str | None,
    name: str | None,
) -> int:
    """Send one message by SMTP and show the conversation; the message comes from --file or standard input.

    Exit codes: 0 accepted, 1 refused, 3 no such server.
    """
    octets = octets_of(path) if path else sys.stdin.buffer.read()
    where = address(to_host) if to_host else target(settings, name).address("smtp")
    try:
        receipt = deliver(where, sender, recipients, octets.replace(b"\r\n", b"\n"))
    except (ConnectionFailed, StepTimeout) as error:
        echo(f"popbox: {error}", err=True)
        return UNAVAILABLE
    echo("\n".join(receipt.transcript))
    return PASSED if receipt.accepted else FAILED


@click.command()
@click.argument("where", type=NAME, metavar="[pop3|smtp|HOST:PORT]", default="pop3")
@on
@click.pass_obj
def telnet(settings: Settings, where: str, name: str | None) -> int:
    """Open a conversation with a service, like telnet: your lines go out with CR LF, its answers are printed.

    Lines from a pipe each wait for the answer to the one before. Exit codes: 0 talked, 3 no such server.
    """
    there = (
        target(settings, name).address("smtp" if where == "smtp" else "pop3") if where in SERVICES else address(where)
    )
    try:
        converse(there, sys.stdin, sys.stdout)
    except ConnectionFailed as error:
        echo(f"popbox: {error}", err=True)
        return UNAVAILABLE
    return PASSED
