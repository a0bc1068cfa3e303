"""``mailhost serve pop3``: the in-process POP3 server."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from mailhost.cli.addresses import host_and_port, shown
from mailhost.cli.paths import PathName
from mailhost.cli.terminal import say
from mailhost.pop3.options import DEFAULT_LIMITS, Address, Limits, Options
from mailhost.pop3.protocol.profiles import PROFILES
from mailhost.system.proxy_protocol import Trusted


class AddressType(click.ParamType[Address]):
    """``ADDR:PORT``; an IPv6 address stands in brackets."""

    name = "addr:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """An ``Address``, or a usage error."""
        if isinstance(value, Address):
            return value
        try:
            return Address(*host_and_port(str(value)))
        except ValueError as why:
            self.fail(str(why), param, ctx)


_BIND_ERRORS = (errno.EACCES, errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
ADDRESS = AddressType()
HOST_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
MOST_WORKERS = 8
"""Unless asked for: one worker serves thousands of sessions a second, and each takes some 20 MB."""
FILE = PathName(path_type=Path, readable=False)
"""Not looked at here: a key that is not readable yet is the log's to name, and no reason to keep POP3 in clear down."""


@click.command(context_settings={"show_default": True})
@click.option("--listen", type=ADDRESS, multiple=True, help="Plain POP3 here; with STLS where --cert is given.")
@click.option("--profile", type=click.Choice(sorted(PROFILES)), default="rfc1939")
@click.option("--tls-listen", type=ADDRESS, multiple=True, help="POP3S here; needs --cert.")
@click.option("--cert", type=FILE, help="Certificate chain, PEM.")
@click.option("--key", type=FILE, help="Its key, PEM. [default: in the --cert file]")
@click.option("--require-tls", is_flag=True, help="Refuse passwords on connections without TLS.")
@click.option("--upgrade-hashes-on-login", "upgrade_hashes", is_flag=True, help="Replace weak hashes as people log in.")
@click.option("--utf8-on-request", "utf8_asked", is_flag=True, help="8-bit headers only for clients that said UTF8.")
@click.option("--log-messages", is_flag=True, help="A log line for each message fetched whole, and each removed.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes. [default: one a core, at most 8]")
@click.option("--metrics", type=ADDRESS, help="Serve /metrics and /ready over HTTP here.")
@click.option("--canary", type=FILE, help="Show in the metrics when this file was touched: by a health check.")
@click.option("--proxy-from", multiple=True, metavar="NETWORK", help="Want a PROXY header from these addresses.")
@click.option("--hostname", default=None, help="Name in the banner. [default: control/me, else this host's name]")
@click.option("--idle", "idle_s", type=click.FloatRange(1), help="Seconds of silence. [default: 600; qmail: 1200]")
@click.option("--login-time", "login_s", type=click.FloatRange(1), default=DEFAULT_LIMITS.login_s)
@click.option("--login-delay", "login_delay_s", type=click.IntRange(0), default=0)
@click.option("--drain", "drain_s", type=click.FloatRange(0), default=DEFAULT_LIMITS.drain_s)
@click.option("--max-connections", "connections", type=click.IntRange(1), default=DEFAULT_LIMITS.connections)
@click.option("--max-per-address", "per_address", type=click.IntRange(1), default=DEFAULT_LIMITS.per_address)
@click.pass_obj
def pop3(home: Path, /, **given: Any) -> None:
    """Serve the boxes of users/poppasswd to POP3 clients, in one process, as popuser."""
    from mailhost.pop3.server.daemon import run

    if not given["listen"] and not given["tls_listen"]:
        raise click.UsageError("nothing to listen on: give --listen ADDR:PORT")
    if given["cert"] is None and (given["tls_listen"] or given["require_tls"] or given["key"]):
        raise click.UsageError("--tls-listen, --require-tls and --key need --cert")
    try:
        options = options_from(home, given)
        sys.exit(run(options))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        failed = error.with_traceback(None)  # it would keep open the sockets that were bound
    say(f"mailhost serve pop3: {_reason(failed, options)}", err=True)
    sys.exit(111)


def _reason(error: OSError, options: Options) -> str:
    """The error with what it is about: the file that it names, else the address that cannot be bound."""
    if isinstance(error.filename, str | bytes):
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, socket.gaierror) or error.errno in _BIND_ERRORS:
        return _unbindable((*options.listen, *options.tls_listen, *filter(None, [options.metrics]))) or str(error)
    return str(error)


def _unbindable(addresses: Iterable[Address]) -> str | None:
    """The first address that cannot be bound together with those before it, and why: a socket's error has no name."""
    from mailhost.pop3.server.daemon import bind

    with ExitStack() as bound:
        for address in addresses:
            try:
                bound.enter_context(bind(address))
            except OSError as why:
                return f"{shown(address.host, address.port)}: {why.strerror or why}"
    return None


def options_from(home: Path, given: dict[str, Any]) -> Options:
    """The command line as one value.

    Raises:
        ValueError: a --proxy-from is no network, or the name for the banner no host name.
    """
    try:
        Trusted(given["proxy_from"])
    except ValueError as error:
        raise ValueError(f"--proxy-from: {error}") from error
    limits = {name: given.pop(name) for name in Limits.__slots__ if name in given}
    given["profile"] = PROFILES[given["profile"]]
    where = "--hostname" if given["hostname"] else f"{home}/control/me: line 1"
    given["hostname"] = given["hostname"] or banner_name(home)
    if not HOST_NAME.fullmatch(given["hostname"]):  # it stands in banners, APOP digests and session ids
        raise ValueError(f"{where}: {given['hostname']!r} is no host name: letters, digits and . - _ : [ ] only")
    given["workers"] = given["workers"] or min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    return Options(home=home, limits=Limits(**limits), **given)


def banner_name(home: Path) -> str:
    """The first line of control/me, else the host's own name."""
    try:
        name = (home / "control" / "me").read_text("ascii", "replace").partition("\n")[0].strip()
    except OSError:
        name = ""
    return name or socket.gethostname()
