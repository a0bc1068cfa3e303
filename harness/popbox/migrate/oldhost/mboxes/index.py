"""The index that an export to mbox puts beside each file: its lines, and each message undone by them, proved by hash.

``LOCAL.mbox.index`` has a line for each message of ``LOCAL.mbox``. By it a message is cut out of the file, without its
From_ line, the fields that ``--status-fields`` added, the quoting and the newlines behind it; octets and sha256 must be
those of the line. So nothing is told by looks: a file that was changed does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import IO, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from popbox.migrate.oldhost.mboxes.opened import CHUNK_OCTETS
from popbox.migrate.oldhost.stores import UIDL_OCTETS

INDEX_HEAD = b"# popbox mbox index 1: offset octets sha256 arrival_ns flags uidl, words with % for odd octets\n"
SUFFIX = b".index"
_OURS = b"# popbox mbox index"
_STATUS = ((b"R", b"A"), (b"F", b"F"), (b"T", b"D"))
_LINE = re.compile(rb"([0-9]{1,18}) ([0-9]{1,18}) ([0-9a-f]{64}) (-?[0-9]{1,19}) (new|cur:[^ /]*) ([^ ]*)")
LATEST_NS = (1 << 63) - 1  # what a file's date can be given
_FROM_OCTETS = 1_000  # a From_ line of ours is shorter
_QUOTED = re.compile(rb"\n(>*)>(?=From )")
_OPEN = re.compile(rb"\n>*(>(?:F(?:r(?:o(?:m)?)?)?)?)\Z")
_BARE = re.compile(rb"\n>*\Z")


class Entry(NamedTuple):
    """A line of the index. ``offset``: of the From_ line; ``octets`` and ``sha256`` are of the message as it was.

    ``flags``: ``new``, or ``cur:`` and the rest of the file's name. ``written``: sha256 of what a reader without the
    index should find; empty for a line that was read.
    """

    offset: int
    octets: int
    sha256: str
    arrival_ns: int
    flags: bytes
    uidl: bytes
    written: str = ""

    def line(self) -> bytes:
        """As the index has it."""
        flags, uidl = quote(self.flags, safe=":,"), quote(self.uidl, safe="!\"#$&'()*+,/:;<=>?@[\\]^`{|}~")
        words = (self.offset, self.octets, self.sha256, self.arrival_ns, flags, uidl)
        return " ".join(map(str, words)).encode() + b"\n"


class Fitted(NamedTuple):
    """A message that lies in the file as its line says: its text there is from ``start`` to ``end``, quoted."""

    entry: Entry
    start: int
    end: int


def status_fields(flags: bytes, uidl: bytes) -> bytes:
    """``X-UIDL``, and of a message that a client has seen ``Status`` and ``X-Status``."""
    fields = b"X-UIDL: " + uidl + b"\n" if carries(uidl) else b""
    if flags == b"new":
        return fields
    said = flags.partition(b"2,")[2]
    more = b"".join(letter for flag, letter in _STATUS if flag in said)
    fields += b"Status: RO\n" if b"S" in said else b"Status: O\n"
    return fields + (b"X-Status: " + more + b"\n" if more else b"")


def carries(uidl: bytes) -> bool:
    """Whether a field X-UIDL can hold it."""
    return 0 < len(uidl) <= UIDL_OCTETS and all(0x21 <= octet <= 0x7E for octet in uidl)


def is_ours(text: bytes) -> bool:
    """Whether a file of that name is an index at all, whole or torn."""
    return text.startswith(_OURS) or _OURS.startswith(text)


def parse(text: bytes) -> list[Entry]:
    """The lines of an index.

    Raises:
        ValueError: a line is none of it, or the file is cut off; says which.
    """
    if not text.startswith(INDEX_HEAD):
        raise ValueError("line 1: is not that of an index of version 1")
    lines = text[len(INDEX_HEAD) :].split(b"\n")
    if lines.pop():
        raise ValueError(f"line {len(lines) + 2}: is cut off")
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=2):
        found = _LINE.fullmatch(line)
        if found is None or abs(int(found[4])) > LATEST_NS:
            raise ValueError(f"line {number}: is no line of an index")
        offset, octets, digest, arrival_ns, flags, uidl = found.groups()
        flags, uidl = unquote_to_bytes(flags), unquote_to_bytes(uidl)
        if set(flags + uidl) & set(b"\0") or b"/" in flags:
            raise ValueError(f"line {number}: no file name holds its flags or its UIDL")
        entries.append(Entry(int(offset), int(octets), digest.decode(), int(arrival_ns), flags, uidl))
    return entries


def fit(file: IO[bytes], octets: int, entries: list[Entry]) -> list[Fitted]:
    """Where each message lies in a file of ``octets``.

    Raises:
        ValueError: the file is not that of the index; says by which line.
    """
    found: list[Fitted] = []
    if not entries and not octets:
        return []
    ends = [*(entry.offset for entry in entries[1:]), octets]
    if (entries[0].offset if entries else octets) != 0:
        raise ValueError(f"line 2: the file has {octets} octets, and no message begins at its first one")
    for number, (entry, end) in enumerate(zip(entries, ends, strict=True), start=2):
        if end <= entry.offset or end > octets:
            raise ValueError(f"line {number}: the file has {octets} octets, and the message is not within them")
        file.seek(entry.offset)
        line = file.readline(min(_FROM_OCTETS, end - entry.offset))
        if not line.startswith(b"From ") or not line.endswith(b"\n"):
            raise ValueError(f"line {number}: no From_ line begins at octet {entry.offset}")
        start = entry.offset + len(line)
        fields = status_fields(entry.flags, entry.uidl)
        starts = [start, start + len(fields)] if fields and file.read(len(fields)) == fields else [start]
        fitting = [Fitted(entry, one, end) for one in starts if _is(file, entry, one, end)]
        if not fitting:
            raise ValueError(f"line {number}: what lies at octet {entry.offset} is not the message of that sha256")
        found.append(fitting[0])
    return found


def message(file: IO[bytes], one: Fitted) -> Iterator[bytes]:
    """The octets of a message that fits."""
    left = one.entry.octets
    for piece in _unquoted(file, one.start, one.end):
        yield piece[:left]
        left -= min(left, len(piece))


def _is(file: IO[bytes], entry: Entry, start: int, end: int) -> bool:
    digest, octets, tail, last = sha256(), 0, b"", b"\n"
    for piece in _unquoted(file, start, end):
        own = piece[: entry.octets - octets]
        digest.update(own)
        octets, last = octets + len(own), own[-1:] or last
        tail = (tail + piece[len(own) :])[:3]
    closed = b"\n" if last == b"\n" else b"\n\n"
    return octets == entry.octets and tail == closed and digest.hexdigest() == entry.sha256


def _unquoted(file: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """Octets of the file with one ``>`` less in each line ``>*>From ``, wherever the pieces are cut."""
    file.seek(start)
    bare, held = True, b""
    while start < end and (piece := file.read(min(CHUNK_OCTETS, end - start))):
        start += len(piece)
        text = (b"\n" if bare else b"x") + held + piece
        text = _QUOTED.sub(rb"\n\1", text)
        cut = _OPEN.search(text)
        held = cut[1] if cut else b""
        text = text[: len(text) - len(held)]
        bare = _BARE.search(text) is not None
        yield text[1:]
    yield held
