"""users/assign as qmail-newu reads it: assignments with line numbers, and the format errors.

Source: qmail-users(5), Q-ASSIGN-1..11, Q-UCDB-1..3.
"""

from __future__ import annotations

from dataclasses import dataclass

ASSIGN_FILE = "users/assign"
FIELDS = 6
MARK = b"!"  # the first octet of every key of users/cdb but the empty one (Q-UCDB-1)


class NewuError(Exception):
    """qmail-newu (or qmail-newmrh) would stop. ``text`` is its message; we add ``file``, ``line``, ``rule``."""

    exit_code = 111

    def __init__(self, text: str, file: str, line: int, rule: str) -> None:
        """``file`` is relative to home; ``line`` counts from 1; 0: no line."""
        where = f"{file}:{line}" if line else file
        super().__init__(f"{text} ({where}: {rule})")
        self.text = text
        self.file = file
        self.line = line
        self.rule = rule


@dataclass(frozen=True, slots=True)
class AssignmentLine:
    """One line of users/assign. ``wild``: it begins with ``+``. The fields are kept as written and not checked."""

    address: bytes
    wild: bool
    user: bytes
    uid: bytes
    gid: bytes
    home: bytes
    dash: bytes
    ext: bytes
    line: int

    @property
    def key(self) -> bytes:
        """The key in users/cdb (Q-UCDB-1)."""
        return _key(self.address, self.wild)

    @property
    def data(self) -> bytes:
        """The value in users/cdb (Q-UCDB-2)."""
        return b"\0".join((self.user, self.uid, self.gid, self.home, self.dash, self.ext))


def format_error(number: int, rule: str) -> NewuError:
    """The error of qmail-newu for any bad line, with the line and the rule."""
    return NewuError("qmail-newu: fatal: bad format in users/assign", ASSIGN_FILE, number, rule)


def _key(address: bytes, wild: bool) -> bytes:
    return MARK + address.lower() + (b"" if wild else b"\0")


def key_of(line: bytes) -> bytes | None:
    """The key in users/cdb of a line without its newline; None where ``parse_line`` would refuse the line."""
    address, _, rest = line.partition(b":")
    if not address or rest.count(b":") < FIELDS or b"\0" in line:
        return None
    return _key(address[1:], address[:1] == b"+")


def parse_line(line: bytes, number: int) -> AssignmentLine:
    """One assignment, from a line without its newline. Source: qmail-users(5), Q-ASSIGN-2, -4, -7.

    Raises:
        NewuError: the line does not have the form of an assignment.
    """
    if b"\0" in line:
        raise format_error(number, "a NUL byte")
    if not line:
        raise format_error(number, "an empty line")
    address, *fields = line.split(b":", FIELDS + 1)
    if not address:
        raise format_error(number, "the line starts with a colon")
    if len(fields) <= FIELDS:
        raise format_error(number, f"{len(fields)} colons; an entry has seven: address:user:uid:gid:home:dash:ext:")
    user, uid, gid, home, dash, ext, _ = fields
    return AssignmentLine(address[1:], address[:1] == b"+", user, uid, gid, home, dash, ext, number)


def no_end(number: int, line: bytes) -> NewuError:
    """The error for a file whose last line, ``line``, has no newline and is not the dot line."""
    rule = "the last line has no newline" if line else "the file ends before a line with a single dot"
    return format_error(number, rule)


def parse(text: bytes) -> tuple[AssignmentLine, ...]:
    """All assignments up to the line that starts with a dot. Source: qmail-users(5).

    Raises:
        NewuError: a line is bad, or there is no dot line.
    """
    *lines, rest = text.split(b"\n")
    entries: list[AssignmentLine] = []
    for number, line in enumerate(lines, start=1):
        if line[:1] == b".":
            return tuple(entries)
        entries.append(parse_line(line, number))
    if rest[:1] != b".":
        raise no_end(len(lines) + 1, rest)
    return tuple(entries)


def end_characters(entries: tuple[AssignmentLine, ...]) -> bytes:
    """The last bytes, as written, of the ``+`` addresses, each once: the empty key's value (Q-ASSIGN-10, Q-UCDB-3)."""
    return b"".join(dict.fromkeys(entry.address[-1:] for entry in entries if entry.wild))
