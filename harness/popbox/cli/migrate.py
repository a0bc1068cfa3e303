"""``popbox migrate``: from one POP3 host to another. A command's modules are loaded when it is asked for."""

from __future__ import annotations

import click

from popbox.cli.on_demand import OnDemand

PLACES = {
    "audit": "moving.audit:audit",
    "export": "moving.export:export",
    "import": "moving.imports:import_",
    "plan": "moving.plan:plan",
    "routes": "moving.routes:routes",
    "verify": "moving.verify_merge:verify",  # which adds `merge` to it
}


@click.group(commands=OnDemand(PLACES))
def migrate() -> None:
    """Move a POP3 host: audit the old one, import it, verify mail and routes, plan the day."""
