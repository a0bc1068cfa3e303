"""Mailboxes from a CSV file: one row a mailbox, a header that names the columns.

Columns: ``address``, and any of ``login``, ``name``, ``password``, ``crypt``, ``extensions`` (yes or no). Every row is
checked before anything is written, and the error names them all.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mailhost.accounts import names
from mailhost.accounts.errors import InputError
from mailhost.accounts.operations.logins import check_crypt
from mailhost.accounts.operations.mailboxes import MailboxRequest
from mailhost.accounts.sources.tables import MOST_SHOWN
from mailhost.poppasswd import crypt as hashing
from mailhost.system.reading import read_given

COLUMNS = ("address", "login", "name", "password", "crypt", "extensions")
_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": False}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the file: its line, the mailbox it wants, and a password still to be hashed."""

    line: int
    wanted: MailboxRequest
    password: bytes | None


def read(path: Path) -> list[Line]:
    """All rows of a file.

    Raises:
        InputError: the file cannot be read, the header or rows are not as they must be: names each of them.
    """
    try:
        text = read_given(path).decode("utf-8-sig")
    except OSError as why:
        raise InputError(f"cannot be read: {why.strerror}", file=str(path)) from why
    except UnicodeDecodeError as why:
        raise InputError(f"is not UTF-8 at octet {why.start}", file=str(path)) from why
    refused: list[InputError] = []
    lines = list(_lines(csv.reader(io.StringIO(text, newline=""), strict=True), str(path), refused))
    if refused:
        raise InputError.of(refused, MOST_SHOWN)
    return lines


def _lines(reader: Iterator[list[str]], file: str, refused: list[InputError]) -> Iterator[Line]:
    """The rows; one that is not as it must be goes to ``refused``.

    Raises:
        InputError: there is no header, or not the right one.
    """
    header: list[str] | None = None
    number = 1
    try:
        for row in reader:
            start, number = number, reader.line_num + 1  # type: ignore[attr-defined]
            if header is None:
                header = _header(row, file)
            elif row:
                try:
                    yield _line(header, row, file, start)
                except InputError as why:
                    refused.append(why)
    except csv.Error as why:
        refused.append(InputError(f"is not CSV: {why}", file=file, line=number))
        return
    if header is None:
        raise InputError("is empty; it starts with a header such as address,login,password", file=file)


def _header(row: list[str], file: str) -> list[str]:
    columns = [name.strip().lower() for name in row]
    for name in columns:
        if name not in COLUMNS:
            raise InputError(f"unknown column {name!r}; known: {', '.join(COLUMNS)}", file=file, line=1)
    if "address" not in columns or len(set(columns)) < len(columns):
        raise InputError("the header names address, and no column twice", file=file, line=1)
    return columns


def _line(header: list[str], row: list[str], file: str, number: int) -> Line:
    if len(row) != len(header):
        raise InputError(f"has {len(row)} columns, the header {len(header)}", file=file, line=number)
    cells = dict(zip(header, row, strict=True))
    password, crypt = cells.get("password", ""), cells.get("crypt", "").strip()
    flag = cells.get("extensions", "").strip().lower()
    if flag not in _FLAGS:
        raise InputError("is yes or no", file=file, line=number, field="extensions")
    if password and crypt:
        raise InputError("give a password or a crypt, not both", file=file, line=number)
    try:
        local, domain = names.address(cells["address"].strip())
        login = names.login(cells["login"].strip()) if cells.get("login", "").strip() else None
        if crypt:
            check_crypt(crypt)
    except InputError as why:
        raise InputError(why.rule, file=file, line=number, field=why.field) from why
    wanted = MailboxRequest(local, domain, crypt, login, extensions=_FLAGS[flag], name=cells.get("name", "").strip())
    return Line(number, wanted, password.encode() if password else None)


def hash_all(lines: list[Line], scheme: str, progress: Callable[[int], None]) -> dict[int, str]:
    """Line -> hash of its password, on all cores: crypt(3) runs outside Python's lock."""
    todo = [line for line in lines if line.password is not None]

    def one(line: Line) -> str:
        return hashing.make(line.password or b"", scheme)

    made: dict[int, str] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, (line, crypt) in enumerate(zip(todo, pool.map(one, todo), strict=True), start=1):
            made[line.line] = crypt
            progress(done)
    return made
