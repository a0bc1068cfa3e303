"""Options that are an age or a size: 30d, 12h; 500MiB, 2GiB."""

from __future__ import annotations

import re

import click

AGES = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class Amount(click.ParamType[int]):
    """A whole number with a unit, in seconds or octets."""

    def __init__(self, name: str, units: dict[str, int]) -> None:
        """``name`` is shown in the help; ``units`` are what one of each is."""
        self.name, self._units = name, units

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The amount; at least 1 of a unit."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,8})([A-Za-z]+)", str(value))
        if not found or found[2] not in self._units:
            self.fail(f"{value!r}: a number and one of {', '.join(self._units)} is wanted", param, ctx)
        return int(found[1]) * self._units[found[2]]


AGE, SIZE = Amount("AGE", AGES), Amount("SIZE", SIZES)
