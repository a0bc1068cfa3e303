"""`mailhost mailbox rehash`: a strong hash of the password that a login has, where its hash is a weak one."""

from __future__ import annotations

from pathlib import Path

import click

from mailhost.accounts import governed, names
from mailhost.accounts.operations import logins
from mailhost.cli.common import change, dry_run_option, guarded, hands
from mailhost.cli.paths import PathName
from mailhost.cli.verbs.passwords import WAYS, read_password


@click.command("rehash")
@click.argument("login")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
@click.option("--password-file", type=PathName(path_type=Path), help="Read the password from a file, one line.")
@dry_run_option
@click.pass_obj
@guarded
def rehash(home: Path, login: str, password_file: Path | None, *, password_stdin: bool, dry_run: bool) -> None:
    """Give a login with a weak hash a strong one of the same password, which must be the right one.

    `--upgrade-hashes-on-login` of `serve pop3` and of checkpoppasswd runs this.

    \b
    Example:
      printf %s testpw | mailhost mailbox rehash testid --password-stdin
    """
    password = read_password(stdin=password_stdin, file=password_file, ways=WAYS[:2])
    with change(hands(home, None), table=None, dry_run=dry_run) as edit:
        row = edit.rows.get(names.login(login).encode())
        if row is not None:
            governed.refuse_hash(edit.layout, row.crypt)
        logins.strengthen(edit, login, password)
