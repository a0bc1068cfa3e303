"""The message of an open queue file, for deliveries: whole or in blocks, and its header."""

from __future__ import annotations

import os
from collections.abc import Iterator

BLOCK_OCTETS = 1 << 18


class Stored:
    """Reads with pread, so that deliveries can share a descriptor. A small message is read once."""

    def __init__(self, fd: int, offset: int) -> None:
        """``fd`` belongs to the caller; the message runs from ``offset`` to the end of the file."""
        self._fd = fd
        self._offset = offset
        self._first = os.pread(fd, BLOCK_OCTETS, offset)

    def pieces(self) -> Iterator[bytes]:
        """The message in blocks."""
        piece, offset = self._first, self._offset
        while piece:
            yield piece
            offset += len(piece)
            piece = b"" if len(piece) < BLOCK_OCTETS else os.pread(self._fd, BLOCK_OCTETS, offset)

    def has_header_line(self, line: bytes) -> bool:
        """Whether ``line``, with its LF, stands before the first empty line, octet for octet (Q-LOCAL-7)."""
        sought, carried = b"\n" + line, b"\n"
        for piece in self.pieces():
            text = carried + piece
            end = text.find(b"\n\n")
            if sought in (text if end < 0 else text[: end + 1]):
                return True
            if end >= 0:
                return False
            carried = text[-len(sought) :]
        return False
