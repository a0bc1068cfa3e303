"""Blocking input and output on descriptors 0 and 1, for the programs of the chain."""

from __future__ import annotations

import os


def write(data: bytes) -> None:
    """All of ``data`` to the client, in one call if it takes that; a client that has gone ends the program."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError:
        os._exit(0)
