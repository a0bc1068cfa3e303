"""How every command prints: control characters of a peer's text never reach the terminal."""

from __future__ import annotations

import click

from popbox.printable import plain


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print to standard output, or with ``err`` to standard error; ``nl`` ends the line."""
    click.echo(plain(text), err=err, nl=nl)
