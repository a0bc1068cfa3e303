"""A stream of octets in which each line that could begin a message is marked. Memory: one block and one header.

What is handed on is the file itself, octet for octet, with a `Mark` before each such line; where the blocks are cut
makes no difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from popbox.migrate.oldhost.mboxes.from_line import LINE_OCTETS, Kind, parse
from popbox.migrate.oldhost.mboxes.header import HEAD_OCTETS, Head, examine

BLOCK_OCTETS = 256 << 10
BACK_OCTETS = 1_024  # what stays before a place that is not yet searched
MOST_QUOTES = 998  # our choice: more > before a From_ line are no quoting
_HEAD_END = re.compile(rb"\n(?:\r?\n|From )")  # no header goes past a From_ line: so no octet is looked at often
_UUCP = re.compile(rb"From [^\n]*remote from ")


class Mark(NamedTuple):
    """A line ``From ...``; offsets are octets of the file, ``line`` counts from 1.

    ``text_end``: behind the last octet before it that is no line end; ``ends``: the line ends in between. ``blank``: an
    empty line, or nothing, is before it. ``nul``: a NUL octet is. ``returns`` and ``quotes``: how many CR LF and
    quoted From_ lines are before ``at``. The end of a file is a Mark too, with an empty ``start``.
    """

    at: int
    line: int
    start: bytes
    kind: Kind
    blank: bool
    nul: bool
    text_end: int
    ends: int
    returns: int
    quotes: int
    head: Head

    @property
    def body(self) -> int:
        """Where the body begins."""
        return self.at + len(self.start) + self.head.octets

    @property
    def body_returns(self) -> int:
        """CR LF before the body."""
        return self.returns + self.start.endswith(b"\r\n") + self.head.returns

    @property
    def body_quotes(self) -> int:
        """Quoted From_ lines before the body."""
        return self.quotes + self.head.quotes


class Marks:
    """Iterate once; the counts are of what was handed on so far, at the end of the whole file.

    ``quoted``: lines ``>From ``; ``doubled``: ``>>From `` and more; ``plain``: lines ``From `` that are not marked.
    """

    def __init__(self, body: Iterable[bytes], block: int = BLOCK_OCTETS, head: int = HEAD_OCTETS) -> None:
        """``block``, ``head``: how much is read at once, and looked at behind a From_ line."""
        self._body, self._block, self._head = iter(body), block, head
        self._buffer, self._base, self._counted = b"", 0, 0
        self._text_end = self._ends = 0  # before the buffer: behind the last text, and the line ends that follow it
        self.lines = self.returns = self.nuls = self.quoted = self.doubled = self.plain = 0

    def __iter__(self) -> Iterator[Mark | bytes]:
        """The file's octets, in order, and the marks among them; the last one is that of its end."""
        position, ended = 0, False
        while not ended:
            fresh = self._read()
            ended = not fresh
            self._buffer += fresh
            seen = len(self._buffer) if ended else len(self._buffer) - LINE_OCTETS - self._head
            sent = 0
            while (at := self._buffer.find(b"From ", position)) >= 0 and at < seen:
                position = at + 5
                mark = self._mark(at, ended)
                if mark is not None:
                    if at > sent:
                        yield self._buffer[sent:at]
                    yield mark
                    sent = at
            position = max(position, len(self._buffer) - 4) if at < 0 else at
            cut = len(self._buffer) if ended else max(sent, position - BACK_OCTETS)
            cut -= not ended and cut > sent and self._buffer[cut - 1 : cut] == b"\r"
            if cut > sent:
                yield self._buffer[sent:cut]
            position -= cut
            self._drop(cut)
        nothing = Head("empty", 0, None, False, 0, 0)
        yield self._at(0, b"", "dated", nothing, blank=self._ends > 1, nul=False)

    def _read(self) -> bytes:
        parts, octets = [], 0
        for chunk in self._body:
            parts.append(chunk)
            octets += len(chunk)
            if octets >= self._block:
                break
        return b"".join(parts)

    def _count(self, upto: int) -> None:
        """Count what is before an offset of the buffer, which is not in the midst of a CR LF."""
        self.lines += self._buffer.count(b"\n", self._counted, upto)
        self.returns += self._buffer.count(b"\r\n", self._counted, upto)
        self.nuls += self._buffer.count(b"\0", self._counted, upto)
        self._counted = upto

    def _drop(self, cut: int) -> None:
        self._count(cut)
        self._text_end, self._ends = self._text_before(cut)
        self._buffer, self._base, self._counted = self._buffer[cut:], self._base + cut, 0

    def _text_before(self, at: int) -> tuple[int, int]:
        """Where the last text before an offset of the buffer ends, in the file, and how many line ends follow it."""
        low = at
        while low > 0:
            high, low = low, max(0, low - 64)
            text = self._buffer[low:high].rstrip(b"\r\n")
            if text:
                return self._base + low + len(text), self._buffer.count(b"\n", low + len(text), at)
        return self._text_end, self._ends + self._buffer.count(b"\n", 0, at)

    def _mark(self, at: int, ended: bool) -> Mark | None:
        """The mark of ``From `` at an offset of the buffer; None where no message can begin."""
        before = self._buffer[max(0, at - BACK_OCTETS) : at]
        bare = before.rstrip(b">")
        top = self._base + at == len(before)  # it is all that the file has before it
        if not bare.endswith((b"\n", b"\0")) and (bare or not top):
            return None
        if len(before) > len(bare):
            self._quoted(at, len(before) - len(bare))
            return None
        stop = self._buffer.find(b"\n", at, at + LINE_OCTETS) + 1
        stop = stop or (len(self._buffer) if ended and len(self._buffer) - at < LINE_OCTETS else 0)
        start = self._buffer[at:stop]
        line = parse(start) if start else None
        blank = bare.endswith((b"\n\n", b"\n\r\n")) or (top and bare in (b"", b"\n", b"\r\n"))
        nul = bare.endswith(b"\0")
        if nul and (line is None or line.kind != "dated"):
            return None
        head = examine(self._buffer[stop : self._head_end(stop)]) if line or blank else None
        if head is None or (line is None and not (start and head.kind == "known")):
            self.plain += 1
            return None
        self._count(at)
        return self._at(at, start, line.kind if line else "undated", head, blank=blank, nul=nul)

    def _head_end(self, stop: int) -> int:
        found = _HEAD_END.search(self._buffer, max(0, stop - 1), stop + self._head)
        if found is None:
            return stop + self._head
        return found.start() + 1 if found[0].endswith(b" ") else found.end()

    def _at(self, at: int, start: bytes, kind: Kind, head: Head, *, blank: bool, nul: bool) -> Mark:
        """A mark at an offset of the buffer up to which all is counted."""
        text_end, ends = self._text_before(at)
        return Mark(
            at=self._base + at, line=self.lines + 1, start=start, kind=kind, blank=blank, nul=nul, text_end=text_end,
            ends=ends, returns=self.returns, quotes=self.quoted + self.doubled, head=head,
        )  # fmt: skip

    def _quoted(self, at: int, quotes: int) -> None:
        if quotes == 1 and not _UUCP.match(self._buffer, at, at + LINE_OCTETS):
            self.quoted += 1
        elif 1 < quotes <= MOST_QUOTES:
            self.doubled += 1
