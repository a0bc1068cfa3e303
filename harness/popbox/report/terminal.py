"""What is shown on the standard output while a block of code runs."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.live import Live

Echo = Callable[[str], None]
"""Prints one line of plain text."""


class Shown:
    """As a context manager: ``_live``, the part that is written over, is there from its begin to its end."""

    _live: Live | None = None  # none in a log file

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._live:
            self._live.stop()
