"""``popbox down``: removes hosts that were kept, and those that a killed popbox left; never one that is in use."""

from __future__ import annotations

import click

from popbox.cli.output import NAME, echo
from popbox.errors import HostError
from popbox.hosts.choose import attach, said_of
from popbox.hosts.state import Record, Registry
from popbox.operate import serving
from popbox.operate.target import targets
from popbox.settings import Settings

PASSED, UNAVAILABLE = 0, 3


@click.command()
@click.argument("names", type=NAME, metavar="[NAME]...", nargs=-1)
@click.pass_obj
def down(settings: Settings, names: tuple[str, ...]) -> int:
    """Remove hosts by NAME, as `popbox status` shows them; without a name, those that were kept or left behind.

    Left behind are those of a popbox that was killed. A host that a popbox or a test run still uses is never removed,
    and neither is a compose deployment, which is not popbox's.
    """
    registry = Registry(settings.state)
    going = [_named(settings, name) for name in names] if names else registry.removable()
    for record in going:
        echo(f"removing {said_of(record)}")
    failed = [record for record in going if not _removed(settings, registry, record)]
    if not going:
        echo("no host is up")
    return UNAVAILABLE if failed else PASSED


def _removed(settings: Settings, registry: Registry, record: Record) -> bool:
    try:
        served = serving.end(settings, record.id)
        attach(record, settings, registry).close()
    except HostError as error:
        echo(f"popbox: {record.id}: {error}", err=True)
        return False
    if served:
        echo(f"ended popbox serve on {served}")
    echo(f"removed host {record.host}, MTA {record.mta}: {record.place}")
    return True


def _named(settings: Settings, name: str) -> Record:
    """The record of a host that may be removed.

    Raises:
        HostError: there is none, it is in use, or it is not popbox's.
    """
    records = {one.id: one for one in Registry(settings.state).all()}
    found = records.get(name)
    if found is None and name in targets(settings):
        raise HostError(f"{name} is a compose deployment, which popbox did not make: `docker compose -p {name} down`")
    if found is None:
        there = ", ".join(records) or "none"
        raise HostError(f"no host has the name {name!r}; there is {there}")
    if not found.kept and found.owner.lives() and found.owner.seen_from_here():
        raise HostError(f"{said_of(found)}: end that process, which takes it away")
    return found
