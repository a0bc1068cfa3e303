"""``mailhost explain ADDRESS``: which files and lines decide about an address, and how it ends. No mail is sent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mailhost.accounts.layout import require
from mailhost.cli.common import guarded
from mailhost.cli.paths import PathName
from mailhost.cli.terminal import fit_to_paste, say, visible
from mailhost.qmail.dotqmail import Kind
from mailhost.qmail.hints import hints
from mailhost.qmail.hints.hint import shown
from mailhost.qmail.lookup import CDB_FILE, Assignment
from mailhost.qmail.route import Delivery, Outcome, Route, Step, route

DIRECTORY = PathName(path_type=Path, exists=True, file_okay=False)
FILE = PathName(path_type=Path, exists=True, dir_okay=False)
_LABELS = {
    "rcpthosts": "accepted",
    "envnoathost": "host added",
    "percenthack": "percent hack",
    "locals": "local",
    "virtualdomains": "virtual",
    "assign": "assigned",
    "dotqmail": "instructions",
}
_ENDS = {
    Outcome.DISCARDED: "Dropped: accepted, and nothing is kept.",
    Outcome.REFUSED: "Refused by qmail-smtpd, while the sender is connected",
    Outcome.BOUNCED: "Bounced to the sender",
    Outcome.DEFERRED: "Deferred, and tried again until queuelifetime ends",
}
_PROGRAMS = {"rcpthosts": "qmail-smtpd", "locals": "qmail-send", "assign": "qmail-lspawn"}


@click.command()
@click.argument("addresses", metavar="ADDRESS", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, as qmail/README.md describes it.")
@click.option(
    "--default-delivery",
    metavar="TEXT",
    help="What qmail-start was given for boxes without .qmail. [default: control/defaultdelivery, else ./Mailbox]",
)
@click.option("--by-modes", is_flag=True,
              help="Judge by owners, groups and modes: the home is mounted here, and used elsewhere.")  # fmt: skip
@click.option("--diff", "old", metavar="OLDHOME", type=DIRECTORY,
              help="Say which addresses (all that either home knows) this home would treat otherwise.")  # fmt: skip
@click.option("--batch", is_flag=True, help="Answer the addresses on stdin, each by a line of JSON, in short.")
@click.option("--steps", is_flag=True, help="With --batch: the files and lines that decided as well.")
@click.option("--known", "known", is_flag=True, help="List every address that the files know.")
@click.option("--root", metavar="DIR", type=DIRECTORY, help="The host's files lie below DIR, a copy of its root.")
@click.option("--as", "stands_for", metavar="PATH", default="/", help="What DIR is on the host, if not its root.")
@click.option("--passwd", metavar="FILE", type=FILE, help="The host's accounts, where its copy has no etc/passwd.")
@click.option("--owners", type=click.Choice(["auto", "strict", "ignore"]), default="auto", show_default=True,
              help="Do owners of files count? See qmail/README.md.")  # fmt: skip
@click.pass_context
@guarded
def explain(
    ctx: click.Context,
    /,
    addresses: tuple[str, ...],
    as_json: bool,
    default_delivery: str | None,
    by_modes: bool,
    old: Path | None,
    batch: bool,
    known: bool,
    **options: Any,
) -> None:
    """Say what would happen to mail for ADDRESS, decision by decision, and why. No mail is sent.

    Every row names the file and the line that decided. Exit code 0: the mail would be delivered; 1: refused, bounced,
    deferred, dropped or sent to another host; 111: a file could not be read.

    With --diff, what would change once qmail-newu and qmail-newmrh have run on this home; OLDHOME may be this home
    itself. Exit code 0: nothing, 1: something, or an address that cannot be judged.
    """
    home: Path = ctx.obj
    default = None if default_delivery is None else os.fsencode(default_delivery)
    if batch + known + (old is not None) > 1:
        raise click.UsageError("--batch, --known and --diff are three different questions")
    if by_modes and (batch or known or old is not None):
        raise click.UsageError("--by-modes is for one ADDRESS: the others always judge so")
    if batch or known or old is not None:
        ctx.exit(_many(home, old, default, [os.fsencode(one) for one in addresses], as_json, batch, options))
    if len(addresses) != 1 or options["root"] or options["passwd"] or options["steps"]:
        raise click.UsageError("give one ADDRESS; --root, --passwd and --steps are for --batch, --known and --diff")
    require(home)
    try:
        way = (_by_modes if by_modes else route)(home, os.fsencode(addresses[0]), default)
        text = json.dumps(_as_json(home, way), indent=2) if as_json else "\n".join(_as_text(home, way))
    except OSError as error:
        say(f"mailhost: {error.filename or home}: {error.strerror or error}", err=True)
        ctx.exit(111)
    click.echo(text)
    ctx.exit(0 if way.arrives else 1)


def _by_modes(home: Path, address: bytes, default: bytes | None) -> Route:
    from mailhost.cli import explain_many as many

    return many.one(home, address, default)


def _many(
    home: Path,
    old: Path | None,
    default: bytes | None,
    addresses: list[bytes],
    as_json: bool,
    batch: bool,
    options: dict[str, Any],
) -> int:
    """``--batch``, ``--known`` or ``--diff``; their modules are loaded for nothing else."""
    from mailhost.cli import explain_many as many

    root, passwd, owners = options["root"], options["passwd"], options["owners"]
    place = many.Place(home, root, options["stands_for"], passwd, owners, default)
    if old is not None:
        before = many.Place(old, owners=owners, default=default)
        return many.run(lambda: many.diff(before, place, addresses, as_json=as_json))
    if addresses:
        raise click.UsageError("--batch takes its addresses from stdin, and --known takes none")
    return many.run(lambda: many.batch(place, steps=options["steps"]) if batch else many.list_known(place))


def _plain(octets: bytes) -> str:
    """Bytes for a terminal: an address must not be able to move the cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown(octets))


