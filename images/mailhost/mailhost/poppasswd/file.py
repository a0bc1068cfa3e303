"""users/poppasswd: ``login:crypt:realuser:home``, one line a POP3 login, as the HOWTO has it (H-26).

What the HOWTO leaves open (Q-CPP-9) is decided here: logins are compared as octets, the first of two equal logins
counts, empty lines and lines starting with ``#`` are skipped, a line has exactly four fields, and a home is absolute.

Lookups do not read the whole file. The writers keep it sorted by login and record that in a small stamp beside it
(``poppasswd.sorted``: inode, mtime and size of the file it describes); then a lookup is a binary search with some 20
reads among a million rows. A file that a person has edited no longer fits its stamp: it is searched from its start.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing's own would cost 10 ms at every login
if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK_OCTETS = 1 << 20
_PROBE_OCTETS = 512


class PoppasswdError(ValueError):
    """A line of the file is not a row: which file, which line, which field, which rule."""

    def __init__(self, file: str, line: int, field: str, rule: str) -> None:
        """``field`` is one of login, crypt, realuser, home, or ``line`` for the line as a whole."""
        super().__init__(f"{file}: line {line}: {field}: {rule}")
        self.file, self.line, self.field, self.rule = file, line, field, rule


class Row:
    """One POP3 login. A plain class: dataclasses and typing would add 10 ms and more to every checkpoppasswd.

    ``line`` counts from 1, or is 0 where it was not counted (`find` does not read the lines before the one it wants).
    Two rows are equal when their four fields are; the hash stays out of ``repr``, and so out of logs.
    """

    __slots__ = ("crypt", "home", "line", "login", "realuser")

    def __init__(self, login: bytes, crypt: bytes, realuser: bytes, home: bytes, line: int = 0) -> None:
        """The four fields as octets, unchecked: `parse` and `find` check."""
        self.login, self.crypt, self.realuser, self.home, self.line = login, crypt, realuser, home, line

    def fields(self) -> tuple[bytes, bytes, bytes, bytes]:
        """The four fields in the order of the file."""
        return self.login, self.crypt, self.realuser, self.home

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash(self.fields())

    def __repr__(self) -> str:
        return f"Row(login={self.login!r}, crypt=..., realuser={self.realuser!r}, home={self.home!r}, line={self.line})"


def parse(text: bytes, file: str = "poppasswd") -> tuple[Row, ...]:
    """All rows of a file's text, in its order.

    Raises:
        PoppasswdError: at the first line that is neither a row, nor empty, nor a ``#`` line.
    """
    lines = enumerate(text.split(b"\n"), start=1)
    return tuple(row(line, number, file) for number, line in lines if is_row(line))


def is_row(line: bytes) -> bool:
    """False for the lines that are skipped: empty ones and ``#`` ones."""
    return bool(line) and not line.startswith(b"#")


def row(line: bytes, number: int, file: str) -> Row:
    """One line, without its newline, as a row; ``number`` is its line, 0 where not counted.

    Raises:
        PoppasswdError: it has not four fields, or one of them is invalid.
    """
    fields = line.split(b":")
    if len(fields) != 4:
        raise PoppasswdError(file, number, "line", f"login:crypt:realuser:home has four fields, this has {len(fields)}")
    login, crypt, realuser, home = fields
    if login and realuser and home.startswith(b"/") and b"\0" not in line and b"\r" not in line:
        return Row(login, crypt, realuser, home, number)  # nearly all: nothing to name
    for name, value in zip(("login", "crypt", "realuser", "home"), fields, strict=True):
        if not value and name != "crypt":
            raise PoppasswdError(file, number, name, "is empty")
        if b"\0" in value or value.endswith(b"\r"):
            raise PoppasswdError(file, number, name, "holds a NUL or ends in a carriage return")
    if not home.startswith(b"/"):
        raise PoppasswdError(file, number, "home", "is not absolute")
    return Row(login, crypt, realuser, home, number)


def find(path: str | os.PathLike[str], login: bytes) -> Row | None:
    """The row of one login, or None; for one look-up in one program run.

    Raises:
        OSError: the file cannot be read.
        PoppasswdError: the line that starts with this login is not a row.
    """
    if not login or login.startswith(b"#") or set(login) & set(b":\n\0"):
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        line = find_line(descriptor, os.fspath(path), login)
    finally:
        os.close(descriptor)
    return None if line is None else row(line, 0, os.fspath(path))


def find_line(descriptor: int, path: str, login: bytes) -> bytes | None:
    """The raw line of ``login`` in the open file: a binary search where the stamp confirms the order, or a scan."""
    if stamp_of(descriptor) == read_stamp(path):
        return _at(descriptor, seek_sorted(descriptor, login), login)
    return _scan(descriptor, login)


