"""The content after DATA: decodes CR LF and dots, refuses a bare LF, counts hops. Pure. Source: Q-DATA-1..8.

Works on whole blocks with bytes methods: the time depends on the number of blocks, not of octets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_HOPS = 100  # this many trace fields mean a loop (Q-DATA-8)
_END = b"\r\n.\r\n"
_HEADER_END = b"\n\r\n"
_STUFFED = re.compile(rb"\n\.(?!\r)")
_HOP = re.compile(rb"\n(?:received|delivered)", re.IGNORECASE)
_NAME_OCTETS = 16  # of an unfinished line this much is kept: more than the longest name sought


class BareLF(Exception):
    """A line feed without carriage return: the client gets 451 and is disconnected (RFC 5321 §2.3.8, Q-DATA-2)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Octets to store; ``rest`` is what follows the final dot, None while the content goes on."""

    octets: bytes
    rest: bytes | None = None


class Decoder:
    """Turns what a client sends after 354 into what is stored (RFC 5321 §4.5.2)."""

    def __init__(self) -> None:
        """Start as after a line end, because the content may begin with a dot."""
        self._held = b"\r\n"
        self._first = True
        self._hops = _Hops()

    @property
    def hops(self) -> int:
        """Trace fields seen so far in the header (RFC 5321 §6.3)."""
        return self._hops.count

    def feed(self, data: bytes) -> Piece:
        """Decode ``data``, of any length. Source: RFC 5321 §4.5.2, Q-DATA-1..4.

        Raises:
            BareLF: the content has a line feed without carriage return.
        """
        buffer = self._held + data
        end = buffer.find(_END)
        if end >= 0:
            self._held = b""
            return Piece(self._decode(buffer[: end + 2]), buffer[end + len(_END) :])
        cut = len(buffer) - _undecided(buffer)
        self._held = buffer[cut:]
        return Piece(self._decode(buffer[:cut]))

    def _decode(self, raw: bytes) -> bytes:
        text = raw.replace(b"\r\n", b"\n")
        if text.count(b"\n") != len(raw) - len(text):  # as many as there were pairs
            raise BareLF
        self._hops.feed(raw)
        text = _STUFFED.sub(b"\n", text)
        if self._first and text:
            self._first = False
            text = text[1:]  # the line end that was put before the content
        return text


class _Hops:
    """Counts trace fields in the header as sent, block by block; a name counts once its line is complete."""

    def __init__(self) -> None:
        self.count = 0
        self._ended = False
        self._unfinished = b""

    def feed(self, raw: bytes) -> None:
        if self._ended:
            return
        text = self._unfinished + raw
        end = text.find(_HEADER_END)
        self._ended = end >= 0
        last = end if self._ended else max(text.rfind(b"\n"), 0)
        self.count += len(_HOP.findall(text, 0, last))
        self._unfinished = text[last : last + _NAME_OCTETS]


def _undecided(buffer: bytes) -> int:
    """How many octets at the end may be the start of the final dot's line."""
    for length in range(min(len(buffer), len(_END) - 1), 0, -1):
        if buffer.endswith(_END[:length]):
            return length
    return 0
