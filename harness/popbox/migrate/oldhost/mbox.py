"""An mbox taken apart as it streams by: its messages with the quoting of ``From `` lines undone (Q-MBOX-2).

A message begins at a line ``From ... 12:34 ... 1998`` at the file's start or behind an empty line. The empty line
before the next one is not part of a message. Where the first line ends in CR LF, CR LF ends each line.
mboxrd quotes ``>*From ``, mboxo only ``From ``: one ``>`` is taken off.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator
from email.utils import mktime_tz, parsedate_tz
from typing import Literal, NamedTuple

from popbox.migrate.oldhost.tree import OldHostError

Quoting = Literal["rd", "o", "none"]
HOLD_OCTETS = 1 << 20  # so much of a message is held before a piece of it is handed on
LINE_OCTETS = 1_000  # our choice: no From_ line is longer
HEAD_OCTETS = 64 << 10  # our choice: where the header is looked for

_FROM = re.compile(rb"From [^\n]*\d:\d\d[^\n]*\d{4}[^\n]*\n")
_GIT = re.compile(rb"From [0-9a-f]{40}(?:[0-9a-f]{24})? Mon Sep 17 00:00:00 2001\n")  # as git format-patch writes it
_UNQUOTE = {"rd": re.compile(rb"(?<=\n)>(?=>*From )"), "o": re.compile(rb"(?<=\n)>(?=From )")}
_DATE = re.compile(rb"([A-Z][a-z]{2}) +(\d{1,2}) +(\d{1,2}):(\d\d)(?::(\d\d))? +(?:[A-Z]+ +|[-+]\d{4} +)?(\d{4})")
_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class Piece(NamedTuple):
    """``start``: the From_ line, where a message begins with this piece; ``octets``: what comes of the message."""

    start: bytes
    octets: bytes


def split(body: Iterable[bytes], quoting: Quoting = "rd", doubts: list[str] | None = None) -> Iterator[Piece]:
    """The messages in pieces; ``doubts`` takes, in words, each place where the file does not say what it is.

    A From_ line of git in a file that does not begin with one is text, and a doubt: a patch quoted, or one appended.

    Raises:
        OldHostError: the file does not begin with a From_ line.
    """
    held = bytearray(b"\n\n")  # as if an empty line stood before the file
    position, begun = 0, False
    unquote = _UNQUOTE.get(quoting)

    def piece(start: bytes, octets: bytes) -> Piece:
        """Of ``octets`` the first is the newline before them: what is a line start can be told."""
        return Piece(start, (unquote.sub(b"", octets) if unquote else octets)[1:])

    start, git = b"", False
    for chunk in _lf(body):
        held += chunk
        while (at := held.find(b"\n\nFrom ", position)) >= 0:
            line = _FROM.match(held, at + 2)
            if line is None:
                if b"\n" not in held[at + 2 : at + 2 + LINE_OCTETS] and len(held) < at + 2 + LINE_OCTETS:
                    break  # its line is not all here yet
                position = at + 1
                continue
            patch = _GIT.match(line[0]) is not None
            if begun and patch and not git:
                doubt = (
                    f"a From_ line of git ({line[0][5:17].decode()}...) is taken as text; it can begin a message too"
                )
                if doubts is not None and doubt not in doubts:
                    doubts.append(doubt)
                position = at + 1
                continue
            git = git or (patch and not begun)
            if begun:
                yield piece(start, bytes(held[: at + 1]))
            elif at:
                raise OldHostError("does not begin with a From_ line")
            start, begun, position = bytes(line[0]), True, 0
            del held[: line.end() - 1]
        if not begun and len(held) > LINE_OCTETS:
            raise OldHostError("does not begin with a From_ line")
        cut = held.rfind(b"\n", 0, max(0, len(held) - LINE_OCTETS)) if len(held) > HOLD_OCTETS else -1
        cut = len(held) - LINE_OCTETS if cut <= 0 and len(held) > HOLD_OCTETS else cut
        if cut > 0:
            yield piece(start, bytes(held[: cut + 1]))
            start = b""
            del held[:cut]
        position = 0 if cut > 0 else max(0, min(position, len(held) - 7))
    if not begun and held != b"\n\n":
        raise OldHostError("does not begin with a From_ line")
    if begun:
        last = bytes(held)
        yield piece(start, last[:-1] if last.endswith(b"\n\n") and len(last) > 2 else last)


def _lf(body: Iterable[bytes]) -> Iterator[bytes]:
    """The octets with LF line ends, where the first line ends in CR LF; else as they are."""
    first, crlf, kept = b"", None, b""
    for chunk in body:
        if crlf is None:
            first += chunk
            if b"\n" not in first and len(first) <= LINE_OCTETS:
                continue
            crlf, chunk = first[: first.find(b"\n") + 1].endswith(b"\r\n"), first
        if not crlf:
            yield chunk
            continue
        kept += chunk
        cut = len(kept) - kept.endswith(b"\r")
        yield kept[:cut].replace(b"\r\n", b"\n")
        kept = kept[cut:]
    yield first if crlf is None else kept


def count(body: Iterable[bytes], doubts: list[str] | None = None) -> int:
    """How many messages an mbox holds; ``doubts`` as for ``split``.

    Raises:
        OldHostError: the file does not begin with a From_ line.
    """
    return sum(bool(piece.start) for piece in split(body, "none", doubts))


def date_of(start: bytes, head: bytes) -> int | None:
    """When a message came, in seconds: by its From_ line, else by its first Received field; None by neither."""
    found = _DATE.search(start)
    if found and found[1] in _MONTHS:
        month, day, hour, minute, second, year = found.groups(default=b"0")
        return calendar.timegm(
            (int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), 0, 1, 0)
        )
    received = re.search(rb"^Received:(?:[^\n]|\n[ \t])*;\s*((?:[^\n;]|\n[ \t])+)$", header_of(head), re.I | re.M)
    parsed = parsedate_tz(received[1].decode("latin-1")) if received else None
    try:
        return None if parsed is None else int(mktime_tz(parsed))
    except (ValueError, OverflowError):
        return None


def header_of(head: bytes) -> bytes:
    """The header of a message."""
    return head[: head.find(b"\n\n") + 1] if b"\n\n" in head else head


def flags_of(head: bytes) -> bytes | None:
    """Maildir flags by Status and X-Status; None for a message that no client has seen, which belongs in new."""
    header = b"\n" + header_of(head)
    said = b"".join(found[1] for found in re.finditer(rb"\n(?:X-)?Status:[ \t]*([A-Za-z]*)", header, re.I))
    if not said:
        return None
    pairs = ((b"D", b"T"), (b"F", b"F"), (b"A", b"R"), (b"R", b"S"))
    return b"".join(sorted(flag for letter, flag in pairs if letter in said))


def is_folder_data(head: bytes) -> bool:
    """The message that c-client (pine, imap-uw) keeps its own notes in."""
    header = header_of(head)
    return b"FOLDER INTERNAL DATA" in header and re.search(rb"^X-IMAP", header, re.M) is not None
