"""``popbox migrate``: the group. Each verb is in a module of its own."""

from __future__ import annotations

import click

from popbox.cli.migrate_audit import audit
from popbox.cli.migrate_export import export
from popbox.cli.migrate_import import import_
from popbox.cli.migrate_plan import plan
from popbox.cli.migrate_routes import routes
from popbox.cli.migrate_verify import verify
from popbox.cli.moving.verify_merge import merge


@click.group()
def migrate() -> None:
    """Move a POP3 host: audit the old one, import it, verify mail and routes, plan the day."""


verify.add_command(merge)
for command in (audit, import_, plan, routes, verify, export):
    migrate.add_command(command)
