"""Waiting for mail over HTTP: it comes, it comes late, it is stuck, it goes elsewhere. One host for all."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from tests.popbox.serve.mailing import box_without_tmp, cursor_of, deferred, journey_of, mail, send
from tests.popbox.serve.recorded import message
from tests.popbox.serve.served import ask, serving

from popbox.hosts.base import Host
from popbox.journey.model import Event, Kind
from popbox.journey.store import Store
from popbox.serve.mail.waits import MOST_WAIT_S
from popbox.serve.mail.wanted import WantedMessages, there

WAIT = "/v1/messages/wait"


def wait(port: int, **wanted: Any) -> tuple[int, dict[str, Any]]:
    query = "&".join(f"{name.rstrip('_')}={quote(str(value))}" for name, value in wanted.items())
    status, body, headers = ask(port, f"{WAIT}?{query}")
    if status == 202:
        assert headers["location"] == body["again"]
    return status, body


def test_what_comes_later_ends_the_wait_parsed(port: int, host: Host) -> None:
    since = cursor_of(port)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait, port, to="joe@domain.com", subject="Later", since=since, within="60s")
        time.sleep(0.5)  # the wait is there first
        send(host, mail("Later"), "joe@domain.com")
        status, body = waiting.result()
    [message] = body["messages"]
    assert (status, message["codes"], body["mta"]) == (200, ["482913"], "stand-in")
    assert body["cursor"] > since
    assert wait(port, to="joe@domain.com", subject="Later", since=body["cursor"], within="0s")[0] == 408


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({"to": "SALES@domain.com"}, True),
        ({"to": "joe@domain.com"}, True),
        ({"to": "joe@domain.com", "from": "shop@client.example"}, True),
        ({"to": "joe@domain.com", "from": "Bounces@client.example"}, True),
        ({"subject": "Forwarded"}, True),
        ({"subject": "Forward", "to": "joe@domain.com"}, False),
        ({"to": "oe@domain.com"}, False),
        ({"to": "joe@domain.co"}, False),
        ({"to": "joe@domain.com", "from": "hop@client.example"}, False),
        ({"to": "joe@domain.com", "subject": "forwarded"}, False),
    ],
)
def test_addresses_and_subjects_match_whole_and_a_forward_by_each_name(
    port: int, forwarded: int, wanted: dict[str, str], fits: bool
) -> None:
    status, body = wait(port, **wanted, since=forwarded, within="0s")
    assert status == (200 if fits else 408), body


@pytest.fixture(scope="module")
def forwarded(port: int, host: Host) -> int:
    """A cursor, and behind it one message to sales that is in the box of joe."""
    since = cursor_of(port)
    send(host, mail("Forwarded", "sales@domain.com"), "sales@domain.com")
    journey_of(port, "to=sales@domain.com", since)
    return since


def test_messages_are_gone_through_without_one_missed_or_twice(port: int, host: Host) -> None:
    since, subjects = cursor_of(port), [f"Number {number}" for number in range(5)]
    for subject in subjects:
        send(host, mail(subject), "joe@domain.com")
    status, body = wait(port, to="joe@domain.com", since=since, count=2, within="25s")
    seen = body["messages"]
    assert (status, len(seen)) == (200, 2)
    while len(seen) < 5:
        status, body, _ = ask(port, f"{body['again']}&count=1".replace("count=2&", "").replace("&count=2", ""))
        assert status == 200, body
        seen += body["messages"]
    assert sorted(one["subject"] for one in seen) == subjects
    assert [one["id"] for one in seen] == sorted({one["id"] for one in seen})
    assert wait(port, to="joe@domain.com", since=since, count=6, within="0s")[1]["error"].endswith("(5 of 6 came)")


def test_the_reason_says_where_it_is_stuck(port: int, host: Host) -> None:
    since = cursor_of(port)
    status, body = wait(port, to="joe@domain.com", since=since, within="0.1s")
    assert (status, body["last_seen"]) == (408, None)
    assert body["reason"] == f"the host has taken no message for joe@domain.com since cursor {since}"
    assert "bounced" in wait(port, to="nobody@domain.com", since=since, within="0")[1]["reason"]

    send(host, mail("To another", "sales@domain.com"), "sales@domain.com")
    journey_of(port, "to=sales@domain.com", since)
    body = wait(port, to="ann@domain.com", subject="To another", since=since, within="0s")[1]
    assert "sales@domain.com, subject 'To another': delivered exactly once" in body["evidence"][0]

    body = wait(port, to="joe@domain.com", subject="Wanted", since=since, within="0s")[1]
    assert "another message came for joe@domain.com" in body["reason"]
    assert "subject 'To another'" in body["reason"]
    assert body["last_seen"]["to"] == ["sales@domain.com"]
    assert any("starting delivery" in line for line in body["log"]), body["log"]

    send(host, mail("Unknown user", "nobody@domain.com"), "nobody@domain.com", sender="joe@domain.com")
    journey_of(port, "to=nobody@domain.com", since)
    body = wait(port, to="nobody@domain.com", since=since, within="0s")[1]
    assert "a message for nobody@domain.com from <joe@domain.com> is stuck: bounced: " in body["reason"]
    assert body["last_seen"]["end"] == "bounced"


def test_a_deferral_is_the_reason(port: int, host: Host) -> None:
    since = cursor_of(port)
    with box_without_tmp(host, "slow") as mend:
        send(host, mail("Slow", "slow@domain.com"), "slow@domain.com")
        deferred(port, "slow@domain.com", since)
        status, body = wait(port, to="slow@domain.com", since=since, within="0.1s")
        assert status == 408
        assert "is stuck: deferred: " in body["reason"], body
        assert "next at 20" in body["reason"]
        mend()
        assert wait(port, to="slow@domain.com", since=since)[0] == 200


@pytest.mark.slow
def test_a_long_wait_is_answered_before_proxies_cut_it_with_the_path_to_go_on(port: int, host: Host) -> None:
    since, began = cursor_of(port), time.monotonic()
    status, body = wait(port, to="joe@domain.com", subject="Very late", since=since, within="2m")
    took_s = time.monotonic() - began
    assert (status, body["pending"], took_s < 60) == (202, True, True)
    [left] = parse_qs(urlsplit(body["again"]).query)["within"]
    assert 120 - took_s <= float(left.removesuffix("s")) <= 120 - MOST_WAIT_S, "what is left of the two minutes"
    send(host, mail("Very late"), "joe@domain.com")
    status, body, _ = ask(port, body["again"])
    assert (status, body["messages"][0]["subject"]) == (200, "Very late")


def test_the_end_of_serve_ends_waits_at_once(host: Host, tmp_path: Path) -> None:
    assert host.name == "local"
    with serving(tmp_path, "--host", "local") as (port, program):
        waiting = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        waiting.request("GET", f"{WAIT}?to=joe%40domain.com&within=60m")
        assert ask(port, "/v1/queue")[0] == 200, "asked after the wait, which is there now"
        program.terminate()
        answer = waiting.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]) == (503, "popbox serve ends"), "not 202 after 25 s"


@pytest.mark.parametrize(
    "query",
    ["", "from=a@b.example", "to=", "to=x&within=2h", "to=x&within=1e3", "to=x&within=61m", "to=x&count=0",
     "to=x&form=y", "to=x&since=x", "to=x&after=-1", "to=x&within=-1s"],
)  # fmt: skip
def test_what_is_no_question(port: int, query: str) -> None:
    assert ask(port, f"{WAIT}?{query}")[0] == 422


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """No thread of a test is left behind."""
    before = threading.active_count()
    yield
    assert threading.active_count() <= before + 1


def test_what_was_given_before_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks again and again would read all its mail each time; a late copy of an old message is new."""
    read: list[int] = []
    of = Store.events_of
    monkeypatch.setattr(Store, "events_of", lambda store, root: read.append(root) or of(store, root))
    with Store.open(tmp_path / "journeys") as store:
        ids = [message(store, number, "joe@a.example") for number in range(3)]
        first = there(store, WantedMessages(to="joe@a.example"), None)
        assert ([one.message for one in first], read) == (ids, ids)
        read.clear()
        assert there(store, WantedMessages(to="joe@a.example", after=first[-1].id), None) == []
        assert read == []
        fields = next(one.fields for one in store.events_about(ids[0]) if one.kind is Kind.FILED)
        [late] = store.append([Event(9.0, Kind.FILED, ids[0], {**fields, "uidl": "late"})])
        again = there(store, WantedMessages(to="joe@a.example", after=first[-1].id), None)
        assert ([one.id for one in again], read) == ([late], [ids[0]])
