"""Rows that come by themselves: soon, none lost by an answer that fails, none by how many come at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.popbox.serve.browser.town import Town
from tests.popbox.serve.browser.watched import Watched, launched
from tests.popbox.serve.mailing import cursor_of, journey_of, mail, send, until

pytestmark = [pytest.mark.needs("Playwright", "chromium"), pytest.mark.slow]
Browse = Callable[..., Watched]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with launched() as browser:
        yield browser


SEEN = """
  window.seen = { last: 0, queued: 0, rows: {} };
  window.EventSource = class extends EventSource {
    constructor(url) {
      super(url);
      this.addEventListener("message", (event) => {
        seen.last = Number(event.lastEventId);
        if (JSON.parse(event.data).kind === "queued") seen.queued += 1;
      });
    }
  };
  new MutationObserver((all) => all.forEach((one) => one.addedNodes.forEach((row) => {
    if (row.dataset?.journey) seen.rows[row.dataset.journey] = true;
  }))).observe(document, { childList: true, subtree: true });
"""
ROW_MS = 100
TABLE = "[...document.querySelectorAll('[data-rows] tbody tr')].map((one) => one.dataset.journey)"


def test_a_row_is_asked_for_100_ms_after_its_event_and_none_is_lost_by_an_answer_that_fails(
    browse: Browse, town: Town
) -> None:
    """By the page's clock, which stands still but for ``run_for``."""
    tab = browse()
    page = tab.page
    page.add_init_script(SEEN)
    page.clock.install(time=0)
    tab.go("/")
    page.clock.pause_at(3_600)
    page.locator("[data-live]").wait_for()
    before = page.locator("[data-rows] tbody tr").count()
    for number in range(1, 4):
        send(town.host, mail(f"Row {number}"), "orders@shop.example")
        page.wait_for_function("many => seen.queued === many", arg=number)
        page.clock.run_for(ROW_MS)
        page.locator(f"[data-rows] tr:nth-child({before + number})").wait_for()
    page.route("**/rows?*", lambda route: route.abort())
    since = cursor_of(town.port)
    send(town.host, mail("Row behind a fault"), "orders@shop.example")
    journey_of(town.port, "subject=Row%20behind%20a%20fault", since)
    page.wait_for_function("upto => seen.last >= upto", arg=cursor_of(town.port))
    with page.expect_event("requestfailed", lambda one: "/rows?" in one.url):
        page.clock.run_for(ROW_MS)  # all that the stream tells of it is asked for, and not answered
    page.unroute("**/rows?*")
    until(lambda: page.clock.run_for(1_000) or page.get_by_text("Row behind a fault").count())
    assert page.locator("#news").get_attribute("aria-live") == "polite"


def test_what_is_counted_is_live_too(browse: Browse, town: Town) -> None:
    page = browse().go("/")
    page.locator("[data-live]").wait_for()
    before = int(page.locator("[data-count=bounced] b").inner_text())
    send(town.host, mail("Counted at once"), "nobody@domain.com", sender="joe@domain.com")
    page.locator("[data-count=bounced] b", has_text=re.compile(f"^{before + 1}$")).wait_for()


def told(ids: list[int], cursor: int) -> bytes:
    """The stream of events of new messages, all at once; the browser does not ask again."""
    events = (f"id: {cursor + at}\ndata: {json.dumps({'message': one})}\n\n" for at, one in enumerate(ids, 1))
    return f"retry: 600000\n\n{''.join(events)}".encode()


def rows_of(url: str, among: set[int]) -> str:
    """The answer to ``/rows``, without the ids that a filter leaves out."""
    ids = [int(one) for one in re.findall(r"\d+", url.partition("ids=")[2].partition("&")[0])]
    rows = (f'<tr data-journey="{one}"><td><a href="/">{one}</a>' for one in ids if one in among)
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


@pytest.mark.parametrize(("path", "of"), [("/", 1), ("/?domain=rare.example", 50)])
def test_each_row_is_shown_however_many_come_at_once(browse: Browse, town: Town, path: str, of: int) -> None:
    """More than a table holds; with a filter, those that fit it may be the oldest of them."""
    tab = browse()
    page, first = tab.page, 10**9
    ids = list(range(first, first + 250))
    fit = set(ids[:100:of]) if of > 1 else set(ids)
    stream = {"body": told(ids, cursor_of(town.port)), "content_type": "text/event-stream"}
    page.route("**/v1/events?*", lambda route: route.fulfill(**stream))
    page.route("**/rows?*", lambda route: route.fulfill(body=rows_of(route.request.url, fit), content_type="text/html"))
    page.add_init_script(SEEN)
    tab.go(path)
    page.locator(f"[data-rows] tbody tr:first-child[data-journey='{max(fit)}']").wait_for()
    shown = {int(one) for one in page.evaluate("Object.keys(seen.rows)")}
    assert sorted(fit - shown) == []
    table = [
        int(one)
        for one in page.evaluate(
            "[...document.querySelectorAll('[data-rows] tbody tr')].map((one) => one.dataset.journey)"
        )
    ]
    assert table[:100] == sorted(fit, reverse=True)[:100]
    assert len(table) <= 100


SAID = """
  window.EventSource = class { constructor() { window.stream = this; setTimeout(() => this.onopen()); } close() {} };
  window.tell = (id) => stream.onmessage({ data: JSON.stringify({ message: id }) });
  window.said = [];
  addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
    const text = document.getElementById("news").textContent;
    if (text) said.push([text, Date.now()]);
  }).observe(document.getElementById("news"), { childList: true }));
"""


@pytest.mark.parametrize("quiet_ms", [100, 5_100, 9_900])
def test_what_is_new_is_said_at_once_and_at_most_every_5_s(browse: Browse, town: Town, quiet_ms: int) -> None:
    """The page's clock stands still but for ``run_for``: how busy the machine is makes no difference."""
    tab = browse()
    page, first = tab.page, 10**9
    page.route("**/rows?*", lambda route: route.fulfill(body=rows_of(route.request.url, ids), content_type="text/html"))
    page.add_init_script(SAID)
    page.clock.install(time=0)
    tab.go("/")
    page.clock.pause_at(3_600)
    page.clock.run_for(quiet_ms)
    ids = set(range(first, first + 5))
    for one in sorted(ids):
        page.evaluate("tell", one)
        page.clock.run_for(700)
        page.locator(f"[data-journey='{one}']").wait_for()
    page.clock.run_for(6_000)
    (text, at), (later, then) = page.evaluate("said")
    assert (text, later) == ("1 new message", "4 new messages")
    assert 5_000 <= then - at <= 5_700  # what came in between waits no longer
