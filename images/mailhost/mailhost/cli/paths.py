"""Paths on the command line."""

from __future__ import annotations

import os
from typing import Any

import click


class PathName(click.Path):
    """A path. An empty one is none: it is left of a variable that is not set, and would be the current folder."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click does.

        Raises:
            click.BadParameter: it is empty, or click refuses it.
        """
        if value == "":
            self.fail("its name is empty", param, ctx)
        return super().convert(value, param, ctx)