def _where(step: Step) -> str:
    if step.file in ("alias", "passwd"):
        return {"alias": "the user alias", "passwd": f"account {_plain(step.key)}"}[step.file]
    return f"{step.file}:{step.line}" if step.line else step.file


def _as_text(home: Path, way: Route) -> Iterator[str]:
    yield click.style(_plain(way.address), bold=True)
    rows = list(_rows(way))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    for label, where, what in rows:
        yield f"  {label:{widths[0]}}  {where:{widths[1]}}  {what}".rstrip()
    yield click.style(_verdict(way), fg="green" if way.arrives else "red")
    for hint in hints(home, way):
        yield f"  hint: {_plain(fit_to_paste(hint.text).encode('utf-8', 'surrogateescape'))} [{hint.fact}]"
    for delivery in way.deliveries:
        if delivery.onward is not None:
            yield ""
            yield from _as_text(home, delivery.onward)


def _rows(way: Route) -> Iterator[tuple[str, str, str]]:
    """(label, file and line, what came of it) of every decision and every instruction."""
    for step in way.steps:
        yield _label(way, step), _where(step), _what(way, step)
    found = way.inspection.found if way.inspection is not None else None
    for delivery in way.deliveries:
        line = delivery.instruction
        name = "default" if found is None or found.name is None else f"{_plain(found.name)}:{line.line}"
        failed = "" if line.failure is None else f"  FAILS: {visible(line.failure.text)}"
        yield line.kind.value, name, f"{_plain(line.argument)}{failed}"


def _label(way: Route, step: Step) -> str:
    if step.stage == "rcpthosts" and way.stage == "rcpthosts":
        return "refused" if way.outcome is Outcome.REFUSED else "unreadable"
    if step.stage == "locals" and way.stage == "locals":
        return "unreadable"
    if step.stage == "virtualdomains" and way.outcome is Outcome.REMOTE:
        return "exception"
    return _LABELS[step.stage]


