"""Cuts the input into command lines: LF or CR LF ends a line, over-long ones are answered once, memory is bounded."""

from __future__ import annotations

TOO_LONG = True
"""What ``LineReader.next`` gives in place of a line that was too long."""


class LineReader:
    """Octets in, lines out. ``limit`` is the longest line in octets, its line end not counted."""

    __slots__ = ("_data", "_skipping", "_start", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._data = b""
        self._start = 0
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Take the next octets (RFC 1939 §3); what is left of earlier ones stays in front."""
        self._data = self._data[self._start :] + data if self._start < len(self._data) else data
        self._start = 0

    def next(self) -> bytes | bool | None:
        """The next line without its end (RFC 1939 §3), ``TOO_LONG``, or None when no line is complete."""
        data, start = self._data, self._start
        end = data.find(b"\n", start)
        if end < 0:
            if len(data) - start > self.limit + 1:  # one more: the CR of a line that just fits
                self._skipping = True
                self._data = b""
                self._start = 0
            return None
        self._start = end + 1
        if self._skipping:
            self._skipping = False
            return TOO_LONG
        if end > start and data[end - 1] == 13:
            end -= 1
        return TOO_LONG if end - start > self.limit else data[start:end]

    def empty(self) -> bool:
        """Whether all that was received has been read."""
        return self._start >= len(self._data)

    def only(self, data: bytes) -> bytes | None:
        """The line, if ``data`` is exactly one that fits and nothing waits before it; None if it must be fed."""
        end = len(data) - 1
        if data.find(b"\n") != end or end > self.limit or self._skipping or self._start < len(self._data):
            return None
        return data[:-2] if data[-2:] == b"\r\n" else data[:-1]

    def forget(self) -> None:
        """Drop everything that was received and not read (RFC 2595 §4)."""
        self._data = b""
        self._start = 0
        self._skipping = False