def stamp_of(descriptor: int) -> bytes:
    """What the stamp of this open file must say: inode, mtime in ns, size in octets."""
    status = os.fstat(descriptor)
    return b"%d %d %d\n" % (status.st_ino, status.st_mtime_ns, status.st_size)


def stamp_path(path: str) -> str:
    """Where the stamp of a password file lies."""
    return path + ".sorted"


def read_stamp(path: str) -> bytes | None:
    """The text of the stamp, or None where none can be read (then the file is searched from its start)."""
    try:
        with open(stamp_path(path), "rb") as file:
            return file.read(100)
    except OSError:
        return None


def seek_sorted(descriptor: int, login: bytes) -> int:
    """Where the first line whose login is not before ``login`` starts, in a file in order of its logins."""
    low, high = 0, os.fstat(descriptor).st_size
    while low < high:
        middle = (low + high) // 2
        start = line_start(descriptor, low, middle)
        line = line_at(descriptor, start)
        if line.partition(b":")[0] < login:
            low = start + len(line) + 1
        else:
            high = start
    return low


def line_start(descriptor: int, low: int, position: int) -> int:
    """The start of the line that holds ``position``; ``low`` is the start of some line at or before it."""
    while position > low:
        begin = max(low, position - _PROBE_OCTETS)
        found = os.pread(descriptor, position - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        position = begin
    return low


def line_at(descriptor: int, start: int) -> bytes:
    """The line that starts there, without its newline; empty at the end of the file."""
    line = b""
    while block := os.pread(descriptor, _PROBE_OCTETS, start + len(line)):
        head, newline, _ = block.partition(b"\n")
        line += head
        if newline:
            break
    return line


def _at(descriptor: int, start: int, login: bytes) -> bytes | None:
    line = line_at(descriptor, start)
    return line if line.startswith(login + b":") else None


def _scan(descriptor: int, login: bytes) -> bytes | None:
    """The first line of that login in a file of any order."""
    for newline in search(descriptor, b"\n" + login + b":"):
        return line_at(descriptor, newline + 1)
    return None


def search(descriptor: int, needle: bytes) -> Iterator[int]:
    """Where the needle stands in the open file, as if a newline stood before and after it (so -1 is the first place).

    Block by block into one buffer: a mapped file that is cut short would kill the process.
    """
    keep = len(needle) - 1
    block = min(_BLOCK_OCTETS, os.fstat(descriptor).st_size + 1)
    buffer = bytearray(max(1, keep) + block + 1)
    view = memoryview(buffer)
    buffer[0] = 10
    start, held, octets = -1, 1, 1
    while octets:
        octets = os.preadv(descriptor, [view[held : held + block]], start + held)
        end = held + octets
        if not octets:
            buffer[end] = 10
            end += 1
        found = buffer.find(needle, 0, end)
        while found >= 0:
            yield start + found
            found = buffer.find(needle, found + 1, end)
        held = min(keep, end)
        buffer[:held] = buffer[end - held : end]
        start += end - held


class PasswordFile:
    """A password file for a program that lives long: one stat for each lookup, read again only when it has changed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """The file need not exist yet; each `get` checks again."""
        self._path = os.fspath(path)
        self._descriptor = -1
        self._key: tuple[int, int, int] | None = None
        self._stamped = False
        self._offsets: dict[bytes, int] = {}

    def get(self, login: bytes) -> Row | None:
        """The row of one login, or None.

        Raises:
            OSError: the file cannot be read now.
            PoppasswdError: the line that starts with this login is not a row.
        """
        self._refresh()
        if self._stamped:
            line = _at(self._descriptor, seek_sorted(self._descriptor, login), login) if login else None
        else:
            offset = self._offsets.get(login)
            line = None if offset is None else line_at(self._descriptor, offset)
        return None if line is None else row(line, 0, self._path)

    def close(self) -> None:
        """Give the descriptor back; a later `get` opens the file again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._key = -1, None

    def _refresh(self) -> None:
        """Open and index the file where its inode, mtime or size is not what was indexed."""
        status = os.stat(self._path)
        if self._key == (status.st_ino, status.st_mtime_ns, status.st_size):
            return
        self.close()
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._stamped = stamp_of(self._descriptor) == read_stamp(self._path)
        self._offsets = {} if self._stamped else index(self._descriptor)
        status = os.fstat(self._descriptor)
        self._key = (status.st_ino, status.st_mtime_ns, status.st_size)


def index(descriptor: int) -> dict[bytes, int]:
    """Login -> where its first line starts."""
    offsets: dict[bytes, int] = {}
    start = 0
    with os.fdopen(os.dup(descriptor), "rb") as file:
        for line in file:
            if b":" in line and is_row(line):
                offsets.setdefault(line.partition(b":")[0], start)
            start += len(line)
    return offsets
