"""users/assign read in large pieces, as parts of a cdb, which makes ``newu`` fast. Same result as ``assigntext.parse``.

A piece in which every line has the plain form (seven colons, no NUL) is split by one regular expression;
any other piece goes through ``parse_line``, line by line, which also names the line of an error.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import closing
from itertools import compress
from typing import NamedTuple

from mailhost.qmail.assigntext import (
    ASSIGN_FILE,
    MARK,
    AssignmentLine,
    NewuError,
    end_characters,
    format_error,
    no_end,
    parse_line,
)
from mailhost.qmail.cdb.writer import Part, part
from mailhost.qmail.child_process import Work, in_two

PIECE_OCTETS = 1 << 19  # some 5,000 lines: their columns still fit the cache
FEWEST_PIECES = 16  # for less than 8 MiB a second process costs more than it saves
_NEITHER = bytes(set(range(256)) - set(b":\n"))
_TO_NUL = bytes.maketrans(b":", b"\0")
_PLAIN = b":::::::\n"
_LINE = re.compile(rb"([^\n])([^\0]*\0)([^\n]*)\0[^\n]*\n")  # on a piece with its colons turned into NULs
_HEAD = struct.Struct("<?II")


class Piece(NamedTuple):
    """One parsed piece: its records, the last bytes of its ``+`` addresses, and whether it had the dot line."""

    part: Part
    ends: bytes
    ended: bool

    def packed(self) -> bytes:
        """The piece as octets, for a pipe."""
        head = _HEAD.pack(self.ended, len(self.ends), len(self.part.slots))
        return b"".join((head, self.ends, self.part.slots, self.part.records))

    @classmethod
    def unpacked(cls, octets: bytes) -> Piece:
        """The piece from the octets that ``packed`` made."""
        ended, ends, slots = _HEAD.unpack_from(octets)
        first, second = _HEAD.size + ends, _HEAD.size + ends + slots
        return cls(Part(octets[second:], octets[first:second]), octets[_HEAD.size : first], ended)


def pieces(fd: int) -> Iterator[Piece]:
    """All lines of an open users/assign.

    Raises:
        NewuError: as ``assigntext.parse``, or the file cannot be read.
    """
    indexes = range(-(-os.fstat(fd).st_size // PIECE_OCTETS))
    if len(indexes) < FEWEST_PIECES:
        yield from _until_dot(fd, (_piece(fd, index) for index in indexes))
        return
    # Two of five are made here, because this process also works on each piece that it takes.
    work: Work[int, Piece] = Work(lambda index: _piece(fd, index), Piece.packed, Piece.unpacked)
    with closing(in_two(work, indexes, lambda index: index % 5 in (0, 2))) as made:
        yield from _until_dot(fd, made)


def _until_dot(fd: int, source: Iterator[Piece]) -> Iterator[Piece]:
    for piece in source:
        yield piece
        if piece.ended:
            return
    text = _read(fd, os.fstat(fd).st_size, 0)  # this is an error, so reading all of it again is acceptable
    raise no_end(text.count(b"\n") + 1, text.rpartition(b"\n")[2])


def _read(fd: int, octets: int, position: int) -> bytes:
    try:
        return os.pread(fd, octets, position)
    except OSError as error:
        text = f"qmail-newu: fatal: unable to read {ASSIGN_FILE}"
        raise NewuError(text, ASSIGN_FILE, 0, error.strerror or str(error)) from error


def _cut(fd: int, position: int) -> int:
    """Where the first line that starts at or after ``position`` begins."""
    if position == 0:
        return 0
    position -= 1
    while block := _read(fd, 4096, position):
        newline = block.find(b"\n")
        if newline >= 0:
            return position + newline + 1
        position += len(block)
    return position


def _piece(fd: int, index: int) -> Piece:
    """The lines that begin within the ``index``-th PIECE_OCTETS."""
    start, end = _cut(fd, index * PIECE_OCTETS), _cut(fd, (index + 1) * PIECE_OCTETS)
    text = _read(fd, end - start, start)
    plain = _plain(text)
    return _line_by_line(fd, start, text) if plain is None else plain


def _plain(text: bytes) -> Piece | None:
    """A piece made of plain lines; None when a line needs ``parse_line``."""
    shape = text.translate(None, _NEITHER)
    if shape != _PLAIN * (len(shape) // len(_PLAIN)) or b"\0" in text or not text.endswith(b"\n"):
        return None
    found = _LINE.split(text.translate(_TO_NUL))
    types, keys, data = found[1::4], found[2::4], found[3::4]
    kinds = set(types)
    if kinds & {b"\0", b"."}:
        return None
    ends: dict[bytes, None] = {}
    if b"+" in kinds:
        keys = [key[:-1] if kind == b"+" else key for kind, key in zip(types, keys, strict=True)]
        ends = dict.fromkeys([key[-1:] for key in compress(keys, map(b"+".__eq__, types))])
    return Piece(part(list(map(bytes.lower, keys)), data, MARK), b"".join(ends), ended=False)


def _line_by_line(fd: int, start: int, text: bytes) -> Piece:
    entries: list[AssignmentLine] = []
    *lines, rest = text.split(b"\n")
    ended = rest[:1] == b"."
    try:
        for number, line in enumerate(lines, start=1):
            if line[:1] == b".":
                ended = True
                break
            entries.append(parse_line(line, number))
    except NewuError as error:
        raise format_error(error.line + _read(fd, start, 0).count(b"\n"), error.rule) from None
    keys, data = [entry.key[1:] for entry in entries], [entry.data for entry in entries]
    return Piece(part(keys, data, MARK), end_characters(tuple(entries)), ended)
