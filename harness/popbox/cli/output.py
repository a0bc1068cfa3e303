"""How every command prints: no control character of a peer reaches the terminal; text for machines stays as it is."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from popbox.printable import plain


class _Folder(click.Path):
    """A directory to write into. An empty name is none: it is what is left of a variable that is not set."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("its name is empty", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = _Folder(path_type=Path, file_okay=False)


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print to standard output, or with ``err`` to standard error; ``nl`` ends the line.

    Raises:
        OSError: the output cannot be written. That a remark cannot be changes nothing, least of all the exit code.
    """
    with suppress(OSError) if err else nullcontext():
        click.echo(plain(text), err=err, nl=nl)


def write(file: str, text: str) -> None:
    """Write a machine's text to a file, ``-`` for standard output.

    Raises:
        OSError: the file cannot be written.
    """
    if file == "-":
        click.echo(text, nl=False)
    else:
        Path(file).write_text(text, encoding="utf-8")
