"""Whether users/cdb is stale: the line of an assignment, and what qmail-newu would change. Source: H-2, H-20, H-21."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mailhost.qmail.assigntext import ASSIGN_FILE, NewuError, parse_line
from mailhost.qmail.cdb.reader import Cdb
from mailhost.qmail.lookup import CDB_FILE, Assignment, lookup, of_record
from mailhost.qmail.newu import make, open_bounded


@dataclass(frozen=True, slots=True)
class StaleCdb:
    """``line``: the users/assign line of the assignment in force, 0 when no line has it any more.

    ``stale``: the two files differ. ``fresh``, ``fresh_line``: who gets the local part when users/cdb is made again.
    ``error``: why it cannot be made. ``missing``: there is no users/assign to make it from.
    """

    line: int = 0
    stale: bool = False
    fresh: Assignment | None = None
    fresh_line: int = 0
    error: NewuError | None = None
    missing: bool = False


class Comparison:
    """users/assign of a home, read and made into a cdb at the first comparison."""

    def __init__(self, home: Path) -> None:
        """``home``: the qmail home; nothing is read yet."""
        self._home = home

    def of(self, local: bytes, current: Assignment | None) -> StaleCdb:
        """Compare for one local part; ``current``: what users/cdb gives now.

        Raises:
            OSError: a file exists and cannot be read.
        """
        if self._text is None:
            there = self._cdb is not None
            return StaleCdb(stale=there, missing=there)
        line = _line_of(self._text, local, current)
        if isinstance(self._new, NewuError):
            return StaleCdb(line, stale=True, error=self._new)
        fresh = lookup(Cdb(self._new), local)
        return StaleCdb(line, self._new != self._cdb, fresh, _line_of(self._text, local, fresh))

    @cached_property
    def _text(self) -> bytes | None:
        return _content(self._home / ASSIGN_FILE)

    @cached_property
    def _cdb(self) -> bytes | None:
        return _content(self._home / CDB_FILE)

    @cached_property
    def _new(self) -> bytes | NewuError:
        new = io.BytesIO()
        try:
            with open_bounded(self._home / ASSIGN_FILE) as assign:
                make(assign, new)
        except NewuError as error:
            return error
        return new.getvalue()


def _content(path: Path) -> bytes | None:
    try:
        with open_bounded(path) as file:
            return file.read()
    except FileNotFoundError:
        return None


def _line_of(text: bytes, local: bytes, wanted: Assignment | None) -> int:
    """The number of the first line, before the dot line, that gives ``wanted`` to ``local``; 0 without such a line."""
    if wanted is None:
        return 0
    kind, rest = (rb"\+", local[len(wanted.key) :]) if wanted.wild else (rb"[^+.\n]", b"")
    pattern = re.compile(rb"^(?:%s%s:[^\n]*|\.)" % (kind, re.escape(wanted.key)), re.MULTILINE | re.IGNORECASE)
    for match in pattern.finditer(text):
        if match.group() == b".":
            break
        number = text.count(b"\n", 0, match.start()) + 1
        with suppress(NewuError):
            if of_record(parse_line(match.group(), number).data, wanted.key, rest, wild=wanted.wild) == wanted:
                return number
    return 0
