"""Dovecot's file of what it has numbered in a Maildir, ``dovecot-uidlist``, version 3 (its maildir-uidlist.c).

The first line is ``3 V<uidvalidity> N<next uid> G<guid>``, each further one ``<uid> [<key><value> ...] :<file name>``
with the file's base name. ``P`` is the UIDL that POP3 gives in place of ``pop3_uidl_format``, empty for the file name;
``O`` is its place in POP3's order. A broken line makes Dovecot throw the file away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One message: ``name`` is the file's base name, ``uidl`` and ``order`` are None where the line has none."""

    uid: int
    name: bytes
    uidl: bytes | None = None
    order: int | None = None


@dataclass(frozen=True, slots=True)
class Uidlist:
    """The whole file."""

    validity: int
    guid: bytes
    rows: Sequence[Row]


def fits(name: bytes, uidl: bytes) -> bool:
    """Whether a line can hold both."""
    return bool(name) and b"\n" not in name and b"\r" not in name and not set(uidl) & set(b" \r\n\0")


def render(made: Uidlist) -> bytes:
    """The text of the file; each row ``fits``."""
    after = max((row.uid for row in made.rows), default=0) + 1
    lines = [b"3 V%d N%d G%s\n" % (made.validity, after, made.guid)]
    for row in made.rows:
        uidl = b"" if row.uidl is None else b"P%s " % row.uidl
        order = b"" if row.order is None else b"O%d " % row.order
        lines.append(b"%d %s%s:%s\n" % (row.uid, uidl, order, row.name))
    return b"".join(lines)


def parse(text: bytes) -> Uidlist:
    """What a file says; of two lines of one uid or name the last counts.

    Raises:
        ValueError: a line is none of this format; says which.
    """
    lines = text.split(b"\n")
    head = lines[0].split()
    if head[:1] == [b"1"] and len(head) == 3:  # Dovecot 1.0 and courier-imap
        validity, guid = int(head[1]), b""
    elif head[:1] == [b"3"]:
        keys = {word[:1]: word[1:] for word in head[1:]}
        validity, guid = int(keys.get(b"V", b"x")), keys.get(b"G", b"")
    else:
        raise ValueError("line 1: is of no known version")
    rows: dict[int, Row] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        try:
            row = _row(line, extended=head[0] == b"3")
        except ValueError as why:
            raise ValueError(f"line {number}: {why}") from why
        rows[row.uid] = row
    return Uidlist(validity, guid, sorted(rows.values(), key=lambda row: row.uid))


def _row(line: bytes, *, extended: bool) -> Row:
    uid, blank, rest = line.partition(b" ")
    if not blank or not uid.isdigit():
        raise ValueError("does not begin with a uid")
    if not extended:
        return Row(int(uid), rest.partition(b":")[0])
    keys: dict[bytes, bytes] = {}
    rest = rest.lstrip(b" ")
    while rest and not rest.startswith(b":"):
        word, _, rest = rest.partition(b" ")
        keys[word[:1]] = word[1:]
        rest = rest.lstrip(b" ")
    if len(rest) < 2:
        raise ValueError("names no file")
    order = keys.get(b"O")
    return Row(int(uid), rest[1:].partition(b":")[0], keys.get(b"P"), int(order) if order is not None else None)
