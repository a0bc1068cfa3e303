"""The log on stderr, in qmail-send's line forms, so that one reader understands both MTAs. Source: Q-SEND-17."""

from __future__ import annotations

import asyncio
import os

from mailhost.standin.header_fields import logged


class Log:
    """Writes the lines of one round of the event loop together; without a running loop it writes each at once."""

    def __init__(self, fd: int = 2) -> None:
        """``fd`` stays open; a log that cannot be written does not stop mail."""
        self._fd = fd
        self._lines: list[str] = []

    def line(self, *parts: str | int | bytes) -> None:
        """Add one line; octets are made safe, text and numbers are kept as they are."""
        text = "".join([logged(part) if isinstance(part, bytes) else str(part) for part in parts])
        self._lines.append(text + "\n")
        if len(self._lines) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            self.flush()

    def flush(self) -> None:
        """Write the collected lines."""
        data = "".join(self._lines).encode("utf-8", "replace")
        self._lines.clear()
        try:
            os.write(self._fd, data)
        except OSError:
            return
