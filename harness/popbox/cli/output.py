"""How every command prints: no control character of a peer reaches the terminal; text for machines stays as it is."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from popbox.errors import UnusableError
from popbox.printable import plain


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


class _Name(click.types.StringParamType):
    """What names something: an address, a host, a source, or a file where ``-`` is the standard stream."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "" or any(ord(character) < 32 or ord(character) == 127 for character in value):
            self.fail("it is empty" if value == "" else f"{value!r} has a control character", param, ctx)
        return super().convert(value, param, ctx)


class _Output(_Name):
    """A file to write, ``-`` for standard output; one that cannot be is known before the work of hours begins."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As ``_Name``.

        Raises:
            click.BadParameter: it cannot be written, or ``_Name`` refuses it.
        """
        name = super().convert(value, param, ctx)
        if name != "-" and (why := _unwritable(Path(name))):
            self.fail(f"{name}: cannot be written: {why}", param, ctx)
        return name


def _unwritable(path: Path) -> str:
    """Why there can be no such file, as far as a look can tell; empty where there can."""
    try:
        if path.is_dir():
            return os.strerror(errno.EISDIR)
        if not stat.S_ISDIR(path.parent.stat().st_mode):
            return os.strerror(errno.ENOTDIR)
        there = path if path.exists() else path.parent
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(there, os.W_OK) else os.strerror(errno.EACCES)


FOLDER, NAME, OUTPUT = PathName(path_type=Path, file_okay=False), _Name(), _Output()


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
        UnusableError: the file cannot be written.
        OSError: standard output cannot be.
    """
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnusableError(f"{file}: cannot be written: {error.strerror}") from error
