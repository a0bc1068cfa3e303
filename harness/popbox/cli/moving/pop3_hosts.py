"""The options that say how a POP3 host of a move is reached, as ``--old-...`` and ``--new-...``."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import click

from popbox.cli.options import address
from popbox.cli.output import PathName, echo
from popbox.migrate.pop3 import tls
from popbox.migrate.pop3.host import Host

Side = Literal["old", "new"]


def host_options(side: Side) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What can be said of a host beside its address."""
    certificates = PathName(path_type=Path, dir_okay=False)
    options = (
        click.option(f"--{side}-accept-legacy-tls", is_flag=True, help="INSECURE: TLS 1.0, SHA-1, short keys."),
        click.option(f"--{side}-accept-any-certificate", is_flag=True, help="INSECURE: who answers is not checked."),
        click.option(f"--{side}-tls-name", metavar="NAME", default="", help="Name in the certificate, if not HOST."),
        click.option(f"--{side}-ca", metavar="FILE", type=certificates, help="Trust these certificates (PEM) alone."),
        click.option(
            f"--{side}-tls", type=click.Choice(["none", "stls", "implicit"]), default="none", show_default=True
        ),
        click.option(
            f"--{side}-profile",
            type=click.Choice(["auto", "rfc1939", "qmail", "dovecot", "courier"]),
            default="auto",
            show_default=True,
            help="How it counts sizes and ends messages.",
        ),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in options:
            command = option(command)
        return command

    return add


def the_host(side: Side, options: dict[str, Any]) -> Host:
    """The host that ``options`` describe: its address under ``side``; ``jobs``, ``timeout_s``, ``tries``, ``wait_s``.

    Raises:
        click.BadParameter: the address is none, or options of TLS are given without TLS.
    """
    where, mode = address(options[side]), options[f"{side}_tls"]
    any_certificate, legacy = options[f"{side}_accept_any_certificate"], options[f"{side}_accept_legacy_tls"]
    if mode == "none" and (any_certificate or legacy or options[f"{side}_ca"] or options[f"{side}_tls_name"]):
        raise click.BadParameter(f"options of TLS for the {side} host need --{side}-tls stls or implicit")
    if mode == "none" and not _here(where.host):
        warn(f"passwords go to the {side} host {where} in the clear (--{side}-tls none)")
    if any_certificate:
        warn(f"ANY certificate is taken for the {side} host {where}: whoever answers there gets the passwords")
    if legacy:
        warn(f"TLS 1.0, SHA-1 and short keys are taken for the {side} host {where}")
    if options[f"{side}_profile"] == "courier":
        raise click.UsageError(f"--{side}-profile courier: is for verify --files; over POP3 it counts as dovecot does")
    return Host(
        side=side,
        address=where,
        tls=mode,
        context=None if mode == "none" else tls.context(options[f"{side}_ca"], any_certificate, legacy),
        tls_name=options[f"{side}_tls_name"],
        profile=options[f"{side}_profile"],
        jobs=options["jobs"],
        timeout_s=options["timeout_s"],
        tries=options["tries"],
        wait_s=options["wait_s"],
    )


def warn(what: str) -> None:
    """A line on standard error that is hard to miss."""
    echo(f"WARNING: {what}", err=True)


def _here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
