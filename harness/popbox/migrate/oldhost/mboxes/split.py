"""An mbox taken apart as it streams by, by a reading that a survey made; its parts are counted, octet for octet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from popbox.migrate.oldhost.mboxes.from_line import LINE_OCTETS
from popbox.migrate.oldhost.mboxes.header import HEAD_OCTETS
from popbox.migrate.oldhost.mboxes.marks import BLOCK_OCTETS, MOST_QUOTES, Mark, Marks
from popbox.migrate.oldhost.mboxes.rule import Starts
from popbox.migrate.oldhost.mboxes.survey import Reading

HOLD_OCTETS = 1 << 20  # so much of a message is held before a piece of it is handed on
KEPT_OCTETS = LINE_OCTETS + 8  # what stays held then: a quoted From_ line, and the empty line behind a message

_UNQUOTE = {"rd": re.compile(rb"(?<=\n)>(?=>{0,%d}From )" % MOST_QUOTES), "o": re.compile(rb"(?<=\n)>(?=From )")}
_UUCP = re.compile(rb"(?:>From [^\n]*remote from [^\n]*\n)+")


class Piece(NamedTuple):
    """``start``: the From_ line, where a message begins with this piece; ``octets``: what comes of the message."""

    start: bytes
    octets: bytes


@dataclass(slots=True)
class Parts:
    """The octets of a file by what they are; ``text`` is what messages got, and the last two are what they lack."""

    from_lines: int = 0
    text: int = 0
    separators: int = 0
    returns: int = 0
    quotes: int = 0

    @property
    def octets(self) -> int:
        """All of them: the file's."""
        return self.from_lines + self.text + self.separators + self.returns + self.quotes


class Split:
    """Iterate once for the pieces; afterwards ``parts`` is whole."""

    def __init__(
        self, body: Iterable[bytes], reading: Reading, block: int = BLOCK_OCTETS, head: int = HEAD_OCTETS,
        hold: int = HOLD_OCTETS,
    ) -> None:  # fmt: skip
        """``hold``: so many octets of a message come in one piece."""
        self.parts = Parts()
        self._marks, self._reading, self._hold = Marks(body, block, head), reading, hold
        self._unquote = _UNQUOTE.get(reading.quoting)
        self._held, self._start, self._skip = bytearray(), b"", 0
        self._top = self._line_start = True  # only lines of UUCP, and whole lines, were handed on of the message

    def __iter__(self) -> Iterator[Piece]:
        """The messages, each in one or more pieces, the first of which has a ``start``."""
        starts = Starts(self._reading.rule)
        for one in self._marks:
            if not isinstance(one, Mark):
                self._held += one[self._skip :]
                self._skip -= min(self._skip, len(one))
                if starts.message is not None and len(self._held) > self._hold + KEPT_OCTETS:
                    yield self._some()
                continue
            last = starts.message
            if one.start and not starts.take(one):
                continue
            if last is not None:
                yield self._rest(last, one)
            else:
                self.parts.separators += len(self._held)
                self._held.clear()
            self._begin(one.start)

    def _begin(self, start: bytes) -> None:
        self._start, self._skip = start, len(start)
        self._top = self._line_start = True
        self.parts.from_lines += len(start)

    def _some(self) -> Piece:
        """What is held, but for the last lines."""
        cut = self._held.rfind(b"\n", 0, len(self._held) - KEPT_OCTETS) + 1
        cut = cut or len(self._held) - KEPT_OCTETS
        cut -= self._held[cut - 1] == 0x0D
        return self._piece(cut)

    def _rest(self, message: Mark, mark: Mark) -> Piece:
        """The end of a message; the empty line between it and the mark is none of it."""
        counted = message.head.length is not None and message.body + message.head.length == mark.at
        alone = not mark.start and bytes(self._held[:3]) in (b"\n", b"\r\n")  # the end of an empty header
        if mark.blank and not counted and not alone and (mark.start or self._reading.rule.blank):
            line = 2 if self._held.endswith(b"\r\n") else 1
            self.parts.separators += line
            del self._held[-line:]
        return self._piece(len(self._held))

    def _piece(self, cut: int) -> Piece:
        octets = bytes(self._held[:cut])
        del self._held[:cut]
        line_start, self._line_start = self._line_start, octets.endswith(b"\n")
        if self._reading.lf:
            self.parts.returns += octets.count(b"\r\n")
            octets = octets.replace(b"\r\n", b"\n")
        octets = self._without_quotes(octets, line_start=line_start)
        self.parts.text += len(octets)
        start, self._start = self._start, b""
        return Piece(start, octets)

    def _without_quotes(self, octets: bytes, *, line_start: bool) -> bytes:
        """One ``>`` less; lines ``>From ... remote from`` directly behind the From_ line are UUCP's own, no quoting."""
        if self._unquote is None:
            return octets
        trace = _UUCP.match(octets) if self._top else None
        own = trace.end() if trace else 0
        self._top = bool(octets) and own == len(octets) and self._top
        text = (b"\n" if line_start or own else b"") + octets[own:]
        text, count = self._unquote.subn(b"", text)
        self.parts.quotes += count
        return octets[:own] + (text[1:] if line_start or own else text)
