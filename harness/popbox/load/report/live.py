"""What a load run shows while it lasts: on a terminal a few lines that are written over, elsewhere plain lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from popbox.load.books.figures import LATE_SHARE
from popbox.printable import plain
from popbox.report.terminal import Echo, Shown

if TYPE_CHECKING:
    from popbox.load.stage.processes import Tick

EACH_S = 5  # our choice: between lines in a log


class Screen(Shown):
    """Plain lines, fit for a log file."""

    def __init__(self, echo: Echo, lasts_s: float) -> None:
        """``echo`` prints one line; the load lasts for ``lasts_s``."""
        self.echo, self.lasts_s, self._shown = echo, lasts_s, 0.0

    def say(self, line: str) -> None:
        """A line that stays."""
        self.echo(f"  {plain(line)}")

    def tick(self, tick: Tick) -> None:
        """How far the load is."""
        if tick.at_s >= self._shown:
            self._shown = tick.at_s + EACH_S
            self.say(", ".join(parts(tick, self.lasts_s)))


class LiveScreen(Screen):
    """The same on a terminal: below the lines that stay, how far the load is."""

    _live: Live

    def __init__(self, echo: Echo, lasts_s: float) -> None:
        """See Screen."""
        super().__init__(echo, lasts_s)
        self._console = Console(soft_wrap=True, highlight=False)
        self._live = Live(Text(), console=self._console, refresh_per_second=4, transient=True)

    def say(self, line: str) -> None:
        """See Screen."""
        self._console.print(Text(f"  {plain(line)}"))

    def tick(self, tick: Tick) -> None:
        """See Screen."""
        at, who, mail, requests, *more = parts(tick, self.lasts_s)
        text = Text(f"  {at}, {who}\n  {mail}\n  {requests}")
        for one in more:
            text.append(f"\n  {one}", style="yellow")
        self._live.update(text)


def parts(tick: Tick, lasts_s: float) -> list[str]:
    """The parts of what is shown: time, users, mail, requests, and what is wrong now."""
    words = [
        f"{tick.at_s:.0f} of {lasts_s:.0f} s",
        f"{tick.users} users in {tick.workers} workers",
        f"accepted {tick.accepted}, seen {tick.seen}, backlog {tick.accepted - tick.seen}",
        f"{tick.requests} requests, {tick.failed} failed",
    ]
    if tick.broken:
        words.append(f"now: {tick.broken}")
    if tick.late > LATE_SHARE:
        words.append(f"the generator is late for {tick.late:.0%} of its time; above {LATE_SHARE:.0%} no run is judged")
    return words


def screen(echo: Echo, lasts_s: float) -> Screen:
    """The screen that fits the standard output."""
    return (LiveScreen if sys.stdout.isatty() else Screen)(echo, lasts_s)
