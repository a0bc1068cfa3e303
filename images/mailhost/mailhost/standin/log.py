"""The log on stderr, in qmail-send's line forms so that one reader serves both MTAs. Source: Q-SEND-17."""

from __future__ import annotations

import asyncio
import os

from mailhost.standin.header_fields import logged


class Log:
    """Lines of one round of the event loop leave in one write; without a running loop each leaves at once."""

    def __init__(self, fd: int = 2) -> None:
        """``fd`` stays open; a log that cannot be written stops nobody's mail."""
        self._fd = fd
        self._lines: list[str] = []

    def line(self, *parts: str | int | bytes) -> None:
        """One line; octets are made safe, text and numbers stand as they are."""
        text = "".join([logged(part) if isinstance(part, bytes) else str(part) for part in parts])
        self._lines.append(text + "\n")
        if len(self._lines) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected."""
        data = "".join(self._lines).encode("utf-8", "replace")
        self._lines.clear()
        try:
            os.write(self._fd, data)
        except OSError:
            return
