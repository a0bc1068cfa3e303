"""Following a log that a command prints, whole or its end: what stands behind the last lines that we know is new."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from popbox.hosts.following import LogLine

KNOWN_LINES = 20  # our choice: so many lines in a row, with the MTA's numbers in them, come but once in a log
LOST = "the log command shows nothing of what it showed before"


class CommandFollower:
    """See ``hosts.following.Follower``. Each ``lines`` runs the command once."""

    def __init__(self, show: Callable[[], str], position: str = "") -> None:
        """``show`` runs the command and returns what it printed; it may raise HostError."""
        self._show, self.gap = show, ""
        self._count, self._known = json.loads(position) if position else (0, [])

    @property
    def position(self) -> str:
        """See Follower."""
        return json.dumps((self._count, self._known))

    def close(self) -> None:
        """See Follower."""

    def lines(self) -> Iterator[LogLine]:
        """See Follower."""
        shown = self._show().split("\n")[:-1]  # a last line without its end is not whole yet
        begin = self._behind_known(shown)
        self.gap = LOST if begin is None and not self.gap else ""
        if self.gap:
            return  # what the command shows now is taken by the next call
        for text in shown[begin or 0 :]:
            self._known = [*self._known, text][-KNOWN_LINES:]
            self._count += 1
            yield LogLine(text, str(self._count))

    def _behind_known(self, shown: list[str]) -> int | None:
        """Where new lines begin; None where the lines that we know are not there."""
        known = self._known
        if not known:
            return 0
        for end in range(len(shown), len(known) - 1, -1):
            if shown[end - len(known) : end] == known:
                return end
        return None
