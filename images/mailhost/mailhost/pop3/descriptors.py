"""What a bare socket descriptor can be told by the C library only: ``os`` knows no flags and no shutdown."""

from __future__ import annotations

import ctypes
import socket

_libc = ctypes.CDLL(None)
_LAST = socket.MSG_MORE | socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


def send_last(fd: int, data: bytes) -> int:
    """Send ``data`` and the end of the connection behind it, in one packet: how many octets the peer's side takes.

    The kernel holds ``data`` back until the end follows. Not by close() alone: where the peer has sent something that
    was not read, that would throw away what is held back. When not all is taken, no end is sent.
    """
    count = max(0, int(_libc.send(fd, data, len(data), _LAST)))
    if count == len(data):
        _libc.shutdown(fd, socket.SHUT_WR)
    return count
