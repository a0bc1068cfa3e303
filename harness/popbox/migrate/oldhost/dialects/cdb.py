"""users/cdb and morercpthosts.cdb, by which qmail decides, whatever the texts beside them say (Q-LSP-8, Q-RCPT-10).

Format: 256 pairs (place, length) of hash tables, then the records, each length of key, length of data, key, data; all
numbers are 32 bits, little-endian. A key of users/cdb is ``!`` and an address: with a NUL behind it for a line ``=``,
without one for a line ``+``; the empty key has the octets in which the addresses of ``+`` lines end.
Source: qmail-newu(8), qmail-newmrh(8), cdb(5).
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


def pairs(octets: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and data of each record of a cdb, in their order.

    Raises:
        ValueError: it is no whole cdb.
    """
    if len(octets) < HEADER_OCTETS:
        raise ValueError("it is cut off")
    tables = [place for place, _ in struct.iter_unpack("<II", octets[:HEADER_OCTETS])]
    at, end = HEADER_OCTETS, min(tables)
    while at + 8 <= min(end, len(octets)):
        key_octets, data_octets = struct.unpack_from("<II", octets, at)
        begin, at = at + 8 + key_octets, at + 8 + key_octets + data_octets
        yield octets[begin - key_octets : begin], octets[begin:at]
    if at != end or end > len(octets):
        raise ValueError("it is cut off, or no cdb")


def records(octets: bytes) -> Iterator[Record]:
    """The records of users/cdb in their order; the first of an address counts (Q-ASSIGN-11).

    Raises:
        ValueError: it is no whole users/cdb.
    """
    known = False
    for key, data in pairs(octets):
        fields = data.split(b"\0")
        known = known or not key
        if key[:1] == b"!" and len(fields) >= FIELDS:
            yield Record(key[1:].removesuffix(b"\0"), not key.endswith(b"\0"), fields[:FIELDS])
    if not known:
        raise ValueError("it is a cdb, and not users/cdb")
