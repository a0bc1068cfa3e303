"""The rules of users/assign and users/cdb again, written as simply as the facts state them, without regard to speed."""

from __future__ import annotations

import struct


def slow_hash(key: bytes) -> int:
    """Q-CDB-2."""
    value = 5381
    for octet in key:
        value = (value * 33) % 2**32 ^ octet
    return value


def slow_cdb(records: list[tuple[bytes, bytes]]) -> bytes:
    """Q-CDB-1..6, one record and one slot at a time."""
    body = b""
    slots: list[list[tuple[int, int]]] = [[] for _ in range(256)]
    for key, data in records:
        value = slow_hash(key)
        slots[value % 256].append((value, 2048 + len(body)))
        body += struct.pack("<II", len(key), len(data)) + key + data
    header, tables = b"", b""
    for bucket in slots:
        size = 2 * len(bucket)
        header += struct.pack("<II", 2048 + len(body) + len(tables), size)
        table = [(0, 0)] * size
        for value, position in bucket:
            place = value // 256 % size
            while table[place] != (0, 0):
                place = (place + 1) % size
            table[place] = (value, position)
        tables += b"".join(struct.pack("<II", *slot) for slot in table)
    return header + body + tables


def slow_lookup(lines: list[bytes], local: bytes) -> tuple[bytes, ...] | None:
    """Q-LSP-4..6 and Q-ASSIGN-10 straight from the lines: the six fields, or None."""
    ends = {line.split(b":")[0][-1:] for line in lines if line[:1] == b"+" and line[1:2] != b":"}
    entries = [(line[:1] == b"+", line.split(b":")[0][1:].lower(), line.split(b":")[1:7]) for line in lines]
    for wild, address, fields in entries:
        if not wild and address == local.lower():
            return tuple(fields)
    for length in range(len(local), -1, -1):
        prefix = local[:length].lower()
        for wild, address, fields in entries:
            if wild and address == prefix and (not prefix or prefix[-1:] in ends):
                return (*fields[:5], fields[5] + local[length:])
    return None
