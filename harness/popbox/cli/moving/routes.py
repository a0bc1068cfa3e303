"""``popbox migrate routes``: exit code 0 no address changed, 1 some did, 2 unusable input, 3 mailhost does not run."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import click

from popbox.cli.moving.audit import environ_of, read
from popbox.cli.options import address
from popbox.cli.output import NAME, OUTPUT, PathName, echo, write
from popbox.migrate.oldhost.dialects.detect import READERS, detect
from popbox.migrate.routes.addresses import gather
from popbox.migrate.routes.boxes import Boxes
from popbox.migrate.routes.proof import Sample, prove
from popbox.migrate.routes.qmaillocal import ask, passed, program_in
from popbox.migrate.routes.report import as_json, as_text
from popbox.migrate.routes.side import Owners, Side, open_side
from popbox.migrate.routes.work import Work

SAME, DIFFERENT = 0, 1
DIRECTORY = PathName(path_type=Path, file_okay=False, exists=True)
FILE = PathName(path_type=Path, dir_okay=False)


@click.command()
@click.pass_context
@click.option("--old", "old_tree", metavar="TREE", type=DIRECTORY, required=True, help="The old host, or a copy of it.")
@click.option("--new", "new_tree", metavar="TREE", type=DIRECTORY, required=True, help="The new one.")
@click.option("--addresses", metavar="FILE", type=FILE, help="More addresses, one a line.")
@click.option("--log", "logs", metavar="F", type=FILE, multiple=True, help="A log of the old qmail-send; repeatable.")
@click.option("--json", "json_file", type=OUTPUT, metavar="F", help="All of it; - for standard output.")
@click.option("--all", "everything", is_flag=True, help="Show every difference, not only the first 50.")
@click.option("--dialect", type=click.Choice(list(READERS)), help="Of the old host; without it the files decide.")
@click.option("--old-as", type=NAME, metavar="PATH", help="What TREE is on the old host: /, /var/qmail, ...")
@click.option("--new-as", type=NAME, metavar="PATH", help="The same for the new one.")
@click.option(
    "--old-qmail-home", type=NAME, metavar="PATH", help="Where qmail is on the old host. [default: /var/qmail]"
)
@click.option("--new-qmail-home", type=NAME, metavar="PATH", help="The same for the new one.")
@click.option("--old-passwd", metavar="FILE", type=FILE, help="The old host's passwd, if TREE has no etc/passwd.")
@click.option("--new-passwd", metavar="FILE", type=FILE, help="The same for the new one.")
@click.option("--old-default-delivery", metavar="TEXT", help="What its qmail-start was given for a box without .qmail.")
@click.option(
    "--sample", "count", type=click.IntRange(1, 100_000), metavar="N", help="Try N addresses on the new host."
)
@click.option("--seed", type=click.IntRange(0), help="With --sample: draw as an earlier run did, which said its seed.")
@click.option("--new-smtp", type=NAME, metavar="HOST:PORT", help="With --sample: where the new host takes mail.")
@click.option("--qmail-local", "programs", metavar="DIR", type=DIRECTORY, help="With --sample: ask its qmail-local -n.")
@click.option("--within", "within_s", type=click.FloatRange(1, 3600), default=30.0, show_default=True, help="Seconds.")
def routes(
    ctx: click.Context,
    /,
    old_tree: Path,
    new_tree: Path,
    addresses: Path | None,
    logs: tuple[Path, ...],
    json_file: str | None,
    everything: bool,
    dialect: str | None,
    count: int | None,
    seed: int | None,
    new_smtp: str | None,
    programs: Path | None,
    within_s: float,
    **options: str | Path | None,
) -> int:
    """Say for every address what it does on the old and on the new host, where that is not the same.

    Both are only read. An address is the same when both hosts take it and bring it to the same mailboxes (those that
    the same logins open), other hosts' addresses, programs and refusals. With --sample some are tried: with --new-smtp
    mail is sent to them on the new host, looked for in its Maildirs and removed; with --qmail-local (/var/qmail/bin)
    the real qmail-local says what it would do, on the sides whose files are this machine's.

    \b
    Example:
      popbox migrate routes --old /mnt/oldhost --new / --log /mnt/oldhost/var/log/qmail/current
    """
    draw = _draw(count, seed, new_smtp, programs)
    differ = (options[f"old_{name}"] != options[f"new_{name}"] for name in ("as", "qmail_home", "passwd"))
    if draw is None and old_tree.resolve() == new_tree.resolve() and not any(differ):
        raise click.UsageError("--old and --new are one host, on which each address is always the same")
    sample = Sample(*draw, address(new_smtp), within_s) if draw and new_smtp else None
    program = program_in(programs) if draw and programs else None
    began = time.monotonic()
    sides = [_side(ctx, name, tree, options) for name, tree in (("old", old_tree), ("new", new_tree))]
    boxes = Boxes(sides[0], sides[1], dialect)
    found = dialect or read(lambda: detect(sides[0].tree, sides[0].home))
    beside = read(lambda: boxes.host(0)) if found in ("vpopmail", "system") else None
    asked = gather(sides[0], sides[1], beside, addresses, logs)
    outcome = Work(sides[0], sides[1], boxes).run(asked)
    seconds = time.monotonic() - began
    proved = prove(sides[1], asked, sample) if sample else None
    both = zip(("old", "new"), sides, strict=True)
    dry = [ask(which, side, asked, program, *draw) for which, side in both] if draw and program else []
    if json_file is not None:
        told = proved.as_json() if proved else None
        local = [one.as_json() for one in dry] or None
        write(json_file, as_json(outcome, (str(old_tree), str(new_tree)), seconds, told, local))
    if json_file != "-":
        for line in as_text(outcome, seconds, everything=everything):
            echo(line)
        for line in (*(proved.as_text() if proved else ()), *(line for one in dry for line in one.as_text())):
            echo(line)
    wrong = (proved and not proved.ok) or (dry and not passed(dry))
    return DIFFERENT if wrong or outcome.count("changed") or outcome.count("not judged") else SAME


def _draw(count: int | None, seed: int | None, smtp: str | None, programs: Path | None) -> tuple[int, int] | None:
    """How many addresses of which seed; None without a sample."""
    if count is None and seed is None and smtp is None and programs is None:
        return None
    if count is None or (smtp is None and programs is None):
        raise click.UsageError(
            "--sample N and --new-smtp HOST:PORT or --qmail-local DIR belong together; --seed is theirs"
        )
    return count, secrets.randbelow(1 << 32) if seed is None else seed


def _side(ctx: click.Context, name: str, tree: Path, options: dict[str, str | Path | None]) -> Side:
    passwd, default = options[f"{name}_passwd"], options.get(f"{name}_default_delivery")
    stands_for, home = options[f"{name}_as"], options[f"{name}_qmail_home"]
    owners: Owners = "auto" if name == "old" else "strict"
    return open_side(
        tree,
        None if stands_for is None else str(stands_for),
        None if home is None else str(home),
        environ_of(ctx),
        passwd=Path(passwd) if passwd else None,
        owners=owners,
        default=None if default is None else str(default),
    )
