"""How far an import is, how fast, and how long it will take: a bar on a terminal, or a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from popbox.migrate.units import duration, size

EVERY_S = 5.0  # our choice


class Meter:
    """Counts messages and octets that are done. ``all_messages`` and ``all_octets`` are what the whole would be."""

    def __init__(
        self, all_messages: int, all_octets: int, out: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Show on ``out``: a bar where that is a terminal."""
        self.all_messages, self.all_octets = all_messages, all_octets
        self.messages = self.octets = 0  # done in this run
        self.known = self.known_octets = 0  # done by an earlier one
        self._out, self._clock = out, clock
        self.began = self._said = clock()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._out.isatty():
            self._bar = Progress(
                TextColumn("copying"),
                BarColumn(),
                MofNCompleteColumn(),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=Console(file=self._out),
            )
            self._task = self._bar.add_task("", total=self.all_octets)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the last state."""
        if self._bar is not None:
            self._bar.stop()

    def known_already(self, messages: int, octets: int) -> None:
        """So much was there from an earlier run."""
        self.known += messages
        self.known_octets += octets
        self._show()

    def done(self, octets: int) -> None:
        """One message more is in its place, of so many octets."""
        self.messages += 1
        self.octets += octets
        self._show()

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self.octets + self.known_octets)
        elif self._clock() - self._said >= EVERY_S:
            self._said = self._clock()
            self._out.write(self.line() + "\n")
            self._out.flush()

    def line(self) -> str:
        """Where we are, in one line; the time left by this run's own rate."""
        seconds = max(self._clock() - self.began, 1e-9)
        there = self.messages + self.known
        share = (self.octets + self.known_octets) / self.all_octets if self.all_octets else 1.0
        rate = f"{self.messages / seconds:.0f} messages/s, {size(self.octets / seconds)}/s"
        left = self.all_octets - self.octets - self.known_octets
        eta = f", {duration(left * seconds / self.octets)} left" if self.octets and left > 0 else ""
        return f"{there} of {self.all_messages} messages, {share:.0%}, {rate}{eta}"
