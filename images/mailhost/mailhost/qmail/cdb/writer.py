"""Writing a constant database, byte for byte as qmail-newu and qmail-newmrh do. Source: Q-CDB-1..6, Q-CDB-10.

Each part of a record is made for thousands of records at once, as columns that are interleaved at the end. This way
plain Python writes a million records in two seconds.
"""

from __future__ import annotations

import errno
import io
import struct
from array import array
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import accumulate, islice, repeat
from operator import add
from typing import BinaryIO, NamedTuple

from mailhost.qmail.cdb.hashing import cdb_hashes
from mailhost.qmail.cdb.reader import HEADER_OCTETS, PAIR, TABLES
from mailhost.qmail.child_process import Work, in_two

BATCH = 1 << 13
MOST_OCTETS = (1 << 32) - 1  # positions are 32-bit
MANY = 1 << 17  # records; with fewer a child process costs more than it saves


class Part(NamedTuple):
    """Consecutive records ready to be written: their octets, and their slots with positions counted from the part."""

    records: bytes
    slots: bytes  # 8 octets each: hash, position


def part(keys: Sequence[bytes], data: Sequence[bytes], mark: bytes = b"") -> Part:
    """The part with one record for each pair of ``keys`` and ``data``; ``mark`` precedes every key."""
    key_octets = [len(mark) + octets for octets in map(len, keys)]
    data_octets = list(map(len, data))
    pieces = [b""] * (3 * len(key_octets))
    pieces[0::3], pieces[1::3], pieces[2::3] = _heads(key_octets, data_octets, mark), keys, data
    ends = accumulate(map(add, map(add, key_octets, data_octets), repeat(PAIR.size)), initial=0)
    positions = array("I", islice(ends, len(key_octets)))
    return Part(b"".join(pieces), bytes(_weave(cdb_hashes(keys, mark), positions, PAIR.size)))


def _heads(key_octets: list[int], data_octets: list[int], mark: bytes) -> tuple[bytes, ...]:
    """What precedes each key: the two lengths and ``mark``."""
    octets = PAIR.size + len(mark)
    woven = _weave(array("I", key_octets), array("I", data_octets), octets)
    for index, octet in enumerate(mark, start=PAIR.size):
        woven[index::octets] = bytes((octet,)) * len(key_octets)
    return struct.unpack(f"{octets}s" * len(key_octets), woven)


def _weave(first: array[int], second: array[int], octets: int) -> bytearray:
    """Pairs of 32-bit little-endian integers, each pair at the start of a field of ``octets``."""
    woven = bytearray(octets * len(first))
    for column, numbers in enumerate((first, second)):
        packed = numbers.tobytes()
        for octet in range(4):
            woven[4 * column + octet :: octets] = packed[octet::4]
    return woven


class CdbWriter:
    """Writes records into a seekable binary file opened for writing; the file is a cdb only after ``finish``.

    Memory: 8 octets for each record until ``finish``.

    Raises:
        OSError: (from ``put`` and ``finish``) writing fails, or the file would exceed 4 GiB.
    """

    def __init__(self, file: BinaryIO) -> None:
        """``file`` is empty; the caller syncs and renames it."""
        self._file = file
        self._position = HEADER_OCTETS
        # A slot is hash + 2^32 * position: as 64-bit little-endian numbers the tables need no further packing.
        self._slots = [array("Q") for _ in range(TABLES)]
        file.seek(HEADER_OCTETS)

    def put(self, part: Part) -> None:
        """Append the records of a part."""
        here = PAIR.pack(0, self._position) * (len(part.slots) // PAIR.size)
        self._append(part.records)
        # One addition of two large integers adds the part's own position to every position in it.
        moved = int.from_bytes(part.slots, "little") + int.from_bytes(here, "little")
        slots = moved.to_bytes(len(part.slots), "little")
        append = [table.append for table in self._slots]
        for table, slot in zip(slots[:: PAIR.size], array("Q", slots), strict=True):
            append[table](slot)

    def _append(self, octets: bytes) -> None:
        if self._position + len(octets) > MOST_OCTETS:
            raise OSError(errno.EFBIG, "a cdb ends at 4 GiB")
        self._file.write(octets)
        self._position += len(octets)

    def finish(self) -> None:
        """Append the hash tables and write the header."""
        header = []
        with closing(_tables(self._slots)) as tables:
            for slots, table in zip(self._slots, tables, strict=True):
                header.append(PAIR.pack(self._position, 2 * len(slots)))
                self._append(table)
        self._file.seek(0)
        self._file.write(b"".join(header))


def _tables(slots: list[array[int]]) -> Generator[bytes]:
    """The hash tables; with many records a child process makes every second one."""
    if sum(map(len, slots)) < MANY:
        yield from map(_table, slots)
    else:
        yield from in_two(Work(_table, bytes, bytes), slots, lambda index: index % 2 == 0)


def _table(slots: array[int]) -> bytes:
    """The hash table of these slots: twice as many places, filled in order, each key in the next free place."""
    if not slots:  # of a small host nearly all 256 are empty
        return b""
    places = 2 * len(slots)
    table = array("Q", bytes(PAIR.size * places))
    taken = bytearray(places)
    packed = slots.tobytes()
    upper = bytearray(4 * len(slots))  # hash div 256: octets 1 to 3 of each slot
    for octet in range(3):
        upper[octet::4] = packed[octet + 1 :: PAIR.size]
    for start, slot in zip(memoryview(upper).cast("I"), slots, strict=True):
        place = start % places
        while taken[place]:
            place += 1
            if place == places:
                place = 0
        taken[place] = 1
        table[place] = slot
    return table.tobytes()


def write(records: Iterable[tuple[bytes, bytes]], file: BinaryIO) -> None:
    """Write (key, data) records, in order, as a cdb into an empty seekable file.

    Raises:
        OSError: writing fails, or the file would exceed 4 GiB.
    """
    writer = CdbWriter(file)
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH)):
        writer.put(part([key for key, _ in batch], [value for _, value in batch]))
    writer.finish()


def build(records: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The cdb of (key, data) records, in order, as bytes."""
    file = io.BytesIO()
    write(records, file)
    return file.getvalue()
