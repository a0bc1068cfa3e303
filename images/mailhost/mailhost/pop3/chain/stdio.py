"""Blocking input and output on descriptors 0 and 1, for the programs of the chain."""

from __future__ import annotations

import os
import select


def read(most: int, idle_s: float) -> bytes:
    """What the client has sent, up to ``most`` octets; empty where it has gone, or says nothing for ``idle_s``."""
    try:
        ready, _, _ = select.select([0], [], [], idle_s)
        return os.read(0, most) if ready else b""
    except OSError:  # a reset connection; a descriptor that is closed, or no stream
        return b""


def write(data: bytes, gone: int = 0) -> None:
    """All of ``data`` to the client, in one call if it takes that; one that has gone ends the program with ``gone``."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError:
        os._exit(gone)
