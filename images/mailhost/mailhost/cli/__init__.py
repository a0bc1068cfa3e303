"""``mailhost``: the one command of the mail host. Verbs live in the modules beside this one.

Exit codes: 0 done, 1 something is wrong with the host (lint, a failed check), 2 unusable input,
111 the host could not do it now (a lock, a full disk, a missing directory).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from typing import Any

import click

from mailhost import __version__
from mailhost.cli.paths import PathName

DEFAULT_HOME = "/var/qmail"
NOT_NOW = 111

# verb -> module that defines a click command of that name; loaded only when the verb is used or help is asked for.
VERBS: dict[str, str] = {
    "accounts": "mailhost.cli.verbs.mailboxes",
    "apply": "mailhost.cli.verbs.declare",
    "catchall": "mailhost.cli.verbs.mailboxes",
    "commands": "mailhost.cli.verbs.programs",
    "alias": "mailhost.cli.verbs.mailboxes",
    "domain": "mailhost.cli.verbs.domains",
    "explain": "mailhost.cli.verbs.explain",
    "export": "mailhost.cli.verbs.declare",
    "find": "mailhost.cli.verbs.programs",
    "follow": "mailhost.cli.verbs.follow",
    "forward": "mailhost.cli.verbs.mailboxes",
    "governed": "mailhost.cli.verbs.follow",
    "init": "mailhost.cli.verbs.domains",
    "lint": "mailhost.cli.verbs.declare",
    "mailbox": "mailhost.cli.verbs.mailboxes",
    "mkpasswd": "mailhost.cli.verbs.passwords",
    "newmrh": "mailhost.cli.verbs.domains",
    "newu": "mailhost.cli.verbs.domains",
    "nodes": "mailhost.cli.verbs.nodes",
    "plan": "mailhost.cli.verbs.declare",
    "queue": "mailhost.cli.verbs.queue",
    "rebuild": "mailhost.cli.verbs.domains",
    "removed": "mailhost.cli.verbs.removed",
    "schema": "mailhost.cli.verbs.declare",
    "serve": "mailhost.cli.verbs.serve",
}


class LazyGroup(click.Group):
    """A click group that imports a verb's module only when that verb is needed: start-up stays short."""

    def __init__(self, *args: object, verbs: dict[str, str], **kwargs: object) -> None:
        """``verbs`` maps a verb to the module that defines a command of that name (``-`` becomes ``_``)."""
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._verbs = verbs

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run it; that what it prints cannot be written, as on a full disk, is one line for whatever verb."""
        _open_closed()
        _make_usable()
        try:
            return super().main(*args, **kwargs)
        except OSError as why:
            from mailhost.cli.terminal import about, say

            with contextlib.suppress(OSError):
                say(f"mailhost: {about(why)}", err=True)
            sys.exit(NOT_NOW)
        finally:
            _drop_unwritten()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, sorted, without importing one."""
        return sorted({*super().list_commands(ctx), *self._verbs})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now, or None."""
        module = self._verbs.get(cmd_name)
        if module is None:
            return super().get_command(ctx, cmd_name)
        command = getattr(importlib.import_module(module), cmd_name.replace("-", "_"))
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{cmd_name} is not a click command")
        return command


def _open_closed() -> None:
    """Open descriptors that were closed at the start, as by ``>&-``: no file of ours, nor a child's, may take one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


class _Output(FileIO):
    """Standard output, named by its errors, as a file is."""

    def write(self, data: Any, /) -> int:
        """See FileIO."""
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


def _make_usable() -> None:
    """Folders that we make are open to us whatever the umask, and what a terminal's encoding lacks is escaped."""
    os.umask(os.umask(0o077) & 0o077)
    out = sys.stdout
    if isinstance(out, TextIOWrapper) and out is sys.__stdout__:
        errors = out.errors if out.encoding.lower() == "utf-8" else "backslashreplace"  # which is stderr's
        by_line = out.line_buffering or out.write_through
        raw = BufferedWriter(_Output(out.fileno(), "w", closefd=False))
        sys.stdout = TextIOWrapper(raw, out.encoding, errors, line_buffering=by_line)


def _drop_unwritten() -> None:
    """Let go of what cannot be written: Python would say so again at its end, and end with a code of its own (120)."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, number)
                os.close(nothing)


@click.group(cls=LazyGroup, verbs=VERBS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    type=PathName(path_type=Path, file_okay=False),
    envvar="MAILHOST_HOME",
    default=DEFAULT_HOME,
    show_default=True,
    help="The qmail home: control/, users/, popboxes/, queue/ lie below it.",
)
@click.version_option(__version__, message="mailhost, version %(version)s (popbox)")
@click.pass_context
def main(ctx: click.Context, home: Path) -> None:
    """Declare domains and mailboxes, ask how mail is routed, and serve POP3 on a single-uid mail host."""
    # `..` would be written into users/ and hold only as long as the directory before it; a link keeps its name
    try:
        ctx.obj = home.resolve() if ".." in home.parts else home.absolute()
    except FileNotFoundError:
        raise click.BadParameter(
            f"{home} is relative, and the current directory is gone", param_hint="--home"
        ) from None
