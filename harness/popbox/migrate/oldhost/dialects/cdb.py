"""users/cdb, by which qmail-lspawn decides (Q-LSP-4, -8): its records as lines of users/assign would say them.

Format: 256 pairs (place, length) of hash tables, then the records, each length of key, length of data, key, data; all
numbers are 32 bits, little-endian. A key is ``!`` and an address: with a NUL behind it for a line ``=``, without one
for a line ``+``; the empty key has the octets in which the addresses of ``+`` lines end. Source: qmail-newu(8), cdb(5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

HEADER_OCTETS = 2048
FIELDS = 6


class Record(NamedTuple):
    """One address, or with ``wild`` the beginning of addresses; ``fields``: user, uid, gid, home, dash, ext."""

    address: bytes
    wild: bool
    fields: list[bytes]


def records(octets: bytes) -> Iterator[Record]:
    """The records in their order; the first of an address counts (Q-ASSIGN-11).

    Raises:
        ValueError: it is no whole users/cdb.
    """
    if len(octets) < HEADER_OCTETS:
        raise ValueError("it is cut off")
    tables = [place for place, _ in struct.iter_unpack("<II", octets[:HEADER_OCTETS])]
    at, end, known = HEADER_OCTETS, min(tables), False
    while at + 8 <= min(end, len(octets)):
        key_octets, data_octets = struct.unpack_from("<II", octets, at)
        begin, at = at + 8 + key_octets, at + 8 + key_octets + data_octets
        key, fields = octets[begin - key_octets : begin], octets[begin:at].split(b"\0")
        known = known or not key
        if key[:1] == b"!" and len(fields) >= FIELDS:
            yield Record(key[1:].removesuffix(b"\0"), not key.endswith(b"\0"), fields[:FIELDS])
    if at != end or end > len(octets) or not known:
        raise ValueError("it is cut off, or no users/cdb")
