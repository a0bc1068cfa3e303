"""``mailhost serve``: the daemons."""

from __future__ import annotations

import click

from mailhost.cli import LazyGroup


@click.group(
    cls=LazyGroup, verbs={"pop3": "mailhost.cli.verbs.serve_pop3", "standin": "mailhost.cli.verbs.serve_standin"}
)
def serve() -> None:
    """Run a daemon in the foreground; it prints ``listening NAME ADDR:PORT`` on stdout when it accepts."""
