"""``popbox migrate``: the group. Each verb has its own file."""

from __future__ import annotations

import click

from popbox.migrate.audit_command import audit


@click.group()
def migrate() -> None:
    """Move an old mail host here: look at it, copy it, compare the two, and cut over."""


for verb in (audit,):
    migrate.add_command(verb)
