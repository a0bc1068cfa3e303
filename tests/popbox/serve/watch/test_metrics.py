"""What a scrape says: of the store, of recording, of streams; and never an address."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.exposition import parsed
from tests.popbox.serve.recorded import message
from tests.popbox.serve.served import octets

from popbox.serve.live import Live
from popbox.serve.watch.ends import Ends
from popbox.serve.watch.events import Streams
from popbox.serve.watch.metrics import Counts, text

LINE = re.compile(r"# (HELP|TYPE) popbox_[a-z0-9_]+ .+|popbox_[a-z0-9_]+(\{[a-z]+=\"[^\"]*\"\})? [-+0-9.eNa]+")


def scraped(live: Live, counts: Counts, streams: Streams | None = None) -> dict[str, str]:
    said = text(live, streams or Streams(live), counts, Ends(live.store))
    assert not [line for line in said.splitlines() if not LINE.fullmatch(line)]
    assert "@" not in said
    parsed(said)
    return dict(line.rsplit(" ", 1) for line in said.splitlines() if not line.startswith("#"))


def test_events_are_counted_once_however_often_it_is_scraped(live: Live) -> None:
    message(live.store, 0, "joe@a.example")
    counts = Counts(live.store)
    assert scraped(live, counts)['popbox_events_total{kind="filed"}'] == "0", "it counts from its begin"
    message(live.store, 1, "joe@a.example", "bob@b.example")
    for _ in range(2):
        found = scraped(live, counts)
        assert found['popbox_events_total{kind="filed"}'] == "2"
        assert found['popbox_deliveries_total{outcome="success"}'] == "2"
        assert found["popbox_delivery_seconds_count"] == "3", "the store's own, over restarts"
    assert (found["popbox_messages_waiting"], found["popbox_files_owed"]) == ("0", "0")
    assert found["popbox_store_cursor"] == str(live.store.cursor())


def test_the_room_for_journeys_is_shown(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(f_bavail=3, f_frsize=4096, f_blocks=10, f_favail=5, f_files=9, f_flag=os.ST_RDONLY)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    found = {name: value for name, value in scraped(live, Counts(live.store)).items() if "volume" in name}
    assert found == {
        'popbox_volume_free_bytes{volume="journeys"}': "12288",
        'popbox_volume_size_bytes{volume="journeys"}': "40960",
        'popbox_volume_read_only{volume="journeys"}': "1",
        'popbox_volume_free_inodes{volume="journeys"}': "5",
        'popbox_volume_inodes{volume="journeys"}': "9",
    }
    disk.f_files = 0
    assert "inodes" not in str(scraped(live, Counts(live.store)))


def test_a_recorder_that_fails_is_seen(live: Live) -> None:
    counts, streams = Counts(live.store), Streams(live)
    live.end_waits()  # the thread changes the state no more
    live._thread.join()
    live.state = replace(live.state, error="the log is away", failed=3, ended_at=1.0, whole_since=None)
    streams.open = 7
    found = scraped(live, counts, streams)
    assert (found["popbox_recorder_up"], found["popbox_recorder_failed_passes"]) == ("0", "3")
    assert (found["popbox_recorder_lag_seconds"], found["popbox_streams"]) == ("NaN", "7")


def test_it_is_served(port: int) -> None:
    status, body, headers = octets(port, "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert re.search(rb"(?m)^popbox_recorder_up 1$", body)
    assert float(re.search(rb"(?m)^popbox_recorder_lag_seconds (.*)$", body)[1]) < 60  # type: ignore[index]


@pytest.mark.parametrize("path", ["/metrics/", "/v1/metrics"])
def test_nowhere_else(port: int, path: str) -> None:
    assert octets(port, path)[0] == 404