def _what(way: Route, step: Step) -> str:
    if step.stage == "assign" and way.assignment is not None:
        return _owner(way.assignment)
    if step.stage == "dotqmail":
        return f"there is no {_plain(step.result)}" if step.result else ""
    if step.stage == "rcpthosts" and not step.line:
        return _plain(step.key or step.result) or _every_domain(way)
    if not step.key:
        return _plain(step.result)
    return f"{_plain(step.key)} -> {_plain(step.result)}" if step.result else _plain(step.key)


def _owner(who: Assignment) -> str:
    entry = "not in users/cdb" if who.source != CDB_FILE else f"{'+' if who.wild else '='}{_plain(who.key)}"
    extension = f", dash {_plain(who.dash)!r}, ext {_plain(who.ext)!r}" if who.dash or who.ext else ""
    return f"{entry} -> {_plain(who.user)} {who.uid}:{who.gid} {_plain(who.home)}{extension}"


def _every_domain(way: Route) -> str:
    if way.outcome is Outcome.REFUSED:
        return "no line for it"
    return "not asked: no domain" if b"@" not in way.address else "absent: every domain is accepted"


def _verdict(way: Route) -> str:
    if way.outcome is Outcome.REMOTE:
        return f"Leaves this host: {_plain(way.rewritten or way.address)} is for qmail-remote."
    if way.outcome is Outcome.DELIVERED:
        lost = "" if way.arrives else "; a forwarded copy does not arrive"
        return f"Delivered: {', '.join(_target(way, delivery) for delivery in way.deliveries)}{lost}"
    text = "" if way.failure is None else f": {visible(way.failure.text)}"
    by = f" (said by {_PROGRAMS.get(way.stage, 'qmail-local')})" if way.outcome is not Outcome.REFUSED and text else ""
    return f"{_ENDS[way.outcome]}{text}{by}"


def _target(way: Route, delivery: Delivery) -> str:
    line = delivery.instruction
    if line.kind is Kind.PROGRAM:
        return f"program {_plain(line.argument)}"
    if line.kind is Kind.FORWARD:
        return f"forward to {_plain(line.argument)}"
    home = way.assignment.home if way.assignment is not None else b""
    return f"{line.kind.value} {_plain(os.path.join(home, line.argument.removeprefix(b'./')))}"  # noqa: PTH118 - bytes


def _as_json(home: Path, way: Route) -> dict[str, object]:
    """The stable form: keys are only ever added. Bytes are UTF-8, with ``\\xNN`` for what is not."""
    who = way.assignment
    return {
        "version": 1,
        "address": shown(way.address),
        "outcome": way.outcome.value,
        "arrives": way.arrives,
        "stage": way.stage,
        "failure": None if way.failure is None else {"permanent": way.failure.permanent, "text": way.failure.text},
        "rewritten": None if way.rewritten is None else shown(way.rewritten),
        "steps": [
            {
                "stage": step.stage,
                "file": step.file,
                "line": step.line or None,
                "key": shown(step.key),
                "result": shown(step.result),
            }
            for step in way.steps
        ],
        "assignment": who
        and {
            "source": who.source,
            "wild": who.wild,
            "key": shown(who.key),
            "user": shown(who.user),
            "uid": who.uid,
            "gid": who.gid,
            "home": shown(who.home),
            "dash": shown(who.dash),
            "ext": shown(who.ext),
        },
        "users_cdb": {
            "stale": way.stale_cdb.stale,
            "error": None if way.stale_cdb.error is None else str(way.stale_cdb.error),
            "line_when_rebuilt": way.stale_cdb.fresh_line or None,
        },
        "deliveries": [_delivery_json(home, delivery) for delivery in way.deliveries],
        "hints": [{"fact": hint.fact, "text": hint.text} for hint in hints(home, way)],
    }


def _delivery_json(home: Path, delivery: Delivery) -> dict[str, object]:
    line = delivery.instruction
    return {
        "kind": line.kind.value,
        "argument": shown(line.argument),
        "line": line.line,
        "failure": None if line.failure is None else line.failure.text,
        "onward": None if delivery.onward is None else _as_json(home, delivery.onward),
    }
