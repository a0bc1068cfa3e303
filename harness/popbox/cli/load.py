"""``popbox load``: users on a mail host, faults while they work, and the verdict on every message."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from popbox.cli.options import address, read_remote, remote_options
from popbox.cli.output import FOLDER, NAME, PathName, echo
from popbox.errors import HostError, UnusableError
from popbox.hosts.base import Host, closing
from popbox.hosts.choose import choose, start
from popbox.hosts.remote import RemoteHost
from popbox.scenario.load import table_of, text_of
from popbox.settings import Settings

if TYPE_CHECKING:
    from popbox.load.books.outcome import Outcome

NEEDED = ("duckdb", "locust")  # the extra `load` brings them
MISSING = "popbox load needs Locust and DuckDB: pip install 'popbox[load]'"
budgets = click.option("--budget", "budgets", multiple=True, metavar="LIMIT", help="Such as accept_p99=250ms; repeat.")


class _FileOrVerb(click.Group):
    """``popbox load FILE`` runs a file; ``popbox load judge DIR`` is a verb of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The hidden verb ``run`` stands before what is none; who writes it is understood, too."""
        verb = args[0] if args else "--help"
        return super().parse_args(ctx, args if verb in ("judge", "run", "-h", "--help") else ["run", *args])


@click.group(cls=_FileOrVerb, context_settings={"help_option_names": ["-h", "--help"]})
def load() -> None:
    """Put load on a mail host, break it while it works, and say what became of every message that it accepted.

    \b
    popbox load FILE.toml [OPTIONS]   run a file; `popbox load run --help` has the options
    popbox load judge DIR             judge a run again by its journals

    Exit codes: 0 every budget was kept, 1 one was not, 2 unusable input, 3 host unavailable or not judged.
    """
    if not all(find_spec(one) for one in NEEDED):
        raise UnusableError(MISSING)


@load.command(hidden=True)
@click.argument("file", type=PathName(path_type=Path, dir_okay=False))
@click.option("--users", type=click.IntRange(1, 100_000), help="Instead of the file's.")
@click.option("--spawn-rate", type=click.FloatRange(0, min_open=True), help="Users that begin in a second.")
@click.option("--for", "lasts", metavar="TIME", help="How long, such as 30m, instead of the file's.")
@click.option("--seed", type=int, help="Of schedules and random faults, instead of the file's.")
@click.option("--processes", type=click.IntRange(1, 1_000), default=1, show_default=True, help="Locust workers.")
@click.option("--master", type=NAME, metavar="ADDR:PORT", help="Wait there for --processes workers of other machines.")
@click.option("--worker", type=NAME, metavar="HOST:PORT", help="Be a worker of that master; FILE is its spec.json.")
@click.option(
    "--accounts",
    type=PathName(path_type=Path, dir_okay=False),
    metavar="F.csv",
    help="Mailboxes that are there (address,login,password); the first sends. Else the run makes its own.",
)
@click.option(
    "--web", type=NAME, metavar="ADDR:PORT", help="Show Locust's own page there; it has no login, so on loopback."
)
@click.option("--report", type=FOLDER, metavar="DIR", help="Keep the journals, load.json and the report there.")
@click.option("--host", type=click.Choice(["auto", "local", "docker", "remote"]), default="auto", show_default=True)
@click.option("--mta", type=click.Choice(["auto", "qmail", "standin"]), default="auto", show_default=True)
@remote_options
@budgets
@click.pass_obj
def run(settings: Settings, /, file: Path, **given: Any) -> int:
    """Run a load file.

    \b
    popbox load scenarios/load/smoke.toml --report out
    popbox load soak.toml --processes 4 --budget accept_p99=250ms --budget fairness>=0.9
    """
    from popbox.load.plan.read import from_table
    from popbox.load.report.live import screen
    from popbox.load.stage.accounts import given as read_given
    from popbox.load.stage.run import Wish, never_began, ready
    from popbox.load.stage.run import run as run_load

    if given["worker"]:
        return _work(settings, file, given["worker"], given["report"])
    text = text_of(file)
    table = table_of(text, file)
    changes = {"users": given["users"], "spawn-rate": given["spawn_rate"], "for": given["lasts"], "seed": given["seed"]}
    table |= {key: value for key, value in changes.items() if value is not None}
    plan = from_table(table, str(file), text)
    listen = address(given["master"]) if given["master"] else None
    boxes = read_given(given["accounts"]) if given["accounts"] else ()
    wish = Wish(given["processes"], given["budgets"], listen, boxes, _loopback(given["web"]))
    with _folder(given["report"]) as folder:
        ready(plan, folder, wish)  # before a host is brought up for nothing
        begun = False
        try:
            with _host(settings, given, own_disk=plan.breaks_disks) as host:
                begun = True
                echo(f"{host.describe()}")
                with screen(echo, plan.lasts) as shown:
                    outcome = run_load(host, table, folder, wish, settings.environ, shown, _write)
                _show(outcome)
        except KeyboardInterrupt:
            if begun or not given["report"]:
                raise
            outcome = never_began(table, folder, wish, (given["host"], given["mta"]), _write)
            _show(outcome)
        if not given["report"] and outcome.exit_code:
            kept = Path(tempfile.mkdtemp(prefix="popbox-load-"))
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            echo(f"the journals: {kept}")
    return outcome.exit_code


@load.command()
@click.argument("folder", type=PathName(path_type=Path, file_okay=False, exists=True))
@budgets
def judge(folder: Path, budgets: tuple[str, ...]) -> int:
    """Judge a run again by its journals: after those of other machines were copied to DIR, or with other budgets."""
    from popbox.load.books.outcome import outcome
    from popbox.load.plan.spec import SPEC, Spec
    from popbox.load.stage.run import limits_of

    limits = limits_of(Spec.read(folder / SPEC).plan, budgets)
    try:
        found = outcome(folder, limits)
        _write(found, folder)
    except OSError as error:
        raise HostError(f"{error.filename or folder}: {error.strerror or error}: not judged") from error
    _show(found)
    return found.exit_code


def _loopback(web: str | None) -> str:
    if web and not ip_address(address(web).host).is_loopback:
        raise click.UsageError("--web: Locust's page has no login, and it can stop the run: 127.0.0.1 is wanted")
    return web or ""


@contextlib.contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    if wanted:
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="popbox-load-") as folder:
        yield Path(folder) / "run"


@contextlib.contextmanager
def _host(settings: Settings, given: dict[str, Any], *, own_disk: bool) -> Iterator[Host]:
    """``own_disk``: small disks, which can be filled; a load that breaks none would fill them."""
    remote = read_remote({**given, "keep": False})
    made = RemoteHost(remote, settings.say) if remote else None
    with closing(made or start(choose(given["host"], given["mta"], settings), settings, own_disk=own_disk)) as host:
        yield host


def _work(settings: Settings, spec: Path, master: str, journals: Path | None) -> int:
    """Be a worker; the journal stands in ``journals`` or here, and belongs into the master's folder afterwards."""
    from popbox.load.books.journal import SUFFIX
    from popbox.load.stage.machines import work

    at = address(master)
    folder = (journals or Path()).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        work(spec, at, folder, settings.environ, echo)
    finally:
        if any(folder.glob(f"*{SUFFIX}")):
            echo(f"copy the journal in {folder} to the folder of the master, then: popbox load judge DIR")
    return 0


def _write(outcome: Outcome, folder: Path) -> None:
    """load.json and load.html."""
    from popbox.load.report.html import render

    (folder / "load.json").write_text(outcome.as_json(), "utf-8")
    (folder / "load.html").write_text(render(outcome, folder), "utf-8")


def _show(outcome: Outcome) -> None:
    """The verdict in words."""
    counts = {name: many for name, many in outcome.verdict.counts.items() if many}
    echo(f"{outcome.verdict.accepted} accepted: " + ", ".join(f"{many} {name}" for name, many in counts.items()))
    for case in outcome.verdict.cases[:20]:
        echo(f"  {case.verdict}: {case.token} for {case.box}, {case.at_s:.1f} s: {case.why}")
        for line in case.log[:5]:
            echo(f"    {line}")
    for one in outcome.budgets:
        echo(f"  {'kept' if one.kept else 'BROKEN'}: {one.budget}, measured {one.measured:.4g}")
    for why in outcome.not_judged:
        echo(f"not judged: {why}")
