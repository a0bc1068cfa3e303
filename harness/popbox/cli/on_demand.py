"""Commands by name, each imported when it is first looked at: no other command of popbox pays for it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping

import click


class OnDemand(MutableMapping[str, click.Command]):
    """For ``click.Group(commands=...)``: from a table of names to ``module:attribute`` in ``popbox.cli``."""

    def __init__(self, places: Mapping[str, str]) -> None:
        """Loads nothing."""
        self._places, self._loaded = places, dict[str, click.Command]()

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            module, _, attribute = self._places[name].partition(":")
            self._loaded[name] = getattr(importlib.import_module(f"popbox.cli.{module}"), attribute)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._places, **self._loaded})

    def __len__(self) -> int:
        return len({**self._places, **self._loaded})
