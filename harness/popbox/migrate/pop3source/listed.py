"""What the old host listed for each message that was copied: so a later pass sees a UIDL that means another one now.

A file beside the journal of a mailbox, a line for each message: ``key size octets likeness``, the key percent-encoded,
LIST's size, the octets that RETR sent, and a hash of the message without what servers write into headers. The last line
of a key counts. Without a line, as after a loss of power, a message is taken as it is listed.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes


class Listed(NamedTuple):
    """One message as it was copied."""

    size: int
    octets: int
    likeness: str

    @property
    def short(self) -> str:
        """Why it may be cut off, empty where nothing says so: no server lists more octets than it sends."""
        return f"{self.octets} octets came where LIST says {self.size}" if self.size > self.octets else ""


class Listings:
    """All of a mailbox. Use as a context."""

    def __init__(self, journal: Path) -> None:
        """Read what is there; lines that are none, as of a killed run, do not count."""
        self._path = journal.with_name(f"{journal.name}.listed")
        self._file = -1
        self._known: dict[bytes, Listed] = {}
        for line in self._path.read_bytes().split(b"\n")[:-1] if self._path.exists() else []:
            words = line.split(b" ")
            if len(words) == 4 and words[1].isdigit() and words[2].isdigit():
                self._known[unquote_to_bytes(words[0])] = Listed(
                    int(words[1]), int(words[2]), words[3].decode("latin-1")
                )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it be on disk."""
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)

    def get(self, key: bytes) -> Listed | None:
        """What was noted of a message."""
        return self._known.get(key)

    def note(self, key: bytes, found: Listed) -> None:
        """Note it, before the message is placed.

        Raises:
            OSError: the disk refuses it.
        """
        if self._known.get(key) == found:
            return
        if self._file < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        text = f"\n{quote_from_bytes(key)} {found.size} {found.octets} {found.likeness}\n"  # ends one that was cut off
        line = memoryview(text.encode("ascii"))
        while line:
            line = line[os.write(self._file, line) :]
        self._known[key] = found
