"""The cdb hash of many keys at once, without a compiled extension.

Hashing a million keys octet by octet takes seconds in Python. Here one large integer holds a lane of 40 bits for
each key, and one multiplication, one mask and one exclusive-or advance every lane by one octet. Lanes have 40 bits
because a 32-bit value times 33 needs 38.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import cache
from itertools import repeat

START = 5381
LANE_OCTETS = 5
MOST_LANES = 1 << 13  # about what still fits the cache: wider integers cost more for each key
LONG_KEY = 255  # longer keys are hashed one by one, because a key makes its batch as wide as itself
# Masks for all lanes; with fewer lanes the rest has no effect.
_WORDS = int.from_bytes(b"\xff\xff\xff\xff\0" * MOST_LANES, "little")
_OCTETS = int.from_bytes(b"\xff\0\0\0\0" * MOST_LANES, "little")


def cdb_hash(key: bytes, value: int = START) -> int:
    """The 32-bit hash of one key (Q-CDB-2); ``value`` is the hash of what precedes it."""
    for octet in key:
        value = ((value * 33) & 0xFFFFFFFF) ^ octet
    return value


def prefix_hashes(key: bytes, ends: bytes, mark: bytes = b"") -> tuple[int, list[tuple[int, int]]]:
    """The hash of ``mark`` + key, and (length, hash) of each beginning of the key that is empty or ends in ``ends``."""
    value = cdb_hash(mark)
    found = [(0, value)]
    for length, octet in enumerate(key, start=1):
        value = ((value * 33) & 0xFFFFFFFF) ^ octet
        if octet in ends:
            found.append((length, value))
    return value, found


def cdb_hashes(keys: Sequence[bytes], mark: bytes = b"") -> array[int]:
    """The 32-bit hashes of ``mark`` + key for every key, in order, as an array of unsigned 32-bit integers."""
    start = cdb_hash(mark)
    result = array("I")
    for first in range(0, len(keys), MOST_LANES):
        batch = keys[first : first + MOST_LANES]
        widest = max(map(len, batch))
        if widest > LONG_KEY:
            result.extend(cdb_hash(key, start) for key in batch)
        else:
            result.extend(_lanes(batch, widest, start))
    return result


@cache
def _start_tables(width: int, start: int) -> tuple[bytes, ...]:
    """The four octets of a lane's first value by key length, up to ``width``, as tables for ``bytes.translate``.

    A key is padded in front with NULs up to ``width``. 33 is odd, so it has an inverse modulo 2^32, and the effect of
    the NULs on ``start`` can be undone beforehand.
    """
    undone = (start * pow(33, octets - width, 1 << 32) % (1 << 32) for octets in range(width + 1))
    lanes = b"".join(lane.to_bytes(4, "little") for lane in undone)
    return tuple(lanes[octet::4].ljust(256, b"\0") for octet in range(4))


def _lanes(keys: Sequence[bytes], widest: int, start: int) -> array[int]:
    width = -(-widest // 4) * 4
    lanes = len(keys)
    joined = b"".join(map(bytes.rjust, keys, repeat(width), repeat(b"\0")))
    lengths = bytes(map(len, keys))
    columns = bytearray(LANE_OCTETS * lanes)
    for octet, table in enumerate(_start_tables(width, start)):
        columns[octet::LANE_OCTETS] = lengths.translate(table)
    state = int.from_bytes(columns, "little")
    for first in range(0, width, 4):  # making an integer of octets is the slow step: do it for four columns at once
        for octet in range(4):
            columns[octet::LANE_OCTETS] = joined[first + octet :: width]
        four = int.from_bytes(columns, "little")
        for shift in (0, 8, 16, 24):
            state = (state * 33 & _WORDS) ^ (four >> shift & _OCTETS)
    return _unpack(state, lanes)


def _unpack(state: int, lanes: int) -> array[int]:
    """The low 32 bits of every lane."""
    octets = state.to_bytes(LANE_OCTETS * lanes, "little")
    words = bytearray(4 * lanes)
    for octet in range(4):
        words[octet::4] = octets[octet::LANE_OCTETS]
    return array("I", bytes(words))
