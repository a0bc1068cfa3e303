"""Reading a constant database, the format of users/cdb and morercpthosts.cdb. Source: Q-CDB-1..7."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mailhost.qmail.cdb.hashing import cdb_hash

PAIR = struct.Struct("<II")
HEADER_OCTETS = 2048
TABLES = 256
CUT_SHORT = "cut short: a table or a record lies outside of it"


class CdbError(Exception):
    """The file is not a complete cdb: a position or a length points outside it, or it cannot be read."""


class Cdb:
    """A cdb, from a path or from bytes. Source: cdb(5), Q-CDB-1..7.

    A file is read with pread, never mapped: truncating it while it is open then gives an error, not a signal.

    Raises:
        OSError: the path cannot be opened.
        CdbError: (from every method that reads) the file is damaged or cannot be read.
    """

    def __init__(self, source: Path | bytes) -> None:
        """``source``: a file, kept open until ``close``, or the whole content."""
        self._fd = -1
        self._content = b""
        self._pair: Callable[[int], tuple[int, ...]] = self._pair_of_file
        if isinstance(source, bytes):
            self._content = source
            self._pair = partial(PAIR.unpack_from, source)  # nothing between: a search is a few of these and no more
        else:
            self._fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not block us

    def __enter__(self) -> Cdb:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        fd, self._fd = getattr(self, "_fd", -1), -1
        if fd >= 0:
            os.close(fd)

    def get(self, key: bytes, value: int | None = None) -> bytes | None:
        """The data of the first record with this key, or None; ``value``: the key's hash, where it is known."""
        value = cdb_hash(key) if value is None else value
        pair = self._pair
        try:
            table, slots = pair(8 * (value % TABLES))
            for step in range(slots):
                slot_hash, position = pair(table + 8 * ((value // TABLES + step) % slots))
                if position == 0:
                    return None
                if slot_hash == value:
                    data = self._data_if(position, key)
                    if data is not None:
                        return data
        except struct.error as error:
            raise CdbError(CUT_SHORT) from error
        return None

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, data) of every record in the order of insertion."""
        try:
            end = min(self._pair(8 * table)[0] for table in range(TABLES))
            position = HEADER_OCTETS
            while position < end:
                key_octets, data_octets = self._pair(position)
                body = self._read(position + 8, key_octets + data_octets)
                yield body[:key_octets], body[key_octets:]
                position += 8 + len(body)
        except struct.error as error:
            raise CdbError(CUT_SHORT) from error

    def _data_if(self, position: int, key: bytes) -> bytes | None:
        key_octets, data_octets = self._pair(position)
        if key_octets != len(key) or self._read(position + 8, key_octets) != key:
            return None
        return self._read(position + 8 + key_octets, data_octets)

    def _pair_of_file(self, position: int) -> tuple[int, ...]:
        return PAIR.unpack(self._read(position, PAIR.size))

    def _read(self, position: int, octets: int) -> bytes:
        piece = self._pread(position, octets) if self._fd >= 0 else self._content[position : position + octets]
        if len(piece) != octets:
            raise CdbError(f"cut short: {octets} octets expected at {position}, {len(piece)} found")
        return piece

    def _pread(self, position: int, octets: int) -> bytes:
        try:
            # A damaged length can claim 4 GiB: never allocate more than the file has.
            room = os.fstat(self._fd).st_size - position if octets > 65536 else octets
            return os.pread(self._fd, max(0, min(octets, room)), position)
        except OSError as error:
            raise CdbError(f"cannot be read: {error.strerror}") from error
