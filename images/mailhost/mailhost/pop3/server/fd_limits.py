"""Bare descriptors: how many each use may take, and socket calls that only the C library offers."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import sys
from typing import NamedTuple

RESERVE = 128
"""Descriptors that no connection gets, or a quarter where there are few: half of them for maildrops of those that are
connected, half for the messages they ask for, the password file and the metrics port (our choice)."""

_libc = ctypes.CDLL(None)
_LAST = socket.MSG_MORE | socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class Room(NamedTuple):
    """The first numbers that are too high for a ``connection`` and for a ``maildrop``.

    A new descriptor gets the lowest free number, so its number tells how many are taken at least.
    """

    connection: int
    maildrop: int

    def left(self) -> bool:
        """Whether a connection that came now would be taken."""
        try:
            fd = os.eventfd(0, os.EFD_CLOEXEC)
        except OSError:
            return False
        os.close(fd)
        return fd < self.connection


def room() -> Room:
    """What this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sys.maxsize if soft == resource.RLIM_INFINITY else soft
    reserve = min(RESERVE, most // 4)
    return Room(most - reserve, most - reserve // 2)


def send_last(fd: int, data: bytes) -> int:
    """Send ``data`` and the end of the connection behind it, in one packet: how many octets the peer's side takes.

    The kernel holds ``data`` back until the end follows. Not by close() alone: where the peer has sent something that
    was not read, that would throw away what is held back. When not all is taken, no end is sent.
    """
    count = max(0, int(_libc.send(fd, data, len(data), _LAST)))
    if count == len(data):
        _libc.shutdown(fd, socket.SHUT_WR)
    return count
