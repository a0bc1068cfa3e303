"""``popbox migrate``: from one POP3 host to another. A command's modules are loaded when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping

import click

MODULES = {
    "audit": "migrate_audit",
    "export": "migrate_export",
    "import": "migrate_import",
    "plan": "migrate_plan",
    "routes": "migrate_routes",
    "verify": "moving.verify_merge",  # which adds `merge` to it
}


class _OnDemand(MutableMapping[str, click.Command]):
    """The commands by name, each imported at its first look: no other command of popbox pays for them."""

    def __init__(self) -> None:
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            module = importlib.import_module(f"popbox.cli.{MODULES[name]}")
            self._loaded[name] = getattr(module, "import_" if name == "import" else name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**MODULES, **self._loaded})

    def __len__(self) -> int:
        return len({**MODULES, **self._loaded})


@click.group(commands=_OnDemand())
def migrate() -> None:
    """Move a POP3 host: audit the old one, import it, verify mail and routes, plan the day."""
