"""Where a password comes from: never from argv; and `mailhost mkpasswd`, the HOWTO's mkpasswd.pl."""

from __future__ import annotations

import functools
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mailhost.accounts.errors import InputError
from mailhost.accounts.operations.logins import UNMADE
from mailhost.cli.common import guarded, note
from mailhost.cli.paths import PathName
from mailhost.poppasswd import crypt as hashing
from mailhost.system.reading import read_given

PASSWORD_OCTETS = 255
"""The longest password taken. checkpassword reads login, password and banner in 512 octets together (Q-CPW-1)."""
WAYS = ("--password-stdin", "--password-file", "--crypt", "--generate")
# Letters and digits that look like no other: 20 of 54 are 115 bits.
_ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_GENERATED_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Secret:
    """A hash for users/poppasswd, and the password itself only where we made it up and must show it once."""

    crypt: str
    shown: str | None = None


def password_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The ways to give a password; without one of them it is asked for. The command gets ``secret``, a callable."""

    @click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
    @click.option("--password-file", type=PathName(path_type=Path), help="Read the password from a file, one line.")
    @click.option("--crypt", metavar="HASH", help="Take a hash made by crypt(3), for instance the HOWTO's.")
    @click.option("--generate", is_flag=True, help="Make a password up and show it once.")
    @click.option("--scheme", type=click.Choice(list(hashing.SCHEMES)), default=hashing.DEFAULT, show_default=True)
    @functools.wraps(command)
    def run(
        *args: Any,
        password_stdin: bool,
        password_file: Path | None,
        crypt: str | None,
        generate: bool,
        scheme: str,
        **kwargs: Any,
    ) -> Any:
        given = [password_stdin, password_file is not None, crypt is not None, generate]
        if sum(given) > 1:
            raise click.UsageError(f"give one of {', '.join(WAYS)}")

        def secret() -> Secret:
            if crypt is not None:
                return Secret(crypt)
            if generate and kwargs.get("dry_run"):
                return Secret(UNMADE)  # shown, it would be taken for the password of the run that follows
            if generate:
                made = generated()
                return Secret(hashed(made.encode(), scheme), made)
            return Secret(hashed(read_password(stdin=password_stdin, file=password_file), scheme))

        return command(*args, secret=secret, **kwargs)

    return run


def read_password(*, stdin: bool, file: Path | None, ways: Sequence[str] = WAYS) -> bytes:
    """A password from stdin, from a file, or else asked for twice on the terminal; ``ways`` are the verb's options.

    Raises:
        InputError: no terminal to ask on, the file cannot be read, or the password cannot be used for POP3.
    """
    if stdin:
        return _checked(_one_line(sys.stdin.buffer.read(4096), "standard input"))
    if file is not None:
        try:
            return _checked(_one_line(read_given(file, 4096), str(file)))
        except OSError as why:
            raise InputError(f"cannot be read: {why.strerror}", file=str(file), field="--password-file") from why
    if not sys.stdin.isatty():
        raise InputError(f"no terminal to ask on: give {', '.join(ways[:-1])} or {ways[-1]}")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return _checked(typed.encode())


def _one_line(text: bytes, source: str) -> bytes:
    """The one line of a text, without its line end."""
    line, newline, rest = text.partition(b"\n")
    if rest.strip(b"\r\n") or (newline and rest):
        raise InputError("holds more than one line", file=source, field="password")
    return line.removesuffix(b"\r")


def _checked(password: bytes) -> bytes:
    """What can be sent after PASS: leading spaces are lost there (Q-POPUP-6), a line end and a NUL end it."""
    if not password:
        raise InputError("is empty", field="password")
    if len(password) > PASSWORD_OCTETS:
        raise InputError(f"is longer than {PASSWORD_OCTETS} octets (Q-CPW-1)", field="password")
    if password.startswith(b" ") or set(password) & {0, 10, 13}:
        raise InputError("starts with a space, or holds a NUL or a line end: PASS cannot send that", field="password")
    return password


def hashed(password: bytes, scheme: str) -> str:
    """The hash of a password; a remark where the scheme is a weak one.

    Raises:
        InputError: this system's crypt(3) cannot make it.
    """
    if scheme == "des" and len(password) > 8:
        note("DES looks at the first 8 octets of a password only (Q-CPW-7)")
    try:
        return hashing.make(password, scheme)
    except hashing.HashError as why:
        raise InputError(str(why), field="--scheme") from why


def generated() -> str:
    """A fresh password of 115 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_GENERATED_DIGITS))


@click.command()
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
@click.option("--password-file", type=PathName(path_type=Path), help="Read the password from a file, one line.")
@click.option("--scheme", type=click.Choice(list(hashing.SCHEMES)), default=hashing.DEFAULT, show_default=True)
@guarded
def mkpasswd(password_stdin: bool, password_file: Path | None, scheme: str) -> None:
    """Print the crypt(3) hash of a password, for users/poppasswd or accounts.toml.

    \b
    Example:
      mailhost mkpasswd                                     asks for it
      printf %s testpw | mailhost mkpasswd --password-stdin --scheme des
    """
    click.echo(hashed(read_password(stdin=password_stdin, file=password_file, ways=WAYS[:2]), scheme))
