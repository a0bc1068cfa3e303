"""Following a log that a command prints, whole or its end: what stands behind the last lines that we know is new."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice

from popbox.hosts.following import LogLine

KNOWN_LINES = 20  # our choice: so many lines in a row, with the MTA's numbers in them, come but once in a log
LOST = "the log command shows nothing of what it showed before"
UNSURE = "the log command shows the few lines that were known more than once, and which are new cannot be told"


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
        ends = self._behind_known(shown)
        wrong = LOST if not ends else UNSURE if len(ends) > 1 else ""
        self.gap = "" if self.gap else wrong
        if self.gap:
            return  # what the command shows now is taken by the next call
        if not ends:
            self._known = []  # from another log, or a part of it that is shown no more
        for text in shown[ends[-1] if ends else 0 :]:
            self._known = [*self._known, text][-KNOWN_LINES:]
            self._count += 1
            yield LogLine(text, str(self._count))

    def _behind_known(self, shown: list[str]) -> list[int]:
        """Where new lines may begin: once behind the lines that we know, or nowhere, where those are not there.

        Fewer lines than KNOWN_LINES may come again, but they are all that there was: the log begins with them, unless
        its begin is shown no more.
        """
        known = self._known
        few = len(known) < KNOWN_LINES
        if not known or (few and shown[: len(known)] == known):
            return [len(known)]
        ends = range(len(shown), len(known) - 1, -1)
        found = (end for end in ends if shown[end - len(known) : end] == known)
        return sorted(found) if few else list(islice(found, 1))
