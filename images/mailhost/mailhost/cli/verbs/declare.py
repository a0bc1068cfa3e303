"""`mailhost apply`, `plan`, `export`, `schema`: the whole host from one file. `lint`: do its files fit together?"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mailhost.accounts import unattended
from mailhost.accounts.apply import NewPassword
from mailhost.accounts.apply import apply as apply_to
from mailhost.accounts.change.edit import Change, Edit, editing
from mailhost.accounts.errors import InputError
from mailhost.accounts.files import durable
from mailhost.accounts.layout import layout
from mailhost.accounts.model import Accounts
from mailhost.accounts.operations.logins import UNMADE
from mailhost.accounts.sources import accounts_toml, read_back
from mailhost.accounts.sources.accounts_schema import accounts_schema
from mailhost.accounts.sources.declaration import Declaration
from mailhost.cli import generated_passwords
from mailhost.cli.agreement import Guard, guard_of
from mailhost.cli.common import counted, guarded, hands, home_state, json_option, newu_option, note
from mailhost.cli.output import print_json, print_table
from mailhost.cli.paths import PathName
from mailhost.cli.progress import change_many
from mailhost.cli.verbs.lint import lint
from mailhost.cli.verbs.passwords import generated, hashed

__all__ = ["apply", "export", "lint", "plan", "schema"]

DEFAULT_FILE = Path("/etc/popbox/accounts/accounts.toml")
"""Where the images mount the operator's file."""
HANDOUT = ("address", "password")
FILE = click.argument("file", metavar="[FILE]", type=PathName(path_type=Path), default=DEFAULT_FILE)
keep_option = click.option(
    "--no-delete", is_flag=True, help="Keep domains, mailboxes and forwards that FILE does not name."
)


@contextmanager
def _edit(
    home: Path, file: Path, new: NewPassword | None, newu: str | None, guard: Guard, *, dry: bool, keep: bool
) -> Iterator[Edit]:
    source = Declaration(file, accounts_toml.octets_of(file))
    guard.read(source.octets)
    with _uncollected():
        wanted = source.accounts()
    with change_many(home, newu, table=None, dry_run=dry) as edit, _uncollected():
        now = _now(home)
        guard.planned(now, wanted, deletes=not keep)
        apply_to(edit, now, wanted, source, new, delete=not keep)
        yield edit
    if not dry and not keep:
        guard.applied(source.octets)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles, which looks at a large host over and over: a tenth more."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _now(home: Path) -> Accounts:
    accounts, foreign = read_back.read(layout(home))
    for thing in foreign:
        note(f"{thing}; kept")
    return accounts


@click.command()
@FILE
@click.option(
    "--generate",
    metavar="OUT",
    type=PathName(path_type=Path),
    help="Make up the passwords that are not given, and write address,password to this new file.",
)
@click.option("--yes", is_flag=True, help="Do not ask before taking anything away.")
@keep_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing; `plan` prints it as a table.")
@click.option(
    "--unattended",
    "still_s",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Unattended: FILE must have stood still for so long; remove a little at most. `follow` runs this.",
)
@click.option("--sha256", metavar="HEX", help="With --unattended: FILE must still be the text that stood still.")
@newu_option
@click.pass_obj
@guarded
def apply(
    home: Path,
    file: Path,
    generate: Path | None,
    newu: str | None,
    still_s: float | None,
    sha256: str | None,
    *,
    yes: bool,
    no_delete: bool,
    dry_run: bool,
) -> None:
    """Make the host what FILE says. What FILE does not name is taken away; its mail goes to popboxes/.removed.

    FILE is /etc/popbox/accounts/accounts.toml where none is given: the one that the images mount. On a host that a file
    governs no other one is applied; what waits there for a person is agreed to by this command.

    \b
    Example:
      mailhost plan accounts.toml
      mailhost apply accounts.toml
    """
    made_up: dict[str, str] = {}
    known = {} if generate is None else generated_passwords.known(generate, HANDOUT)

    def new(address: str) -> str:
        if dry_run:
            return UNMADE
        made_up[address] = known[address][1] if address in known else generated()
        return hashed(made_up[address].encode(), "sha512")

    guard = guard_of(layout(home), file, still_s, sha256)
    made = None if generate is None else new
    with _edit(home, file, made, newu, guard, dry=dry_run, keep=no_delete) as edit:
        gone = [change for change in edit.changes if change.action == "remove"]
        if gone and not yes and not dry_run and still_s is None:
            _ask(gone, file)
        if generate is not None and not dry_run:
            generated_passwords.write(generate, HANDOUT, made_up.items())


def _ask(gone: list[Change], file: Path) -> None:
    """Have a person agree to what goes; a script must say so beforehand.

    Raises:
        InputError: no terminal to ask on.
    """
    if not os.isatty(0):
        things = counted(len(gone), "thing")
        raise InputError(
            f"would take {things} away (`mailhost plan` lists them): give --yes, or --no-delete", file=str(file)
        )
    print_table(("", "what", "which", "how"), [(c.action, c.kind, c.name, c.detail) for c in gone])
    click.confirm("Take these away?", abort=True, err=True)


@click.command()
@FILE
@keep_option
@json_option
@click.pass_obj
@guarded
def plan(home: Path, file: Path, *, no_delete: bool, as_json: bool) -> None:
    """Print what `apply [FILE]` would do, as a table; change nothing.

    \b
    Example:
      mailhost plan accounts.toml
    """
    source = Declaration(file, accounts_toml.octets_of(file))
    with _uncollected():
        wanted = source.accounts()
    bare: list[str] = []

    def new(address: str) -> str:
        bare.append(address)
        return UNMADE

    with editing(hands(home, None)) as edit, _uncollected():
        apply_to(edit, _now(home), wanted, source, new, delete=not no_delete)
    changes = [(c.action, c.kind, c.name, c.detail) for c in edit.changes]
    if as_json:
        print_json([dict(zip(("action", "kind", "name", "detail"), row, strict=True)) for row in changes])
    elif changes:
        print_table(("", "what", "which", "how"), changes)
        click.echo(counted(len(changes), "change"))
    else:
        click.echo("nothing to change")
    if bare:
        which = f"{bare[0]} and {len(bare) - 1} more have" if len(bare) > 1 else f"{bare[0]} has"
        note(f"{which} no password in {file}: say crypt or password_file there, or give `apply` --generate")


@click.command()
@click.option("-o", "--output", type=PathName(path_type=Path), help="Write to this file (0600: it holds hashes).")
@click.pass_obj
@guarded
def export(home: Path, output: Path | None) -> None:
    """Print the host as accounts.toml: applied to an empty host it gives the same files.

    \b
    Example:
      mailhost export -o accounts.toml
    """
    text = f"{accounts_toml.render(home_state(home))}{unattended.END_MARK}\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        place = output.resolve()  # a link stays
        if place.exists() and not place.is_file():  # as root, a rename to /dev/null would remove that device
            raise InputError("is no regular file; without -o it goes to standard output", file=str(output))
        if not place.parent.is_dir():
            raise InputError("cannot be written: its folder is not there", file=str(output))
        durable.publish(durable.stage(place, text.encode(), 0o600), place)
    except OSError as why:
        raise InputError(f"cannot be written: {why.strerror}", file=str(output)) from why


@click.command()
@click.argument("what", type=click.Choice(["accounts"]), expose_value=False)
def schema() -> None:
    """Print the JSON Schema of accounts.toml, for your editor.

    \b
    Example:
      mailhost schema accounts > accounts.schema.json
    """
    print_json(accounts_schema())
