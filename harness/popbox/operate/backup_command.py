"""``popbox backup`` and ``popbox restore``: the click commands."""

from __future__ import annotations

from pathlib import Path

import click

from popbox.operate import backup as work
from popbox.operate.commands import on
from popbox.operate.target import target
from popbox.plain import echo
from popbox.settings import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@on
@click.pass_obj
def backup(settings: Settings, file: Path, name: str | None) -> int:
    """Write accounts, control files, mail and queue of a running host into FILE (.tar, .tar.gz).

    The services stand still for a moment, while the mail is linked aside; clients wait, nothing is refused or lost.
    """
    if file.exists():
        raise click.BadParameter(f"{file} is there already; nothing is overwritten")
    saved = work.backup(target(settings, name), file)
    echo(
        f"{file}: {saved.messages} messages, {saved.octets} octets; the services stood still for {saved.frozen_s:.2f} s"
    )
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@on
@click.pass_obj
def restore(settings: Settings, file: Path, name: str | None) -> int:
    """Make an empty host what FILE, an archive of `popbox backup`, holds: the same mail under the same UIDLs.

    Exit codes: 0 done, 1 FILE cannot be used, 3 the host is not empty or does not answer.
    """
    host = target(settings, name)
    manifest = work.restore(host, file)
    echo(f"{host.describe()} is what it was on {manifest['made']}: {manifest['messages']} messages")
    return 0
