"""`mailhost nodes`: which nodes share popboxes, and what waits on each."""

from __future__ import annotations

import time
from pathlib import Path

import click

from mailhost.accounts import nodes as store
from mailhost.accounts.layout import layout
from mailhost.cli.common import counted, guarded, json_option
from mailhost.cli.output import print_json, print_table
from mailhost.cli.terminal import say


@click.group()
def nodes() -> None:
    """The nodes of one mail host, each with a qmail of its own, that share popboxes."""


@nodes.command("list")
@json_option
@click.pass_obj
@guarded
def show_all(home: Path, *, as_json: bool) -> None:
    """List the nodes, when each was last seen, and how much of what others know waits there.

    \b
    Example:
      mailhost nodes list --json
    """
    known = store.known(layout(home))
    announced = [record.announces for _, record, _ in known]
    rows = [
        (name, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seen)), len(store.waiting(record.serves, announced)))
        for name, record, seen in known
    ]
    if as_json:
        print_json([dict(zip(("node", "seen", "waiting"), row, strict=True)) for row in rows])
    else:
        print_table(("node", "seen", "waiting"), [(name, seen, counted(count, "line")) for name, seen, count in rows])


@nodes.command("forget")
@click.argument("name")
@click.pass_obj
@guarded
def forget(home: Path, name: str) -> None:
    """Take away a node that will not come back, so that nothing waits for it; one that runs comes back by itself.

    \b
    Example:
      mailhost nodes forget mx2
    """
    store.forget(layout(home), name)
    say(f"forgot node {name}")
