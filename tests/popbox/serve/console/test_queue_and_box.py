"""The queue by its next try, and a box with who opened it."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.popbox.serve.console.pages import PAGES, page
from tests.popbox.serve.console.test_console import PAGE_OCTETS
from tests.popbox.serve.mailing import box_without_tmp, cursor_of, deferred, journey_of, mail, send, until
from tests.popbox.serve.recorded import message
from tests.popbox.serve.served import octets

from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.hosts.base import Host
from popbox.journey.feeds.maildirs import Numbered
from popbox.journey.join.rules import logins
from popbox.journey.model import Event, Kind
from popbox.journey.store import NEW
from popbox.serve.console.box import boxes, heard
from popbox.serve.console.host import host_screens
from popbox.serve.live import Live


def waiting(live: Live, number: int, *to: str, said: str = "no room") -> int:
    """A message in the queue that was put off once for each recipient."""
    queued = {"qp": f"{number}", "number": f"{number}", "sender": "s@x.example", "bytes": 9, "uid": 7}
    [of] = live.store.append([Event(1000.0 - number, Kind.QUEUED, NEW, queued, "mail log", f"q{number}")])
    for one in to:
        tried = {"delivery": 1, "recipient": one, "outcome": "deferral", "said": said, "kept": None, "forwards": []}
        began = {"delivery": 1, "channel": "local", "recipient": one, "address": one}
        live.store.append([Event(1000.0, Kind.TRYING, of, began), Event(1001.0, Kind.TRIED, of, tried)])
    return of


def test_the_queue_is_by_the_next_try_with_one_row_a_message(live: Live) -> None:
    old = waiting(live, 400, "a@a.example", "b@a.example", said="first")
    message(live.store, 7, "done@a.example")
    younger, new = waiting(live, 1, "c@a.example", said="<i>longer</i>"), waiting(live, 3)
    text = page(host_screens(live, PAGES), "/queue")
    rows = re.findall(r'<tr data-journey="(\d+)">(.*?)</tr>', text, re.DOTALL)
    assert [int(of) for of, _ in rows] == [new, younger, old]
    assert "no recipient seen yet" in rows[0][1]
    assert "&lt;i&gt;longer&lt;/i&gt;" in rows[1][1]
    assert "and 1 more" in rows[2][1]
    assert "deferred, 1 time" in rows[2][1]
    assert re.findall(r'data-count="waiting"><b>(\d+)</b>', text) == ["3"]


def test_what_was_put_off_and_waits_is_counted(live: Live) -> None:
    of = [waiting(live, 3, "a@a.example", "b@a.example"), waiting(live, 2), waiting(live, 1, "c@a.example")]
    live.store.append([Event(1002.0, Kind.ENDED, of[0], {})])
    assert [live.store.deferred_count(most) for most in (1, 2, 3)] == [0, 1, 1]


def test_a_queue_of_many_is_shown_in_pages_of_100(live: Live) -> None:
    ids = [waiting(live, number, *(f"{to}@a.example" for to in range(3))) for number in range(130)]
    seen, path = list[int](), "/queue"
    while path:
        text = page(host_screens(live, PAGES), path)
        assert len(text.encode()) <= PAGE_OCTETS
        seen += [int(of) for of in re.findall(r'<tr data-journey="(\d+)">', text)]
        found = re.search(r'rel="next" href="([^"]+)"', text)
        path = found[1] if found else ""
    assert (sorted(seen), len(seen)) == (ids, 130)


def test_the_newest_sessions_and_refusals_of_a_login_are_told_and_nothing_else() -> None:
    lines: list[Any] = [
        {"time": 1, "event": "session", "login": "joe", "peer": "p", "id": "<1>", "retrieved": 2, "seconds": 0.5},
        {"time": 2, "event": "session", "login": "joey", "peer": "p"},
        {"time": 3, "event": "login refused", "login": "joe", "peer": "q", "reason": "wrong password"},
        {"time": "x", "event": "session", "login": "joe"},
        {"time": 4, "event": "retrieved", "login": "joe", "uidl": "1"},
        {"time": 5, "event": "session", "login": "jöe", "peer": "p", "why": "quit"},
    ]
    log = "\n".join([*map(json.dumps, lines), 'no JSON "login": "joe"', '["login", {"login": "joe"}]'])
    sessions, refusals = heard(log, ["joe", "jöe"])
    assert [(one.at, one.login, one.id, one.retrieved, one.took_s, one.end) for one in sessions] == [
        (5.0, "jöe", "", 0, 0.0, "quit"),
        (1.0, "joe", "<1>", 2, 0.5, ""),
    ]
    assert [(one.at, one.peer, one.why) for one in refusals] == [(3.0, "q", "wrong password")]
    many = "\n".join(json.dumps({**lines[0], "time": at}) for at in range(100))
    assert [one.at for one in heard(many, ["joe"])[0]] == [float(at) for at in range(99, 79, -1)]
    early = "\n".join(json.dumps({**lines[2], "time": at}) for at in range(30))
    assert [one.at for one in heard(f"{early}\n{many}", ["joe"])[1]] == [float(at) for at in range(29, 9, -1)]
    assert len(heard(f"{many}\n{early}", ["joe"])[0]) == 20, "what is older than a full list of the other kind"


def test_a_box_has_its_sessions_failures_and_addresses(port: int, host: Host) -> None:
    since = cursor_of(port)
    send(host, mail("Opened"), "sales@domain.com")
    journey_of(port, "subject=Opened", since)
    with Pop3(host.address("pop3")) as session, pytest.raises(Pop3Refused):
        session.login("joe", "not it <b>")

    def shown() -> Any:
        text = octets(port, "/box?maildir=popboxes/domain-com/joe/Maildir")[1].decode()
        return re.search(r"<table[^>]* data-refusals>.*?</table>", text, re.DOTALL) and text

    text = until(shown)
    assert "wrong password" in text
    assert "not it" not in text
    assert "/explain?address=joe%40domain.com" in text
    assert [one.login for one in logins(host) if one.box == "popboxes/domain-com/joe"] == ["joe"]


def test_a_full_page_of_a_box_is_small(live: Live) -> None:
    names = [f"17958{number:05}.M123456P12345Q{number}.mail.domain.com" for number in range(1, 101)]
    listed = [Numbered(n, "new", one, 10**6, 10**6, 888, 0o600, "x" * 200) for n, one in enumerate(names, 1)]
    mailroom = SimpleNamespace(page=lambda *_: (50_000, listed))
    log = "\n".join(
        json.dumps({"time": 10**9, "event": event, "login": "joe", "peer": "192.0.2.1", "id": f"<{number}.1@m>"})
        for number in range(100)
        for event in ("session", "login refused")
    )
    live.host = cast(Any, SimpleNamespace(
        cannot=lambda _: "", log_end=lambda _, octets: log[-octets:], home=lambda: "/h",
        read=lambda _: b"joe:x:popuser:/h/popboxes/d/joe\n",
    ))  # fmt: skip
    text = page(boxes(live, cast(Any, mailroom), PAGES), "/box?maildir=popboxes/d/joe/Maildir&first=1")
    assert len(text.encode()) <= PAGE_OCTETS
    assert (text.count("<tr data-uidl"), text.count("<tr data-session")) == (100, 20)
    assert 'rel="next" href="/box?maildir=popboxes%2Fd%2Fjoe%2FMaildir&amp;first=101"' in text


def test_what_is_put_off_is_in_the_queue_with_its_reason(port: int, host: Host) -> None:
    with box_without_tmp(host, "queued") as mend:
        since = cursor_of(port)
        send(host, mail("Put off"), "queued@domain.com")
        brief = deferred(port, "queued@domain.com", since)
        text = octets(port, "/queue")[1].decode()
        [row] = re.findall(rf'<tr data-journey="{brief["id"]}">.*?</tr>', text, re.DOTALL)
        assert "Temporary error on maildir delivery" in row
        mend()
        journey_of(port, "to=queued%40domain.com", since)  # else it bounces once the box is gone
