"""A message that is arriving."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mailhost.standin.queue.format import QueueRecord
from mailhost.system.durable import naming, shut, write_all

SPOOL_OCTETS = 1 << 18  # our choice: a message up to this is held in memory until it is complete, in each session


class Draft:
    """A message that is arriving. A write error is kept until ``Queue.commit``, because the reply is sent then."""

    def __init__(self, path: Path, number: int, head: bytes, record: QueueRecord) -> None:
        """``head``: envelope and trace fields. ``record`` holds the envelope; its size is not known yet."""
        self.path = path
        self.number = number
        self.record = record
        self.error: OSError | None = None
        self.fd = -1
        self._made = False  # there is a file at ``path``
        self._held = bytearray(head)  # not a list of pieces: a client that sends single octets would make it large
        self.octets = len(head)

    def write(self, octets: bytes) -> None:
        """Add to the message."""
        self._held += octets
        self.octets += len(octets)
        if len(self._held) > SPOOL_OCTETS:
            self.flush()

    def flush(self) -> None:
        """Write what is held to the file, which the first call makes. After an error nothing is kept."""
        if self.error is None:
            try:
                if self.fd < 0:
                    self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                    self._made = True
                with naming(self.path):
                    write_all(self.fd, self._held)
            except OSError as error:
                self.error = error
                self.discard()  # frees the space now, not only after the client has sent the rest
        self._held = bytearray()

    def seal(self) -> None:
        """Sync the file and close it. It is closed before the rename: a file system may report a failed write at close.

        Raises:
            OSError: this, or an earlier write, failed.
        """
        if self.error is not None:
            raise self.error
        with naming(self.path):
            os.fsync(self.fd)
            fd, self.fd = self.fd, -1
            os.close(fd)

    def move(self, target: Path) -> None:
        """Rename the file to its place among the accepted messages.

        Raises:
            OSError: it cannot be renamed.
        """
        self.path.rename(target)
        self._made = False

    def discard(self) -> None:
        """Remove the file. Never raises: what a failing disk does not remove is cleared at the next start."""
        self._held = bytearray()
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            shut(fd)
        if self._made:
            self._made = False
            with contextlib.suppress(OSError):
                self.path.unlink()
