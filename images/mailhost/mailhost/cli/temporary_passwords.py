"""`mailhost mailbox temporary`: a second password for a time, to prove what a login gets without its owner's."""

from __future__ import annotations

import csv
import datetime
import io
import os
from pathlib import Path

import click

from mailhost.accounts import names
from mailhost.accounts.change.transaction import Transaction
from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.layout import layout
from mailhost.accounts.operations import temporary
from mailhost.accounts.sources.read_back import addresses
from mailhost.cli.common import dry_run_option, guarded, hands, home_state, json_option
from mailhost.cli.output import print_json, print_table
from mailhost.cli.paths import PathName
from mailhost.cli.terminal import say
from mailhost.cli.verbs.passwords import generated, hashed
from mailhost.poppasswd import crypt as hashing
from mailhost.poppasswd.temporary import make
from mailhost.system.durable import sync_directory


@click.command("temporary")
@click.argument("address", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="Every mailbox with a login that is enabled.")
@click.option("--for", "lasts", metavar="TIME", help="How long: 90m, 2h, at most 24h.")
@click.option("--to", "file", metavar="FILE.csv", type=PathName(path_type=Path), help="Write login,password there.")
@click.option("--end", is_flag=True, help="Take them back now.")
@dry_run_option
@json_option
@click.pass_obj
@guarded
def temporary_(
    home: Path,
    address: tuple[str, ...],
    lasts: str | None,
    file: Path | None,
    *,
    everyone: bool,
    end: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Give logins a second password for a time, which ends by itself; their own password goes on working.

    Without --for and --end it lists those that count now. The POP3 server and checkpoppasswd take them, until then,
    after a restart too; other programs that read users/poppasswd do not. A host that a file governs allows it, and
    `apply` does not end it. `mailbox disable` does.

    \b
    Example:
      mailhost mailbox temporary joe@domain.com --for 2h
      mailhost mailbox temporary --all --for 4h --to /root/proof.csv
      mailhost mailbox temporary --all --end
    """
    if (end and lasts) or (everyone and address) or (file and not lasts):
        raise click.UsageError("give --for TIME (and --to FILE) or --end, and addresses or --all")
    if (end or lasts) and not (address or everyone):
        raise click.UsageError("which? Give addresses, or --all")
    lasts_s = temporary.seconds(lasts) if lasts else 0
    chosen = _logins(home, address, everyone=everyone) if lasts or address else []
    if dry_run:
        for _, name, _ in chosen:
            say(f"would {'end a temporary password' if end else f'give a password for {lasts}'}: {name}")
    elif lasts:
        _give(home, chosen, lasts_s, file)
    elif end:
        with Transaction(hands(home, None)):  # another change would clear away what is being written
            ended = temporary.end(layout(home), None if everyone else {login for login, _, _ in chosen})
        say(f"ended {len(ended)} temporary password{'' if len(ended) == 1 else 's'}")
    else:
        _show(home, as_json=as_json)


Chosen = list[tuple[bytes, str, str]]


def _logins(home: Path, given: tuple[str, ...], *, everyone: bool) -> Chosen:
    """Logins, their addresses and the hashes of their own passwords.

    Raises:
        InputError: an address is no mailbox, or its login is locked.
    """
    boxes = {f"{local}@{domain}": box for domain, local, box in addresses(home_state(home))}
    found = []
    for address in boxes if everyone else dict.fromkeys("@".join(names.address(one)) for one in given):
        box = boxes.get(address)
        usable = box is not None and box.login and hashing.scheme_of((box.crypt or "").encode("latin-1")) is not None
        if box is not None and box.login and usable:
            found.append((box.login.encode("latin-1"), address, box.crypt or ""))
        elif not everyone:
            raise InputError("is no mailbox with a login that is enabled", field=address)
    return found


def _give(home: Path, logins: Chosen, lasts_s: int, file: Path | None) -> None:
    """Make them, write --to, and only then let them count: a file that cannot be written leaves nothing open.

    Raises:
        BusyError: a login was taken away, or given to another box, while they were made: nothing is given then.
    """
    made = [(login, address, generated()) for login, address, _ in logins]
    hashes = [hashed(password.encode(), hashing.DEFAULT).encode() for _, _, password in made]
    with Transaction(hands(home, None)):  # until they count no other change is made
        if not set(logins) <= set(_logins(home, (), everyone=True)):
            raise BusyError("the mailboxes were changed while the passwords were made; none was given, run it again")
        entries = [make(login, crypt, lasts_s) for (login, _, _), crypt in zip(made, hashes, strict=True)]
        if file is not None:
            _write(file, [(login.decode("latin-1"), password) for login, _, password in made])
        temporary.put(layout(home), entries)
    until = _time(max((entry.until for entry in entries), default=0))
    for _, address, password in made if file is None else ():
        click.echo(f"{address}: password until {until}: {password}")
    if file is not None:
        say(f"{len(made)} temporary passwords, until {until}, are in {file}")


def _write(file: Path, rows: list[tuple[str, str]]) -> None:
    """A new file that only its owner reads.

    Raises:
        BusyError: it is there already, or cannot be written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("login", "password"), *rows])
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text.getvalue())
            out.flush()
            os.fsync(out.fileno())
        sync_directory(file.absolute().parent)
    except OSError as why:
        raise BusyError(f"{file}: cannot be written: {why.strerror}") from why


def _show(home: Path, *, as_json: bool) -> None:
    found = [(entry.login.decode("latin-1"), _time(entry.until)) for entry in temporary.current(layout(home))]
    if as_json:
        print_json([{"login": login, "until": until} for login, until in found])
    else:
        print_table(("login", "until"), found)


def _time(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
