"""courierpop3d's file of what it has numbered in a Maildir, ``courierpop3dsizelist``, by its pop3dserver.c.

The first line is ``/<version> <next uid> <uidvalidity>``, each further one a file's name, the size that LIST gives, and

    version 0   nothing (and there is no first line): the UIDL is the name    until 2003
    version 1   ``<uid>``                                                     2003; its first line has no uidvalidity
    version 2   ``<uid>:<uidvalidity>``                                       2003 to 2018
    version 3   ``<uid>:<uidvalidity>:<UTF-8 in the header>``                 since 2018

A uid of 0 stands for the name in each of them. Courier passes over a line that it cannot read: that message gets a new
UIDL. Its order is by the number that a file's name begins with, then by the name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

VERSION = 2
"""The one that we write: each courier since 2003 reads it, and its flag of version 3 is then taken for unset."""

MOST = (1 << 64) - 1
LONG = (1 << 63) - 1
FLAGS = b":2,"  # what courier adds to a name without a colon when it moves a message to cur/
_ODD = re.compile(rb"[^\x21-\x7e]|['\"+]")
_SPELLED = re.compile(rb"\+([0-9A-F]{2})|\+")
_UIDL = re.compile(rb"UID([1-9][0-9]{0,19})(?:-([1-9][0-9]{0,19}))?")
_NUMBER = re.compile(rb"[ \t-\r]*([+-]?[0-9]+)")
_HEAD = re.compile(rb"/([123]) ([0-9]{1,20})(?: ([0-9]{1,20}))?")
_LINES = {
    0: re.compile(rb"(.+) ([0-9]{1,20})", re.S),
    1: re.compile(rb"(.+) ([0-9]{1,20}) ([0-9]{1,20})", re.S),
    2: re.compile(rb"(.+) ([0-9]{1,20}) ([0-9]{1,20}):([0-9]{1,20})(?::[0-9]{1,10})?", re.S),
}
_SIGNED = bytes((octet + 128) % 256 for octet in range(256))  # courier compares octets as signed numbers


@dataclass(frozen=True, slots=True)
class Row:
    """One message: the whole name of its file in cur/, what LIST says, its numbers (uid 0: the name is the UIDL)."""

    name: bytes
    size: int
    uid: int = 0
    validity: int = 0

    @property
    def uidl(self) -> bytes:
        """As courier's UIDL gives it."""
        if not self.uid:
            return spelled(self.name)
        return b"UID%d-%d" % (self.uid, self.validity) if self.validity else b"UID%d" % self.uid


@dataclass(frozen=True, slots=True)
class Sizelist:
    """The whole file. ``broken``: the lines that courier passes over, by number and why.

    ``after``: the uid that the next message gets, with ``validity``; both 0 where the first line has none.
    """

    rows: Sequence[Row]
    broken: Sequence[tuple[int, str]] = ()
    after: int = 0
    validity: int = 0


def spelled(name: bytes) -> bytes:
    """The UIDL that a file's name makes: up to its first colon, odd octets as ``+HH``."""
    return _ODD.sub(lambda odd: b"+%02X" % ord(odd[0]), name.partition(b":")[0])


def row_for(uidl: bytes, name: bytes, size: int) -> Row | None:
    """The row that makes courier give this UIDL to a file; None where no row of this name does."""
    numbers = _UIDL.fullmatch(uidl)
    if numbers and all(int(number) <= MOST for number in numbers.groups() if number):
        return Row(name, size, int(numbers[1]), int(numbers[2] or 0))
    return Row(name, size) if spelled(name) == uidl else None


def name_of(uidl: bytes) -> bytes | None:
    """The name up to a colon that makes courier give this UIDL; None where none does, or the UIDL is one of numbers."""
    if _UIDL.fullmatch(uidl):
        return None
    name = _SPELLED.sub(lambda found: bytes([int(found[1], 16)]) if found[1] else b"+", uidl)
    usable = not set(name) & set(b"/:\n\0") and not name.startswith(b".")
    return name if name and usable and spelled(name) == uidl else None


def in_cur(name: bytes) -> bytes:
    """The name that a file of new/ has once courier has seen it."""
    return name if b":" in name else name + FLAGS


def place_of(name: bytes) -> tuple[int, bytes]:
    """What courier orders by; two names of one place are one message to it, whatever their flags."""
    found = _NUMBER.match(name)
    number = max(-LONG - 1, min(int(found[1][:40]), LONG)) if found else 0
    head, colon, _ = name.partition(b":")
    return number, (head + (colon or b"\0")).translate(_SIGNED)


class Rows:
    """Rows by the files that they are of, each to be used once: courier numbers a second file of a name."""

    def __init__(self, rows: Sequence[Row]) -> None:
        """All of a box."""
        self._rows: dict[bytes, list[Row]] = {}
        for row in rows:
            self._rows.setdefault(row.name.partition(b":")[0], []).append(row)

    def take(self, name: bytes) -> tuple[Row | None, str]:
        """The row of a file: with its own flags, else of its base name; None, and why, where that is in doubt."""
        mine = self._rows.get(name.partition(b":")[0], [])
        exact = [row for row in mine if row.name == in_cur(name)] or list(mine)
        uidls = {row.uidl for row in exact}
        if len(uidls) > 1:
            return None, "it has more than one: " + ", ".join(sorted(uidl.decode("ascii") for uidl in uidls))
        for row in exact:
            mine.remove(row)
        return (exact[0] if exact else None), ""


def render(made: Sizelist) -> bytes:
    """The text of the file."""
    lines = [b"/%d %d %d\n" % (VERSION, made.after, made.validity)]
    lines += [b"%s %d %d:%d\n" % (row.name, row.size, row.uid, row.validity) for row in made.rows]
    return b"".join(lines)


def parse(text: bytes) -> Sizelist:
    """What a file says.

    Raises:
        ValueError: its first line is of no known version, or it is empty; says which.
    """
    if not text:
        raise ValueError("is empty")
    lines = text.split(b"\n")
    torn = lines.pop()
    version, *head = _head(lines[0] if lines else torn)
    rows: list[Row] = []
    broken: list[tuple[int, str]] = []
    first = 1 if version else 0
    for number, line in enumerate(lines[first:], start=first + 1):
        found = _LINES[version].fullmatch(line)
        numbers = [int(word) for word in found.groups()[1:]] if found else []
        if found is None or max(numbers) > MOST:
            broken.append((number, "is no line of it"))
        else:
            rows.append(Row(found[1], *numbers))
    if torn and len(lines) >= first:
        broken.append((len(lines) + 1, "is cut off"))
    return Sizelist(rows, broken, *head)


def _head(line: bytes) -> tuple[int, int, int]:
    """Which of `_LINES` the lines are, and the two numbers of the first one."""
    found = _HEAD.fullmatch(line)
    if found:
        return min(int(found[1]), 2), int(found[2]), int(found[3] or 0)
    if line.startswith(b"/") or not _LINES[0].fullmatch(line):
        raise ValueError("line 1: is of no known version")
    return 0, 0, 0
