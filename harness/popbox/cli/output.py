"""What every command prints, by one door: nothing that a peer has said reaches the terminal as it is."""

from __future__ import annotations

import click

from popbox.printable import plain


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print to standard output, or with ``err`` to standard error; ``nl`` ends the line."""
    click.echo(plain(text), err=err, nl=nl)
