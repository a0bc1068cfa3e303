"""From a file on disk to lines on the wire, and back to sizes: pure functions over chunks of octets.

RFC 1939 §3: lines end in CR LF and a line that begins with a dot gets another dot (byte-stuffing), the first
octet of the message included. The qmail form differs as Q-POP3-13 says.
"""

from __future__ import annotations

import re

from mailhost.pop3.protocol.listing import HAS_CR, HAS_DOT, KNOWN, PARTIAL

CHUNK_OCTETS = 65_536
"""Files are read and converted in pieces of this size: larger ones leave the CPU's cache, smaller ones cost calls."""

LINE_DOT = re.compile(rb"\n\.").search
"""A dot that begins a line. ``in`` takes three times as long in CPython 3.11; this looks for the LF by memchr(3)."""


def measure(data: bytes) -> tuple[int, int]:
    """``Measure`` for a whole file at once: most messages fit into one piece, and a large box has 100,000 of them."""
    size, flags = len(data) + data.count(b"\n"), KNOWN
    if b"\r" in data:
        flags |= HAS_CR
        size -= data.count(b"\r\n")
    if b"." in data and (LINE_DOT(data) or data[0] == 46):
        flags |= HAS_DOT
    if data and not data.endswith(b"\n"):
        return size + 2, flags | PARTIAL
    return size, flags


class Measure:
    """Counts the octets a file will have as sent, dots not doubled (RFC 1939 §11), and notes what it holds."""

    __slots__ = ("_crlf", "_dot", "_last", "_lf", "_octets", "_returns")

    def __init__(self) -> None:
        self._octets = self._lf = self._crlf = 0
        self._returns = self._dot = False
        self._last = b"\n"

    def feed(self, chunk: bytes) -> None:
        """Take the next non-empty piece of the file."""
        self._octets += len(chunk)
        self._lf += chunk.count(b"\n")
        if b"\r" in chunk:
            self._returns = True
            self._crlf += chunk.count(b"\r\n")
        if self._last == b"\r" and chunk.startswith(b"\n"):
            self._crlf += 1
        if b"." in chunk and (LINE_DOT(chunk) or (self._last == b"\n" and chunk[0] == 46)):
            self._dot = True
        self._last = chunk[-1:]

    def skip(self, octets: int) -> None:
        """So many NULs more."""
        if octets:
            self._octets += octets
            self._last = b"\0"

    def result(self) -> tuple[int, int]:
        """Octets as sent, and the content flags of ``listing`` (KNOWN, HAS_CR, HAS_DOT, PARTIAL)."""
        partial = self._last != b"\n"
        size = self._octets + self._lf - self._crlf + 2 * partial
        return size, KNOWN | HAS_CR * self._returns | HAS_DOT * self._dot | PARTIAL * partial


def encoded(data: bytes, flags: int, *, qmail_quirks: bool) -> bytes:
    """``Encoder`` for a whole file at once: the body of its RETR reply, terminator included."""
    if flags == KNOWN and not qmail_quirks and data.endswith(b"\n"):  # most messages: no CR, no dot to double
        return data.replace(b"\n", b"\r\n") + b".\r\n"
    if not qmail_quirks and _may_hold(HAS_CR, flags):
        data = data.replace(b"\r\n", b"\n")
    wire = data.replace(b"\n", b"\r\n")
    if _may_hold(HAS_DOT, flags):
        wire = _stuffed(wire, starts=True)
    return wire + _end(whole_lines=not data or data.endswith(b"\n"), qmail_quirks=qmail_quirks)


def _may_hold(what: int, flags: int) -> bool:
    """Whether a file may hold what the flag ``what`` stands for; nothing is known of one that was not measured."""
    return not flags & KNOWN or bool(flags & what)


def _stuffed(wire: bytes, *, starts: bool) -> bytes:
    """Another dot before each that begins a line (RFC 1939 §3); ``starts``: the first octet begins one."""
    if b"." not in wire:  # base64 has none, and this search is the quicker by far
        return wire
    if LINE_DOT(wire):
        wire = wire.replace(b"\n.", b"\n..")
    return b"." + wire if starts and wire.startswith(b".") else wire


def _end(*, whole_lines: bool, qmail_quirks: bool) -> bytes:
    """A line end where the file lacks one, qmail's extra empty line, the dot."""
    end = b"\r\n.\r\n" if qmail_quirks else b".\r\n"
    return end if whole_lines else b"\r\n" + end


class Encoder:
    """Turns the pieces of one file into the body of a RETR or TOP reply, terminator included.

    ``qmail_quirks`` is the qmail form: every LF becomes CR LF even after a CR, and one empty line follows the message.
    Content ``flags`` save the search for what a file is known not to hold. ``lines`` is TOP's count of body lines.
    """

    __slots__ = (
        "_at_start",
        "_carry",
        "_dots",
        "_empty",
        "_in_header",
        "_last_cr",
        "_lines",
        "_qmail_quirks",
        "_returns",
        "done",
    )

    def __init__(self, flags: int, *, qmail_quirks: bool, lines: int | None = None) -> None:
        self._qmail_quirks = qmail_quirks
        self._returns = not qmail_quirks and _may_hold(HAS_CR, flags)
        self._dots = _may_hold(HAS_DOT, flags)
        self._at_start = True
        self._last_cr = False
        self._lines = lines
        self._in_header = True
        self._carry = b""
        self._empty = (b"",) if qmail_quirks else (b"", b"\r")
        self.done = False

    def feed(self, chunk: bytes) -> bytes:
        """Convert the next non-empty piece; once ``done`` is true, no more of the file is needed."""
        if self._lines is not None:
            chunk = self._cut(chunk)
            if not chunk:
                return b""
        starts = self._at_start
        self._at_start = chunk.endswith(b"\n")
        wire = self._ends(chunk) if self._returns else chunk.replace(b"\n", b"\r\n")
        return _stuffed(wire, starts=starts) if self._dots else wire

    def finish(self) -> bytes:
        """The end of the reply."""
        return _end(whole_lines=self._at_start, qmail_quirks=self._qmail_quirks)

    def _ends(self, chunk: bytes) -> bytes:
        """CR LF stays, LF alone becomes CR LF, CR alone stays; a pair may be split between two pieces."""
        split = self._last_cr and chunk.startswith(b"\n")
        self._last_cr = chunk.endswith(b"\r")
        wire = chunk.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return wire[1:] if split else wire

    def _cut(self, chunk: bytes) -> bytes:
        """The part of ``chunk`` that TOP shows; sets ``done`` when the wanted lines have all been seen."""
        start = 0
        while self._in_header or self._lines:
            end = chunk.find(b"\n", start)
            if end < 0:
                self._carry = (self._carry + chunk[start : start + 2])[:2]  # two octets tell an empty line from others
                return chunk
            if self._in_header:
                self._in_header = (self._carry + chunk[start:end]) not in self._empty
            elif self._lines:
                self._lines -= 1
            self._carry = b""
            start = end + 1
        self.done = True
        return chunk[:start]
