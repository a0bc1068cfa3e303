"""Histograms of the store in Prometheus' text form. They count events, and go on when old journeys are pruned."""

from __future__ import annotations

from collections.abc import Iterator

from popbox.journey.store import Store
from popbox.journey.store.project import BOUNDS, DELIVERY, PICKUP

HELP = {
    DELIVERY: "From the queue to the file in the Maildir.",
    PICKUP: "From the file in the Maildir to the first complete RETR.",
}


def metrics(store: Store) -> str:
    """``popbox_delivery_seconds`` and ``popbox_pickup_seconds``, ready for a scrape."""
    return "".join(line + "\n" for name in (DELIVERY, PICKUP) for line in _histogram(store, name))


def _histogram(store: Store, name: str) -> Iterator[str]:
    counts, total = store.histogram(name)
    yield f"# HELP {name} {HELP[name]}"
    yield f"# TYPE {name} histogram"
    running = 0
    for bound in BOUNDS[name]:
        running += counts.get(bound, 0)
        yield f'{name}_bucket{{le="{bound:g}"}} {running}'
    every = sum(counts.values())
    yield f'{name}_bucket{{le="+Inf"}} {every}'
    yield f"{name}_sum {total:.6f}"
    yield f"{name}_count {every}"
