"""What a program on an old host says: bounded in time, and known to be whole or not."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from typing import IO

from popbox.errors import HostError
from popbox.migrate.oldhost.tree import CHUNK_OCTETS

SILENCE_S = 60.0  # our choice: longer than a slow disk needs to answer
TAIL_OCTETS = 1_024  # two records of zeros end an archive


class Answer:
    """A pipe of which each read must bring something within SILENCE_S; ``ended`` is called at its end, and may raise.

    ``tail`` is the last block that came: an archive ends in zeros.
    """

    def __init__(self, pipe: IO[bytes], name: str, ended: Callable[[], None]) -> None:
        self._pipe, self._name, self._ended = pipe, name, ended
        self.tail = b""
        self._ready = selectors.DefaultSelector()
        self._ready.register(pipe, selectors.EVENT_READ)

    def read(self, octets: int = CHUNK_OCTETS) -> bytes:
        """So many octets, fewer only at the end.

        Raises:
            HostError: the command fails or is silent for too long.
        """
        parts = []
        while octets > 0:
            if not self._ready.select(SILENCE_S):
                raise HostError(f"{self._name}: nothing came for {SILENCE_S:.0f} s")
            part = os.read(self._pipe.fileno(), octets)
            if not part:
                self._ended()
                break
            parts.append(part)
            self.tail = part[-TAIL_OCTETS:] if len(part) >= TAIL_OCTETS else (self.tail + part)[-TAIL_OCTETS:]
            octets -= len(part)
        return b"".join(parts)
