"""``popbox serve``: the HTTP API beside a host."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit

import click

from popbox.cli.amounts import AGE, SIZE
from popbox.cli.options import MOUNTS, OPTIONS, OTHERS, address, on, opened_store, read_mounts, read_remote
from popbox.cli.output import NAME, PathName, echo
from popbox.errors import UnusableError
from popbox.hosts.base import closing
from popbox.hosts.choose import HostName, MtaName, choose, start
from popbox.hosts.mounted import MountedHost
from popbox.hosts.remote import RemoteHost
from popbox.hosts.state import Registry
from popbox.journey.recorder import Recorder
from popbox.journey.retention import Kept, Retaining
from popbox.operate import serving
from popbox.operate.target import named
from popbox.settings import Settings

if TYPE_CHECKING:
    from popbox.serve.keys import Keys
    from popbox.serve.move.handed import Moving

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
LOOPBACK = ("127.0.0.1", "::1")
PUBLIC = re.compile(
    r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:]+:[0-9a-f.]+\])(?::[0-9]{1,5})?(?:/[a-z0-9._~-]+)*", re.IGNORECASE
)


@click.command()
@click.option(
    "--host",
    type=click.Choice(["auto", "local", "docker", *OTHERS]),
    help="Start a host; it goes at the end. remote: one that is there, by --smtp and --pop3. mounted: its files, too.",
)
@click.option("--mta", type=click.Choice(["auto", "qmail", "standin"]), default="auto", show_default=True)
@click.option(
    "--listen", default="127.0.0.1:8025", show_default=True, type=NAME, metavar="ADDR:PORT", help="Port 0: a free one."
)
@click.option(
    "--public-url",
    "public",
    multiple=True,
    type=NAME,
    metavar="URL",
    help="Where a proxy shows it: https://NAME[:PORT][/PATH].",
)
@click.option(
    "--known-as",
    "names",
    multiple=True,
    type=NAME,
    metavar="NAME",
    help="Serve requests to NAME, to IP addresses and to localhost, at any port: for a container that is published.",
)
@click.option(
    "--store",
    type=PathName(path_type=Path, dir_okay=False),
    help="Keep journeys in FILE. By default beside what popbox knows of the host; `popbox down` removes that.",
    metavar="FILE",
)
@click.option("--keep", type=AGE, help="Journeys older than that leave the store: 12h, 30d. By default none.")
@click.option("--most-size", type=SIZE, default="2GiB", show_default=True, help="Of the store; the oldest go first.")
@click.option("--allow-writes", is_flag=True, help="Serve what changes the host, to those who have the token.")
@click.option(
    "--token-file",
    type=PathName(path_type=Path),
    metavar="FILE",
    help="Holds the token; made where it is not there, and removed at the end. Or POPBOX_TOKEN in the environment.",
)
@click.option(
    "--beside",
    type=PathName(path_type=Path, exists=True, file_okay=False),
    metavar="OLDHOME",
    help="The old host of a move: its qmail home, its root, or a copy of one. Explain shows addresses on both.",
)
@click.option(
    "--move",
    "proof",
    type=PathName(path_type=Path, dir_okay=False),
    metavar="STATE",
    help="Show `popbox migrate verify --state STATE` while it runs: boxes by verdict, messages that differ.",
)
@click.option(
    "--sheet",
    type=PathName(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Show the cut-over sheet of `popbox migrate plan --markdown FILE`; ticks are kept in it.",
)
@OPTIONS["smtp"]
@OPTIONS["pop3"]
@OPTIONS["log_command"]
@OPTIONS["mailhost_command"]
@MOUNTS["home"]
@MOUNTS["smtp_log"]
@MOUNTS["pop3_log"]
@on
@click.pass_obj
def serve(
    settings: Settings,
    /,
    host: HostName | Literal["remote", "mounted"] | None,
    mta: MtaName,
    listen: str,
    public: tuple[str, ...],
    names: tuple[str, ...],
    store: Path | None,
    keep: int | None,
    most_size: int,
    allow_writes: bool,
    token_file: Path | None,
    beside: Path | None,
    proof: Path | None,
    sheet: Path | None,
    name: str | None,
    **reached: Any,
) -> int:
    """Serve what the mail host says of itself over HTTP: /readyz, /v1/explain, /v1/accounts, /v1/lint, /v1/queue.

    It records the journey of every message into a store, and goes on there when it is started again. Nothing can be
    changed through it without --allow-writes and the token. /openapi.json describes it. Ctrl-C ends it.
    """
    at = address(listen, least_port=0)
    if host and name:
        raise click.UsageError("--on names a host that is up, --host starts another: give one of them")
    if at.host in EVERYWHERE and not public and not names:
        raise click.UsageError(
            f"--listen {listen} needs --public-url or --known-as: only requests with a Host that is known are served"
        )
    if token_file and not allow_writes:
        raise click.UsageError("--token-file is of no use without --allow-writes")
    _check(public)
    writes = {"allow_writes": allow_writes and host in OTHERS}
    given = {"host": host or "the one that is up", "mta": mta, "keep": False, **reached, **writes}
    mounts, remote = read_mounts(given), read_remote(given)
    if not serving.installed():
        raise UnusableError(serving.MISSING)
    from popbox.serve.app import application
    from popbox.serve.live import Live, Pace
    from popbox.serve.names import usable
    from popbox.serve.rules import Rules
    from popbox.serve.server import bind, server

    if wrong := [one for one in names if not usable(one.lower())]:
        raise click.UsageError(f"--known-as {wrong[0]}: a name is wanted, without a port")
    known = frozenset(map(str.lower, names))
    moving = _moving(beside, proof, sheet, settings.environ)
    with ExitStack() as stack:
        listener = stack.enter_context(bind(at))
        where, port = listener.getsockname()[:2]
        registry, running, pace = Registry(settings.state), None, Pace()
        if remote and mounts:
            running = stack.enter_context(closing(MountedHost(remote, mounts, settings.environ)))
            name = f"mounted-{quote(running.home(), safe='')}"
        elif remote:
            running = stack.enter_context(closing(RemoteHost(remote, settings.say)))
            name, pace = f"remote-{quote(str(remote.smtp), safe='')}", Pace(5.0, 1.0)  # its log is a command's output
        elif host and host != "remote" and host != "mounted":
            running = stack.enter_context(closing(start(choose(host, mta, settings), settings, registry)))
            [name] = [one.id for one in registry.mine()]  # this process starts no other
        else:
            name, running = named(settings, name)
        opened = stack.enter_context(opened_store(store or registry.journeys(name)))
        recorder = Retaining(Recorder.on(running, opened), opened, Kept(keep, most_size))
        live = stack.enter_context(Live(running, opened, recorder, pace))
        keys, said = None, "read-only"
        if allow_writes:
            keys, said = stack.enter_context(_keys(token_file, settings.state / "serve" / f"{port}.token"))
        rules = Rules.at(where, port, public=public, host=running.name, mta=running.mta, keys=keys, names=known)
        echo(f"http://{_literal(where)}:{port} {running.describe()}, {said}")
        if where not in LOOPBACK:
            echo(f"popbox: everyone who reaches {where}:{port} can read accounts and queue", err=True)
        app = application(live, rules, settings.assets / "scenarios", moving)
        base = public[0] if public else f"http://{_named(where)}:{port}"
        echo(f"console: {base}/" + (f"enter?once={app.sessions.invite()}" if app.sessions else ""))
        server(app, live.end_waits).run(sockets=[listener])
    return 0


def _moving(beside: Path | None, proof: Path | None, sheet: Path | None, environ: Mapping[str, str]) -> Moving:
    """What is shown of a move.

    Raises:
        UnusableError: the old host is none.
    """
    from popbox.cli.moving.old_home import OldHome
    from popbox.cli.moving.proof import StateProof
    from popbox.serve.move.handed import Moving
    from popbox.serve.move.sheet import Sheet

    old = OldHome(beside, environ) if beside else None
    return Moving(old, StateProof(proof) if proof else None, Sheet(sheet) if sheet else None)


def _literal(where: str) -> str:
    return f"[{where}]" if ":" in where else where


def _named(where: str) -> str:
    """What a browser on this machine calls it."""
    return _literal(LOOPBACK[EVERYWHERE.index(where)] if where in EVERYWHERE else where)


@contextmanager
def _keys(wanted: Path | None, default: Path) -> Iterator[tuple[Keys, str]]:
    """What a write must say, and where that stands. A file that was made goes at the end, with the folders of it.

    Raises:
        UnusableError: the token cannot be used.
    """
    from popbox.serve.keys import given, keys_in, take_away

    if not wanted and (chosen := os.environ.get(serving.VARIABLE)):
        yield given(chosen, serving.VARIABLE), f"writes with the token of {serving.VARIABLE}"
        return
    file = wanted or default
    default.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # another serve may be about to use it: it stays
    keys, made = keys_in(file)
    try:
        yield keys, f"writes with the token in {file}"
    finally:
        take_away(made)


def _check(urls: tuple[str, ...]) -> None:
    """Refuse what is no address of a proxy, and two that cannot be kept apart.

    Raises:
        click.BadParameter: says which, and why.
    """
    for url in urls:
        if not PUBLIC.fullmatch(url) or {".", ".."} & set(url.split("/")):
            wanted = "https://NAME[:PORT][/PATH] is wanted, without a slash at its end"
            raise click.BadParameter(f"--public-url {url}: {wanted}")
    if len({urlsplit(one).path for one in urls}) > 1:
        raise click.BadParameter("--public-url: all have one path, as a page has one address for its links")
    if len({urlsplit(one).netloc.lower() for one in urls}) < len({one.lower() for one in urls}):
        raise click.BadParameter("--public-url: one name has one scheme: a cookie for https does not go by http")
