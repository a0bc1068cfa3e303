"""`mailhost mailbox import`: many mailboxes from a CSV file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from mailhost.accounts.change.edit import Edit
from mailhost.accounts.errors import InputError
from mailhost.accounts.operations import domains, mailboxes
from mailhost.accounts.operations.logins import UNMADE
from mailhost.accounts.sources import csv_import
from mailhost.accounts.sources.csv_import import Line
from mailhost.cli import generated_passwords
from mailhost.cli.common import dry_run_option, guarded, newu_option
from mailhost.cli.paths import PathName
from mailhost.cli.progress import change_many, progress
from mailhost.cli.verbs.passwords import generated
from mailhost.poppasswd import crypt as hashing

SHOWN_ERRORS = 20
HANDOUT = ("address", "login", "password")


@click.command("import")
@click.argument("file", type=PathName(path_type=Path))
@click.option("--add-domains", is_flag=True, help="Declare domains that are not declared yet.")
@click.option(
    "--generate",
    metavar="FILE",
    type=PathName(path_type=Path),
    help="Make up the passwords that are not given, and write address,login,password to this new file.",
)
@click.option("--scheme", type=click.Choice(list(hashing.SCHEMES)), default=hashing.DEFAULT, show_default=True)
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def import_(
    home: Path, file: Path, generate: Path | None, scheme: str, newu: str | None, *, add_domains: bool, dry_run: bool
) -> None:
    """Declare the mailboxes of a CSV file: all of them, or, where one cannot be, none.

    Columns, by the header: address, and any of login, name, password, crypt, extensions. A row that says what the host
    has already changes nothing, so a run that was interrupted is repeated with the same words.

    \b
    Example:
      mailhost mailbox import customers.csv --add-domains --generate passwords.csv
    """
    lines = csv_import.read(file)
    bare = _without_password(lines, file, generate is not None)
    known = {} if generate is None else generated_passwords.known(generate, HANDOUT)
    made_up = {line.line: _password(line, known) for line in bare if not dry_run or line.wanted.address in known}
    lines = [_completed(line, known, made_up.get(line.line)) for line in lines]
    with progress("hashing", sum(line.password is not None for line in lines)) as bar:
        crypts = csv_import.hash_all(lines, scheme, bar) if not dry_run else {}
    with change_many(home, newu, table="[domains]", dry_run=dry_run) as edit:
        hashes = {line.line: crypts.get(line.line, line.wanted.crypt) or UNMADE for line in lines}
        logins = _add_all(edit, lines, file, hashes, add_domains=add_domains)
        if generate is not None and not dry_run:
            made = [line for line in lines if line.line in made_up]
            rows = [(line.wanted.address, logins[line.line], made_up[line.line].decode()) for line in made]
            generated_passwords.write(generate, HANDOUT, rows)


def _password(line: Line, known: dict[str, list[str]]) -> bytes:
    """A password made up: by an earlier run that wrote it down, or now."""
    row = known.get(line.wanted.address)
    return (row[2] if row else generated()).encode()


def _completed(line: Line, known: dict[str, list[str]], made_up: bytes | None) -> Line:
    """The row with its made-up password, and the login that was written down beside it."""
    if made_up is None:
        return line
    row = known.get(line.wanted.address)
    wanted = dataclasses.replace(line.wanted, login=line.wanted.login or (row[1] if row else None))
    return dataclasses.replace(line, wanted=wanted, password=made_up)


def _without_password(lines: list[Line], file: Path, generate: bool) -> list[Line]:
    """The rows for which a password is to be made up."""
    bare = [line for line in lines if line.password is None and not line.wanted.crypt]
    if bare and not generate:
        rule = "has neither password nor crypt; --generate makes one up"
        raise InputError.of([InputError(rule, file=str(file), line=line.line) for line in bare], SHOWN_ERRORS)
    return bare


def _add_all(edit: Edit, lines: list[Line], file: Path, hashes: dict[int, str], *, add_domains: bool) -> dict[int, str]:
    """Declare every row, with the hash of its line; all refusals together, the first of them in full.

    Returns the login of each line.
    """
    logins: dict[int, str] = {}
    refused: list[str] = []
    for line in lines:
        try:
            if add_domains and line.wanted.domain not in edit.prefixes:
                domains.add(edit, line.wanted.domain)
            there = mailboxes.login_of(edit, line.wanted, line.password)
            wanted = dataclasses.replace(line.wanted, crypt=hashes[line.line])
            logins[line.line] = there or mailboxes.add(edit, wanted)
        except InputError as why:
            refused.append(f"line {line.line}: {why}")
    if refused:
        more = f"\n  and {len(refused) - SHOWN_ERRORS} more" if len(refused) > SHOWN_ERRORS else ""
        rule = f"{len(refused)} of {len(lines)} rows refused, nothing written:\n  "
        raise InputError(rule + "\n  ".join(refused[:SHOWN_ERRORS]) + more, file=str(file))
    return logins
