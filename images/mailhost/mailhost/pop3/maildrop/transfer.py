"""One message on its way from disk to a peer, a piece at a time; the server and pop3d send by it."""

from __future__ import annotations

import errno
import os
import stat

from mailhost.pop3.maildrop.encoding import CHUNK_OCTETS, Encoder, encoded
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.protocol.events import Transmit
from mailhost.pop3.protocol.listing import Message


def begin(drop: Maildrop, event: Transmit) -> tuple[bytes, Transfer | None]:
    """The first octets of a reply, and what brings the others, None where these were all.

    Raises:
        FileNotFoundError: the message is not where it was listed; ``Maildrop.search`` may find it.
        OSError: it cannot be opened or read, or is no regular file any more. In all cases nothing of it has been sent.
    """
    fd = drop.open(event.message.path) if event.fd < 0 else event.fd
    try:
        if event.refusal is not None and _eight_bit_header(fd):
            os.close(fd)
            return event.refusal.data, None
        data = _whole(fd, drop, event)
    except OSError:
        os.close(fd)
        raise
    if data is not None:
        os.close(fd)
        return data, None
    transfer = Transfer(fd, drop, event)
    try:
        data = transfer.piece()
    except OSError:
        transfer.close()
        raise
    if not transfer.done:
        return data, transfer
    transfer.close()
    return data, None


def _eight_bit_header(fd: int) -> bool:
    """Whether the header has octets beyond US-ASCII; read apart from what is sent.

    Raises:
        OSError: it cannot be read.
    """
    at, last = 0, b""
    while chunk := os.pread(fd, CHUNK_OCTETS, at):
        text = (last + chunk).replace(b"\r\n", b"\n")
        header, end, _ = text.partition(b"\n\n") if at or not text.startswith(b"\n") else (b"", b"\n", b"")
        if not header.isascii():
            return True
        if end:
            return False
        at, last = at + len(chunk), text[-2:]
    return False


def _whole(fd: int, drop: Maildrop, event: Transmit) -> bytes | None:
    """A reply in one piece; None where that takes a ``Transfer``: TOP, a large message, one that is not as measured.

    Raises:
        OSError: it cannot be read.
    """
    message = event.message
    if event.lines is not None or message.disk > CHUNK_OCTETS or not _same(os.fstat(fd), message):
        return None
    data = os.read(fd, message.disk)
    if len(data) != message.disk:  # cut short this very moment
        os.lseek(fd, 0, os.SEEK_SET)
        return None
    return event.head + encoded(data, message.content_flags, qmail_quirks=drop.qmail_quirks)


def _regular(fd: int) -> os.stat_result:
    """What fstat says.

    Raises:
        OSError: it cannot be told, or is no regular file.
    """
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    return found


def _same(found: os.stat_result, message: Message) -> bool:
    """Whether a file is the one that was measured."""
    return (
        found.st_mtime_ns == message.mtime_ns
        and found.st_ino == message.inode
        and found.st_size == message.disk
        and stat.S_ISREG(found.st_mode)
    )


class Transfer:
    """A reply with an open message. Take ``piece`` until ``done``, then ``close``."""

    __slots__ = ("_encoder", "_fd", "_found", "_head", "_left", "done")

    def __init__(self, fd: int, drop: Maildrop, event: Transmit) -> None:
        """See whether ``fd``, which is closed with this, is still the file that was measured.

        Raises:
            OSError: it is no regular file any more.
        """
        message = event.message
        self._fd = fd
        try:
            found = _regular(fd)
        except OSError:
            self.close()
            raise
        self._found = found.st_size, found.st_mtime_ns
        same = _same(found, message)
        if not same:
            drop.distrust()
        self._encoder = Encoder(message.content_flags if same else 0, qmail_quirks=drop.qmail_quirks, lines=event.lines)
        self._head = event.head
        self._left = found.st_size
        self.done = False

    def piece(self) -> bytes:
        """The next octets for the peer; the first ones begin with the status line, the last ones bring the terminator.

        Raises:
            OSError: the disk failed in mid-message, or the file was changed. A terminator would pass what was sent
                off as the message.
        """
        encoder, left = self._encoder, self._left
        chunk = os.read(self._fd, left if left < CHUNK_OCTETS else CHUNK_OCTETS)
        if left and not chunk:
            raise OSError(errno.EIO, "the message has become shorter")
        self._left = left = left - len(chunk)
        head, self._head = self._head, b""
        wire = encoder.feed(chunk) if chunk else b""
        if not left or encoder.done:
            self._still_the_same()
            self.done = True
            return b"".join([head, wire, encoder.finish()])
        return head + wire if head else wire

    def _still_the_same(self) -> None:
        found = os.fstat(self._fd)
        if (found.st_size, found.st_mtime_ns) != self._found:
            raise OSError(errno.EIO, "the message was changed while it was sent")

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
