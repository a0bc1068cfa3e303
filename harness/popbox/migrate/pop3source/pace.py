"""How fast a pass over all boxes may go, for all its threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from popbox.migrate.copy.limits import Limit
from popbox.migrate.copy.progress import Meter


@dataclass(slots=True)
class Pace:
    """The limits and the meter of a pass, for all threads."""

    octets: Limit
    messages: Limit
    meter: Meter
    _octets: threading.Lock = field(default_factory=threading.Lock)
    _messages: threading.Lock = field(default_factory=threading.Lock)
    _meter: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Wait until one message more may be read."""
        with self._messages:
            self.messages.take(1)

    def read(self, octets: int) -> None:
        """Wait until so many octets may be read."""
        with self._octets:
            self.octets.take(octets)

    def copied(self, octets: int) -> None:
        """One message is on its way to its place."""
        with self._meter:
            self.meter.done(octets)

    def known(self, octets: int) -> None:
        """One message is there already."""
        with self._meter:
            self.meter.known_already(1, octets)
