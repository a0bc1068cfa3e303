"""Changes of users/poppasswd: rows are found by binary search or one scan, and written by copying what stays.

Among a million rows one change costs a copy of the file inside the kernel, and no parsing. New rows go where the order
of logins wants them; a file that a person keeps in another order gets them at its end and stays in that order.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

from mailhost.accounts.errors import InputError
from mailhost.accounts.files.durable import Mark, copy_range, mark_to_read
from mailhost.poppasswd import file as poppasswd
from mailhost.poppasswd.crypt import scheme_of
from mailhost.poppasswd.file import Row
from mailhost.system.durable import write_all
from mailhost.system.reading import OWN_OCTETS

_SORT_CHECK_OCTETS = 32 << 20
"""A file up to this size without a fitting stamp is read once to see whether it is in order after all."""
_SCANS = 4
"""So many questions for a home get a scan each, which costs 80 ms among a million rows; an index costs 1 s."""


def _opens(row: Row | None) -> bytes | None:
    """The home that a login opens; None where it is locked or none."""
    return row.home if row is not None and scheme_of(row.crypt) is not None else None


@dataclass(slots=True)
class PoppasswdEdit:
    """The file as it is, open for reading, and the changes it will get."""

    path: Path
    shown: str
    descriptor: int = -1
    ordered: bool = True
    mark: Mark | None = None
    """The mark of the file before anything of it was read; None where there was none."""
    edits: dict[bytes, Row | None] = field(default_factory=dict)
    _places: dict[bytes, tuple[int, bool]] = field(default_factory=dict)
    _index: dict[bytes, int] | None = None
    _homes: dict[bytes, list[int]] | None = None
    _asked: int = 0

    def __enter__(self) -> PoppasswdEdit:
        try:
            self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return self
        self.mark = mark_to_read(lambda: os.fstat(self.descriptor))
        if self.octets > OWN_OCTETS:
            os.close(self.descriptor)
            self.descriptor = -1
            raise InputError(f"is larger than {OWN_OCTETS} octets, and not read", file=self.shown)
        stamped = poppasswd.stamp_of(self.descriptor) == poppasswd.read_stamp(str(self.path))
        self.ordered = stamped or self._is_ordered()
        return self

    def __exit__(self, *error: object) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    @property
    def octets(self) -> int:
        """The size of the file as it is."""
        return os.fstat(self.descriptor).st_size if self.descriptor >= 0 else 0

    def _is_ordered(self) -> bool:
        """Every line a row, logins strictly rising, the last line ended."""
        if self.octets > _SORT_CHECK_OCTETS:
            return False
        logins = [line.partition(b":")[0] for line in self._text().split(b"\n")]
        if logins.pop() != b"" or b"" in logins:
            return False
        return all(a < b for a, b in itertools.pairwise(logins)) and not any(login.startswith(b"#") for login in logins)

    def get(self, login: bytes) -> Row | None:
        """The row of a login, with the changes so far.

        Raises:
            InputError: the line is not a row.
        """
        if login in self.edits:
            return self.edits[login]
        found = self._offset(login)
        return None if found is None else self._row_at(found)

    def of_home(self, home: bytes) -> list[Row]:
        """The rows whose home is this directory: by a scan of the file, from the `_SCANS`th question on by an index."""
        self._asked += 1
        if self._asked > _SCANS and self._homes is None:
            self._homes = self._index_homes()
        starts = self._scan(home) if self._homes is None else self._homes.get(home, [])
        edited = [row for row in self.edits.values() if row is not None and row.home == home]
        return [row for row in map(self._row_at, starts) if row.login not in self.edits] + edited

    def _scan(self, home: bytes) -> list[int]:
        """Where the lines of this home start; without parsing a line that is not one of them."""
        if self.descriptor < 0:
            return []
        colons = poppasswd.search(self.descriptor, b":" + home + b"\n")
        return [poppasswd.line_start(self.descriptor, 0, colon) for colon in colons]

    def _index_homes(self) -> dict[bytes, list[int]]:
        """Home -> where its lines start, of the whole file."""
        homes: dict[bytes, list[int]] = {}
        start = 0
        for line in self._text().split(b"\n"):
            if poppasswd.is_row(line):
                homes.setdefault(line.rpartition(b":")[2], []).append(start)
            start += len(line) + 1
        return homes

    def _text(self) -> bytes:
        return os.pread(self.descriptor, self.octets, 0) if self.descriptor >= 0 else b""

    def set(self, row: Row) -> None:
        """Add a row or replace the one of its login."""
        self.edits[row.login] = row

    def drop(self, login: bytes) -> None:
        """Take a row out."""
        self.edits[login] = None

    def reassigned(self) -> list[bytes]:
        """Logins that come, go, are locked, or open another home than before."""
        return [login for login, row in self.edits.items() if _opens(row) is None or _opens(row) != self._opened(login)]

    def _opened(self, login: bytes) -> bytes | None:
        start = self._offset(login)
        return _opens(None if start is None else self._row_at(start))

    def fill(self, target: int) -> None:
        """Write the changed file: the ranges between changed lines are copied as they are."""
        done = 0
        for start, _, end, line in sorted(self._patches()):
            if start > done:
                copy_range(self.descriptor, target, done, start)
            write_all(target, line)
            done = max(done, end)
        if done < self.octets:
            copy_range(self.descriptor, target, done, self.octets)

    def _patches(self) -> list[tuple[int, bytes, int, bytes]]:
        """(start, login, end, new text) for each change; what goes in at one place sorts by login."""
        patches = []
        for login, row in self.edits.items():
            line = b"" if row is None else b":".join(row.fields()) + b"\n"
            start = self._offset(login)
            if start is not None:
                end = start + len(poppasswd.line_at(self.descriptor, start)) + 1
                patches.append((start, login, end, line))
            elif line:
                at, text = self._insertion(login, line)
                patches.append((at, login, at, text))
        return patches

    def _insertion(self, login: bytes, line: bytes) -> tuple[int, bytes]:
        """Where a new line goes, and its text; a file whose last line is not ended gets the newline it lacks."""
        if self.descriptor < 0:
            return 0, line
        if self.ordered:
            return self._place(login)[0], line
        last = os.pread(self.descriptor, 1, max(0, self.octets - 1))
        return self.octets, line if last in (b"", b"\n") else b"\n" + line

    def _offset(self, login: bytes) -> int | None:
        """Where the login's line starts in the file as it is."""
        if self.descriptor < 0:
            return None
        if self.ordered:
            at, there = self._place(login)
            return at if there else None
        if self._index is None:
            self._index = poppasswd.index(self.descriptor)
        return self._index.get(login)

    def _place(self, login: bytes) -> tuple[int, bool]:
        """Where a login's line starts in an ordered file, or would start, and whether it is there; looked for once."""
        found = self._places.get(login)
        if found is None:
            at = poppasswd.seek_sorted(self.descriptor, login)
            there = poppasswd.line_at(self.descriptor, at).startswith(login + b":")
            found = self._places[login] = at, there
        return found

    def _row_at(self, start: int) -> Row:
        line = poppasswd.line_at(self.descriptor, start)
        try:
            return poppasswd.row(line, 0, self.shown)
        except poppasswd.PoppasswdError as why:
            number = 1 + os.pread(self.descriptor, start, 0).count(b"\n")
            raise InputError(why.rule, file=self.shown, line=number, field=why.field) from why
