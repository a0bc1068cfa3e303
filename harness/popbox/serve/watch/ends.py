"""How journeys ended, counted: each once for each end that it comes to, as ``/v1/journeys`` tells it."""

from __future__ import annotations

import threading
from collections import Counter

from popbox.journey.model import Disposition
from popbox.journey.store import Store

MOST_EVENTS = 60_000  # our choice: of one scrape; those of 10,000 messages, some 2 s


class Ends:
    """Since this program began. A journey whose end changes later, say to ``doubled``, is counted at both.

    Nothing is kept of a journey: its end at the last look is derived again, from the events that there were by then.
    """

    def __init__(self, store: Store) -> None:
        """Count from here."""
        self._store, self._lock, self._upto = store, threading.Lock(), store.cursor()
        self._found: Counter[Disposition] = Counter()
        self._skipped = 0

    def now(self) -> tuple[Counter[Disposition], int]:
        """The counts up to the store's cursor, and how many events were too many to be looked at."""
        with self._lock:
            cursor = self._store.cursor()
            after = max(self._upto, cursor - MOST_EVENTS)
            self._skipped += after - self._upto
            for root in self._store.settling(after, cursor):
                end = self._end(root, cursor)
                if end is not None and end is not self._end(root, after):
                    self._found[end] += 1
            self._upto = cursor
            return Counter(self._found), self._skipped

    def _end(self, root: int, upto: int) -> Disposition | None:
        """How the journey had ended by a cursor; None where it had not."""
        journey = self._store.journey(root, upto) if root <= upto else None
        return journey.end if journey and journey.ended else None
