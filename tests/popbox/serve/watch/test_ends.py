"""Journeys counted by the end that they came to, and the histograms, against stores that are made by hand."""

from __future__ import annotations

import pytest
from tests.popbox.serve.recorded import message
from tests.popbox.serve.watch.exposition import families

from popbox.journey.metrics import metrics
from popbox.journey.model import Disposition, Event, Kind
from popbox.journey.store import NEW, Store
from popbox.serve.live import Live
from popbox.serve.watch import ends as module
from popbox.serve.watch.ends import Ends
from popbox.serve.watch.events import Streams
from popbox.serve.watch.metrics import Counts, text

ADDRESS = "joe@a.example"


def tried(store: Store, outcome: str, *, kept: int = 0, number: str = "77", at: float = 50.0) -> int:
    """A message to one address of which one delivery is told; its id."""
    queued = {"qp": number, "number": number, "sender": "s@x.example", "bytes": 10, "uid": 888}
    [of] = store.append([Event(at, Kind.QUEUED, NEW, queued, "mail log", f"q{number}")])
    more = {"delivery": 1, "recipient": ADDRESS}
    said = {**more, "outcome": outcome, "said": "why", "kept": kept, "forwards": []}
    trying = {**more, "channel": "local", "address": ADDRESS}
    store.append([Event(at, Kind.TRYING, of, trying), Event(at, Kind.TRIED, of, said)])
    return of


def filed(store: Store, of: int, name: str, at: float) -> None:
    file = {"path": f"m/new/{name}", "maildir": "m", "size": 9, "mode": 0o600, "uid": 888}
    said = {"recipient": ADDRESS, "uidl": name, "subject": "x", "message_id": "<x@x>", **file}
    store.append([Event(at, Kind.FILED, of, said)])


def retrieved(store: Store, of: int, name: str, at: float) -> None:
    store.append([Event(at, Kind.RETRIEVED, of, {"session": "1", "login": "l", "uidl": name, "octets": 9})])


def ended(store: Store, of: int) -> None:
    store.append([Event(60.0, Kind.ENDED, of)])


def test_each_journey_is_counted_once_for_each_end_that_it_comes_to() -> None:
    with Store.in_memory() as store:
        message(store, 1, ADDRESS)
        ends = Ends(store)
        assert ends.now() == ({}, 0), "it counts from its begin"
        for number in (2, 3):
            message(store, number, ADDRESS, "ann@b.example")
        assert ends.now() == ({Disposition.ONCE: 2}, 0)
        assert ends.now() == ({Disposition.ONCE: 2}, 0)
        failed = tried(store, "failure", number="10")
        assert ends.now()[0] == {Disposition.ONCE: 2}, "the MTA has not ended it"
        ended(store, failed)
        lost = tried(store, "success", kept=1, number="11")
        ended(store, lost)
        assert ends.now()[0] == {Disposition.ONCE: 2, Disposition.BOUNCED: 1}, "a file is owed yet"
        store.append([Event(70.0, Kind.MISSING, lost, {"recipient": ADDRESS, "why": "no file", "count": 1})])
        assert ends.now()[0] == {Disposition.ONCE: 2, Disposition.BOUNCED: 1, Disposition.LOST: 1}
        twice = tried(store, "success", kept=1, number="12")
        ended(store, twice)
        filed(store, twice, "a", 50.5)
        assert ends.now()[0][Disposition.ONCE] == 3
        retrieved(store, twice, "a", 60.0)
        ended(store, twice)
        assert ends.now()[0][Disposition.ONCE] == 3, "POP3 changes no end, and the same end again is none"
        filed(store, twice, "b", 51.0)
        assert ends.now()[0] == {
            Disposition.ONCE: 3,
            Disposition.BOUNCED: 1,
            Disposition.LOST: 1,
            Disposition.DOUBLED: 1,
        }


def test_a_scrape_looks_at_so_many_events_at_most_and_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.in_memory() as store:
        ends = Ends(store)
        message(store, 1, ADDRESS)
        before = store.cursor()
        message(store, 2, ADDRESS)
        monkeypatch.setattr(module, "MOST_EVENTS", store.cursor() - before)
        assert ends.now() == ({Disposition.ONCE: 1}, before)
        message(store, 3, ADDRESS)
        assert ends.now() == ({Disposition.ONCE: 2}, before)


def test_the_histograms_are_those_of_the_store() -> None:
    """From the queue to the file, and from there to the first RETR: one a copy, one a message."""
    with Store.in_memory() as store:
        for number, (after_s, picked_s) in enumerate([(0.05, 0.4), (0.06, 1.0), (7.0, None), (-3.0, 1e7)]):
            of = tried(store, "success", kept=1, number=str(number), at=50.0)
            filed(store, of, f"f{number}", 50.0 + after_s)
            for _ in range(2 if picked_s else 0):
                retrieved(store, of, f"f{number}", 50.0 + after_s + (picked_s or 0.0))
        found = families(metrics(store))
    delivery, pickup = (found[f"popbox_{name}_seconds"].samples for name in ("delivery", "pickup"))
    buckets = {key.partition('"')[2][:-2]: value for key, value in delivery.items() if "bucket" in key}
    assert [buckets[le] for le in ("0.05", "0.1", "5", "10", "+Inf")] == [2, 3, 3, 4, 4]
    assert delivery["popbox_delivery_seconds_sum"] == pytest.approx(7.11), "a clock that runs ahead counts as none"
    buckets = {key.partition('"')[2][:-2]: value for key, value in pickup.items() if "bucket" in key}
    assert [buckets[le] for le in ("0.5", "1", "604800", "+Inf")] == [1, 2, 2, 3]
    assert pickup["popbox_pickup_seconds_sum"] == pytest.approx(1e7 + 1.4)


def test_a_scrape_is_in_prometheus_form(live: Live) -> None:
    counts, ends = Counts(live.store), Ends(live.store)
    message(live.store, 1, ADDRESS)
    found = families(text(live, Streams(live), counts, ends))
    assert found["popbox_journeys_total"].kind == "counter"
    assert len(found["popbox_journeys_total"].samples) == len(Disposition)
    assert found["popbox_journeys_total"].samples['popbox_journeys_total{end="delivered exactly once"}'] == 1
    assert {"popbox_delivery_seconds", "popbox_streams", "popbox_events_total"} <= set(found)


HEAD = "# HELP a_total x\n# TYPE a_total counter\n"
BUCKETS = '# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 3\nh_sum 1\nh_count 3\n'


@pytest.mark.parametrize(
    "wrong",
    [
        HEAD + "a_total 1",
        HEAD + "a_total 1\na_total 2\n",
        HEAD + "b_total 1\n",
        HEAD + 'a_total{x="a"b"} 1\n',
        HEAD.replace("a_total", "a") + "a 1\n",
        BUCKETS.replace("} 2", "} 4"),
        BUCKETS.replace("h_count 3", "h_count 2"),
        BUCKETS.replace("+Inf", "9"),
        HEAD + "a_total 1\n" + BUCKETS + HEAD + "a_total 1\n",
    ],
)
def test_the_reader_refuses_what_a_scrape_would(wrong: str) -> None:
    assert families(HEAD + 'a_total{x="a\\"b"} 1\n' + BUCKETS)
    with pytest.raises(AssertionError):
        families(wrong)
