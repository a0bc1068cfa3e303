"""A log that is shown whole each time that one looks, and only grows behind what was shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from popbox.hosts.following import LogLine


class ShownLog:
    """See ``hosts.following.Follower``. A line's place is its number, from 1."""

    gap = ""

    def __init__(self, show: Callable[[], str], position: str = "") -> None:
        """``show`` gives the whole log; what it raises leaves ``lines``."""
        self._show, self._count = show, int(position or 0)

    @property
    def position(self) -> str:
        """See Follower."""
        return str(self._count)

    def close(self) -> None:
        """See Follower."""

    def lines(self) -> Iterator[LogLine]:
        """See Follower."""
        shown = self._show().split("\n")[:-1]  # a last line without its end is not whole yet
        for text in shown[self._count :]:
            self._count += 1
            yield LogLine(text.removesuffix("\r"), str(self._count))
