"""What the declaring verbs share: errors to exit codes, the transaction around a change, how changes are printed."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from mailhost.accounts import governed
from mailhost.accounts.change.edit import Change, Edit, editing
from mailhost.accounts.change.journal import HostEffects
from mailhost.accounts.errors import AccountsError, BusyError, HostError
from mailhost.accounts.files.durable import mark
from mailhost.accounts.layout import layout
from mailhost.accounts.model import Accounts
from mailhost.accounts.operations import temporary
from mailhost.accounts.sources import read_back
from mailhost.cli.terminal import about, say

P = ParamSpec("P")
R = TypeVar("R")

dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
newu_option = click.option(
    "--newu",
    metavar="PROGRAM",
    help="Make users/cdb with this program (qmail's own is bin/qmail-newu) instead of by ourselves.",
)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """End with the exit code of an error of ours, its text on stderr; what the system refuses is temporary."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except AccountsError as why:
            say(f"mailhost: {why}", err=True)
            raise SystemExit(why.exit_code) from why
        except BrokenPipeError:
            raise  # click's own: the reader of our stdout has gone
        except OSError as why:
            say(f"mailhost: {about(why)}", err=True)
            raise SystemExit(BusyError.exit_code) from why

    return run


def hands(home: Path, newu: str | None, progress: Callable[[int], None] = lambda made: None) -> HostEffects:
    """The layout of the home, and who makes users/cdb."""
    if newu is not None:
        return HostEffects(layout(home), functools.partial(_run_newu, newu), progress, note)
    from mailhost.qmail.assign import newu as ours

    return HostEffects(layout(home), ours, progress, note)


def _run_newu(program: str, home: Path) -> None:
    """Run another qmail-newu; it knows its home from when it was compiled, so see that it meant ours."""
    before = mark(home / "users" / "cdb")
    try:
        done = subprocess.run([program], cwd=home, capture_output=True, check=False)
    except OSError as why:
        raise HostError(f"--newu {program}: {why.strerror}") from why
    if done.returncode:
        text = done.stderr.decode("utf-8", "replace").strip()
        raise HostError(f"--newu {program}: exit {done.returncode}: {text}")
    if mark(home / "users" / "cdb") in (None, before):
        raise HostError(f"--newu {program}: exit 0, but {home / 'users' / 'cdb'} is as before: is it for another home?")


@contextmanager
def change(hands: HostEffects, *, table: str | None, dry_run: bool, quiet: bool = False) -> Iterator[Edit]:
    """Put a change together and make it; with ``dry_run`` only say what it would be. Says each thing on stdout.

    ``table`` is where an accounts.toml would say this: on a host that such a file governs the change is refused. None
    where the caller has seen that the file does not say it.
    """
    if table is not None:
        governed.refuse(hands.layout, table)
    with editing(hands) as edit:
        yield edit
        if not dry_run:
            temporary.end_with(edit)
            edit.stage()
            edit.transaction.commit()
    if not quiet:
        for done in edit.changes:
            say(sentence(done, dry_run=dry_run))
        if not edit.changes:
            say("nothing to change")


def home_state(home: Path, *, only: str | None = None, private: bool = True) -> Accounts:
    """The accounts of the host, or of one domain; what is there besides is remarked on stderr."""
    accounts, foreign = read_back.read(layout(home), only=only, private=private)
    for thing in foreign:
        note(str(thing))
    return accounts


_PAST = {"add": "added", "remove": "removed", "change": "changed"}


def sentence(change: Change, *, dry_run: bool) -> str:
    """One change for a person."""
    verb = f"would {change.action}" if dry_run else _PAST[change.action]
    return f"{verb} {change.kind} {change.name}" + (f": {change.detail}" if change.detail else "")


def counted(number: int, thing: str, things: str = "") -> str:
    """``1 error``, ``2 errors``; ``things`` where the plural is not made with an s."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def note(text: str) -> None:
    """A remark, on stderr: stdout is for results."""
    say(f"mailhost: {text}", err=True)
