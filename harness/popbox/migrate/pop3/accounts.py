"""Who is verified: logins and passwords from a CSV file, or from a directory with one file for each login."""

from __future__ import annotations

import csv
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path

from popbox.errors import UnusableError
from popbox.migrate.pop3.twice import Once
from popbox.reading import opened

LOGIN_OCTETS, PASSWORD_OCTETS = 1024, 4096  # our choice: far beyond what any server takes
MOST_SHOWN = 50  # our choice: of more rows that cannot be used only the number is told
MOST_OCTETS = 4 << 30  # our choice: a file of accounts is read a row at a time
SIDES = ("old", "new")
COLUMNS = ("login", "password", "old_login", "old_password", "new_login", "new_password")


@dataclass(frozen=True, slots=True)
class Account:
    """One box: its login on each side. Passwords are not shown by ``repr``."""

    old_login: str
    new_login: str
    old_password: str = field(repr=False)
    new_password: str = field(repr=False)


class Unusable(UnusableError):
    """The input cannot be used: names file, line, field and rule."""

    def __init__(self, where: Path | str, rule: str) -> None:
        """``where`` may end with a line number."""
        super().__init__(f"{where}: {rule}")

    @classmethod
    def of(cls, shown: Sequence[Unusable], more: int) -> Unusable:
        """One error for several of a file: a line for each that is shown, and how many ``more`` there are."""
        made = cls("", "")
        made.args = ("\n".join([*(str(one.args[0]) for one in shown), *([f"and {more:,} more"] if more else [])]),)
        return made


def load(path: Path, wanted: Callable[[str], bool] = lambda _: True) -> list[Account]:
    """Accounts in the order of the file, or of the names in the directory; those whose old login is ``wanted``.

    Raises:
        Unusable: a file or lines cannot be used, or a login stands twice, also among those that are not wanted here;
            names each line and its rule.
    """
    try:
        accounts, rows = _from_directory(path, wanted) if path.is_dir() else _from_csv(path, wanted)
    except OSError as error:
        raise Unusable(error.filename or path, f"cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unusable(path, f"cannot be read: {error}") from error
    if not rows:
        raise Unusable(path, "holds no account")
    return accounts


def open_to_others(path: Path) -> bool:
    """Whether other users of this machine may read the passwords."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _from_directory(path: Path, wanted: Callable[[str], bool]) -> tuple[list[Account], int]:
    accounts, rows = [], 0
    for file in sorted(path.iterdir()):
        if file.name.startswith("."):
            continue
        rows += 1
        if not wanted(file.name):
            continue
        if not file.is_file():
            raise Unusable(file, "is no file: each entry is named for a login and holds its password")
        with opened(file) as entry:
            password = entry.readline(PASSWORD_OCTETS + 2).decode().removesuffix("\n").removesuffix("\r")
        _usable(file, "file name", file.name, LOGIN_OCTETS)
        _usable(file, "password", password, PASSWORD_OCTETS)
        accounts.append(Account(file.name, file.name, password, password))
    return accounts, rows


def _from_csv(path: Path, wanted: Callable[[str], bool]) -> tuple[list[Account], int]:
    """The rows that are wanted, and how many there are; a row at a time, as files of millions have been met."""
    with TextIOWrapper(opened(path, MOST_OCTETS), encoding="utf-8-sig", newline="") as file:
        return _rows(path, file, wanted)


def _rows(path: Path, file: Iterable[str], wanted: Callable[[str], bool]) -> tuple[list[Account], int]:
    count, rows = 0, csv.reader(file, strict=True)
    header = [name.strip() for name in next(rows, [])]
    _check_header(path, header)
    accounts: list[Account] = []
    once, shown, more = Once(), list[Unusable](), 0
    for row in rows:
        if not row:
            continue
        where = f"{path}: line {rows.line_num}"
        count += 1
        try:
            account = _account(where, header, row)
        except Unusable as error:
            more += len(shown) == MOST_SHOWN
            shown += [error] if len(shown) < MOST_SHOWN else []
            continue
        for new, login in enumerate((account.old_login, account.new_login)):
            once.note((SIDES[new], login), 2 * rows.line_num + new)
        if wanted(account.old_login):
            accounts.append(account)
    if shown:
        raise Unusable.of(shown, more)
    if double := once.twice():
        (first, _), (line, new) = (divmod(place, 2) for place in double)
        raise Unusable(f"{path}: line {line}", f"the {SIDES[new]} login stands in line {first} already")
    return accounts, count


def _check_header(path: Path, header: list[str]) -> None:
    where = f"{path}: line 1"
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        raise Unusable(where, f"unknown column {unknown[0]!r}; known are {', '.join(COLUMNS)}")
    if len(set(header)) != len(header):
        raise Unusable(where, "a column stands twice")
    for what in ("login", "password"):
        if what not in header and not {f"old_{what}", f"new_{what}"} <= set(header):
            raise Unusable(where, f"needs the column {what}, or old_{what} and new_{what}")


def _account(where: str, header: list[str], row: list[str]) -> Account:
    """The fields of a row; ``login`` and ``password`` stand in for what a side does not have of its own."""
    if len(row) != len(header):
        raise Unusable(where, f"{len(row)} fields where the header has {len(header)}")
    value, found = dict(zip(header, row, strict=True)).get, []
    for what, most in (("login", LOGIN_OCTETS), ("password", PASSWORD_OCTETS)):
        for side in SIDES:
            text = value(f"{side}_{what}") or value(what) or ""
            _usable(where, f"{side} {what}", text, most)
            found.append(text)
    return Account(*found)


def _usable(where: Path | str, what: str, text: str, most: int) -> None:
    """A field goes into a command line of POP3: it must not be empty, nor hold what ends a line."""
    if not text:
        raise Unusable(where, f"the {what} is empty")
    if any(c in text for c in "\r\n\0"):
        raise Unusable(where, f"the {what} holds CR, LF or NUL")
    if len(text.encode()) > most:
        raise Unusable(where, f"the {what} has more than {most} octets")
