"""``popbox migrate``: the group. Each verb is in a module of its own."""

from __future__ import annotations

import click

from popbox.migrate.audit_command import audit
from popbox.migrate.import_command import import_
from popbox.migrate.plan_command import plan
from popbox.migrate.verify_command import verify


@click.group()
def migrate() -> None:
    """Move a POP3 host: audit the old one, import it, verify that nothing was lost, plan the day."""


for command in (audit, import_, plan, verify):
    migrate.add_command(command)
