"""``mailhost serve standin``: the MTA for machines without qmail."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import click

from mailhost.cli.addresses import host_and_port
from mailhost.cli.paths import PathName
from mailhost.standin.log import Log
from mailhost.standin.options import SESSIONS, SESSIONS_EACH, Options
from mailhost.standin.server import serve
from mailhost.system.privileges import ID
from mailhost.system.proxy_protocol import Trusted


class Endpoint(click.ParamType[tuple[str, int]]):
    """``ADDR:PORT``, an IPv6 address in brackets."""

    name = "ADDR:PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """(address, port)."""
        try:
            return host_and_port(str(value))
        except ValueError as why:
            self.fail(str(why), param, ctx)


SENDS_WITH = {"aiosmtplib": "aiosmtplib", "dns": "dnspython"}  # module: distribution of the extra `standin`
FILE = PathName(path_type=Path, readable=False)
"""Not looked at here: one that cannot be read is the log's to name, and mail goes on."""


@click.command()
@click.option("--listen", type=Endpoint(), required=True, help="Where to accept SMTP; port 0: any free one.")
@click.option("--allow-programs", is_flag=True, help="Run |program lines of .qmail files. Off: they defer.")
@click.option(
    "--remote",
    type=click.Choice(["routes", "mx"]),
    default="routes",
    show_default=True,
    help="Remote mail: by control/smtproutes only, or by MX records too.",
)
@click.option("--sink", type=PathName(path_type=Path, file_okay=False), help="Keep remote mail in this Maildir.")
@click.option("--cert", type=FILE, help="Certificate chain (PEM): offer STARTTLS.")
@click.option("--key", type=FILE, help="Its private key, if not in the same file.")
@click.option("--sessions", type=click.IntRange(1), default=SESSIONS, show_default=True, help="Sessions at once.")
@click.option(
    "--sessions-per-address",
    type=click.IntRange(1),
    default=SESSIONS_EACH,
    show_default=True,
    help="Sessions at once from one address, or from one IPv6 /64.",
)
@click.option("--proxy-from", multiple=True, metavar="NETWORK", help="Want a PROXY header from these addresses.")
@click.option("--uid", type=click.IntRange(1), default=ID, show_default=True, help="As root: become this uid.")
@click.option("--gid", type=click.IntRange(1), default=ID, show_default=True, help="As root: become this gid.")
@click.pass_obj
def standin(
    home: Path,
    listen: tuple[str, int],
    allow_programs: bool,
    remote: str,
    sink: Path | None,
    cert: Path | None,
    key: Path | None,
    sessions: int,
    sessions_per_address: int,
    proxy_from: tuple[str, ...],
    uid: int,
    gid: int,
) -> None:
    """Receive by SMTP and deliver by qmail's rules, from the same control files. Logs on stderr."""
    if missing := [name for module, name in SENDS_WITH.items() if not find_spec(module)]:
        said = f"mail cannot be sent on without {' and '.join(missing)}: pip install 'popbox-mailhost[standin]'"
        click.echo(f"mailhost: {said}", err=True)
        sys.exit(2)
    if key is not None and cert is None:
        raise click.UsageError("--key needs --cert")
    try:
        Trusted(proxy_from)
    except ValueError as error:
        raise click.UsageError(f"--proxy-from: {error}") from error
    limits = (sessions, sessions_per_address)
    options = Options(home, listen, allow_programs, remote, sink, cert, key, *limits, proxy_from, (uid, gid))
    sys.exit(serve(options, Log()))
