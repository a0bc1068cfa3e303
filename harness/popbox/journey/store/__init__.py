"""The one store of events and journeys: a file of SQLite in WAL mode, written by one process."""

from __future__ import annotations

from popbox.journey.store.batch import NEW, Batch
from popbox.journey.store.reading import MOST_EVENTS
from popbox.journey.store.search import Filters
from popbox.journey.store.store import Store, StoreError

__all__ = ["MOST_EVENTS", "NEW", "Batch", "Filters", "Store", "StoreError"]
