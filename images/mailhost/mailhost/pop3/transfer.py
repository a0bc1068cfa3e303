"""One message on its way from disk to a peer, a piece at a time; the server and pop3d send by it."""

from __future__ import annotations

import os
import stat

from mailhost.pop3.content import CHUNK_OCTETS, Encoder
from mailhost.pop3.events import Transmit
from mailhost.pop3.maildrop import Maildrop


class Transfer:
    """A reply with an open message. Take ``piece`` until ``done``, then ``close``."""

    __slots__ = ("_encoder", "_fd", "_head", "_left", "done")

    def __init__(self, drop: Maildrop, event: Transmit) -> None:
        """Open the file and see whether it is still the one that was measured.

        Raises:
            OSError: it cannot be opened, or is no regular file any more.
        """
        entry = event.entry
        self._fd = drop.open(entry.path)
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise FileNotFoundError
        same = (found.st_size, found.st_mtime_ns, found.st_ino) == (entry.disk, entry.mtime_ns, entry.inode)
        if not same:
            drop.distrust()
        self._encoder = Encoder(entry.facts if same else 0, plain=drop.plain, lines=event.lines)
        self._head = event.head
        self._left = found.st_size
        self.done = False

    def piece(self) -> bytes:
        """The next octets for the peer; the first ones begin with the status line, the last ones bring the terminator.

        Raises:
            OSError: the disk failed in mid-message. A terminator would pass the rest off as complete.
        """
        encoder, left = self._encoder, self._left
        chunk = os.read(self._fd, left if left < CHUNK_OCTETS else CHUNK_OCTETS)
        self._left = left = left - len(chunk)
        head, self._head = self._head, b""
        wire = encoder.feed(chunk) if chunk else b""
        if not left or not chunk or encoder.done:
            self.done = True
            return b"".join([head, wire, encoder.finish()])
        return head + wire if head else wire

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
