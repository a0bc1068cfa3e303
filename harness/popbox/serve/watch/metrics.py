"""``GET /metrics``: what a monitoring system scrapes, in Prometheus' text form. No address and no subject is in it."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from fastapi import APIRouter, Response

from popbox.journey.metrics import metrics as histograms
from popbox.journey.model import Disposition, Kind
from popbox.journey.store import Store
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.space import Within
from popbox.serve.watch.ends import Ends
from popbox.serve.watch.events import Streams

TYPE = "text/plain; version=0.0.4; charset=utf-8"
OUTCOMES = ("success", "deferral", "failure")
Sample = tuple[str, float]  # labels in braces, or empty; value


class Counts:
    """Events since this program began, by kind and outcome: a counter that begins at 0 is what Prometheus expects."""

    def __init__(self, store: Store) -> None:
        """Count from here."""
        self._store, self._lock, self._upto = store, threading.Lock(), store.cursor()
        self._found: Counter[tuple[str, str]] = Counter()

    def now(self) -> Counter[tuple[str, str]]:
        """The counts up to the store's cursor; only what is new is read."""
        with self._lock:
            cursor = self._store.cursor()
            self._found.update(self._store.counts(self._upto, cursor))
            self._upto = cursor
            return Counter(self._found)


def by_kind(found: Mapping[tuple[str, str], int]) -> Counter[str]:
    """The counts of each kind, whatever the outcome."""
    kinds: Counter[str] = Counter()
    for (kind, _), count in found.items():
        kinds[kind] += count
    return kinds


def text(live: Live, streams: Streams, counts: Counts, ends: Ends) -> str:
    """All metrics."""
    lines = (*_lines(live, streams, counts.now()), *_ends(ends), *_volume(live.store))
    return histograms(live.store) + "".join(line + "\n" for line in lines)


def _ends(ends: Ends) -> Iterator[str]:
    found, skipped = ends.now()
    journeys = [(f'{{end="{end}"}}', found[end]) for end in Disposition]
    yield from _metric("popbox_journeys_total", "counter", "Journeys by the end that they came to.", journeys)
    what = "Events of which no end was counted: too many came between two scrapes."
    yield from _metric("popbox_events_not_judged_total", "counter", what, [("", skipped)])


def _volume(store: Store) -> Iterator[str]:
    """The room for journeys, in the names that the mail host's pages have for its volumes."""
    disk = store.disk()
    if disk is None:
        return
    found = [
        ("free_bytes", "Free on the volume.", disk.f_bavail * disk.f_frsize),
        ("size_bytes", "Size of the volume.", disk.f_blocks * disk.f_frsize),
        ("read_only", "1 where it is read-only.", int(bool(disk.f_flag & os.ST_RDONLY))),
    ]
    if disk.f_files:  # btrfs counts none
        found.append(("free_inodes", "Inodes free on the volume.", disk.f_favail))
        found.append(("inodes", "Inodes of the volume.", disk.f_files))
    for name, what, value in found:
        yield from _metric(f"popbox_volume_{name}", "gauge", what, [('{volume="journeys"}', value)])


def _lines(live: Live, streams: Streams, found: Counter[tuple[str, str]]) -> Iterator[str]:
    kinds = by_kind(found)
    events = [(f'{{kind="{kind}"}}', kinds[kind]) for kind in Kind]
    tried = [(f'{{outcome="{one}"}}', found[Kind.TRIED, one]) for one in OUTCOMES]
    yield from _metric("popbox_events_total", "counter", "Events recorded since this program began.", events)
    yield from _metric("popbox_deliveries_total", "counter", "Delivery attempts by their outcome.", tried)
    waiting, owed = live.store.open_count()
    state = live.state
    lag_s = max(0.0, time.time() - state.whole_since) if state.whole_since else float("nan")
    for name, what, value in (
        ("popbox_messages_waiting", "Messages that the MTA has not ended.", waiting),
        ("popbox_files_owed", "Files that the log tells of and that were not seen yet.", owed),
        ("popbox_store_cursor", "Seq of the last event.", live.store.cursor()),
        ("popbox_store_bytes", "Octets of the store in use.", live.store.octets()),
        ("popbox_recorder_up", "1 where the last pass ended without error.", not state.error and bool(state.ended_at)),
        ("popbox_recorder_lag_seconds", "Since the last whole pass began.", lag_s),
        ("popbox_recorder_failed_passes", "Passes in a row that failed.", state.failed),
        ("popbox_streams", "Streams of /v1/events that are open.", streams.open),
        ("popbox_waits", "Waits that are open.", live.news.open),
    ):
        yield from _metric(name, "gauge", what, [("", value)])


def _metric(name: str, kind: str, what: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{labels} {'NaN' if value != value else f'{value:.15g}'}"


def metrics(live: Live, streams: Streams, counts: Counts) -> APIRouter:
    """The endpoint. It runs in a thread."""
    router, ends = APIRouter(), Ends(live.store)

    @router.get(
        "/metrics",
        operation_id="metrics",
        response_class=Response,
        responses={
            200: {"description": "Prometheus' text form", "content": {"text/plain": {"schema": {"type": "string"}}}}
        },
    )
    def scraped(within: Within) -> Response:
        """Histograms of delivery and pickup, events, deliveries, queue, recorder, streams and waits."""
        if within:
            raise ApiError(403, "metrics are of the whole host", "ask without popbox-space")
        return Response(text(live, streams, counts, ends), media_type=TYPE)

    return router
