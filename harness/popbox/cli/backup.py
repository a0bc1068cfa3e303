"""``popbox backup`` and ``popbox restore``: the click commands."""

from __future__ import annotations

import os
from pathlib import Path

import click

from popbox.cli.options import on
from popbox.cli.output import PathName, echo
from popbox.operate import backup as work
from popbox.operate.target import target
from popbox.printable import counted
from popbox.settings import Settings

SHOWN = 20


@click.command()
@click.argument("file", type=PathName(path_type=Path, dir_okay=False))
@on
@click.pass_obj
def backup(settings: Settings, file: Path, name: str | None) -> int:
    """Write accounts, control files, mail and queue of a running host into FILE (.tar, .tar.gz).

    The services stand still for a moment, while the mail is linked aside; clients wait, nothing is refused or lost.
    """
    if os.path.lexists(file):  # a link that leads nowhere, too: the archive would take its place
        raise click.BadParameter(f"{file} is there already; nothing is overwritten")
    if not file.parent.is_dir():
        raise click.BadParameter(f"{file}: {file.parent} is no folder that is there")
    saved = work.backup(target(settings, name), file)
    for remark in saved.remarks[:SHOWN]:
        echo(remark, err=True)
    if len(saved.remarks) > SHOWN:
        echo(f"... and {len(saved.remarks) - SHOWN} more", err=True)
    echo(
        f"{file}: {counted(saved.messages, 'message')}, {saved.octets} octets; "
        f"the services stood still for {saved.frozen_s:.2f} s"
    )
    return 0


@click.command()
@click.argument("file", type=PathName(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--back", is_flag=True, help="Take back what a killed restore did: the host is as before.")
@on
@click.pass_obj
def restore(settings: Settings, file: Path | None, back: bool, name: str | None) -> int:
    """Make an empty host what FILE, an archive of `popbox backup`, holds: the same mail under the same UIDLs.

    Exit codes: 0 done, 1 FILE cannot be used, 3 the host is not empty or does not answer. Where it is not 0, the host
    is as it was.
    """
    if back == (file is not None):
        raise click.UsageError("name a FILE, or say --back")
    host = target(settings, name)
    if file is None:
        work.take_back(host)
        echo(f"{host.describe()} is what it was")
        return 0
    manifest = work.restore(host, file)
    echo(f"{host.describe()} is what it was on {manifest['made']}: {counted(manifest['messages'], 'message')}")
    return 0
