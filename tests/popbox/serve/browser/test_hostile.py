"""A hundred hostile messages opened in a browser: nothing of a stranger is live, runs, or asks anything of anyone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from tests.popbox.serve.browser.infested import Infested, catcher, infested, next_host
from tests.popbox.serve.browser.watched import Watched, context, launched
from tests.popbox.serve.hostile import INPUTS
from tests.popbox.serve.mailing import until
from tests.popbox.serve.served import serving
from tests.popbox.standin import standin

from popbox.printable import UNSEEN, plain

pytestmark = [pytest.mark.needs("Playwright", "chromium"), pytest.mark.slow]
SHARES = 4  # so that a test is short on a slow machine too
NOT_THERE = "status of 404"  # of a box or a file that is not there, as it should be
CANARY = "window.ran = () => { document.documentElement.dataset.ran = 'yes'; };"
BOX = "popboxes/domain-com/ann/Maildir"
# Elements with their attributes, where links lead, and whether anything ran.
LIVE = """() => ({
  made: [...document.querySelectorAll("*")].flatMap((one) => [one.localName,
    ...one.getAttributeNames().filter((name) => name !== "data-ran").map((name) => `${one.localName} ${name}`)]),
  scripts: document.querySelectorAll("script, link, meta, iframe, form").length,
  links: [...document.querySelectorAll("[href], [src], [action]")]
    .map((one) => String(one.href || one.src || one.action)),
  heading: document.querySelector("h1")?.textContent ?? "",
  text: document.body.innerText,
  ran: "ran" in document.documentElement.dataset,
})"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infested]:
    state = tmp_path_factory.mktemp("infested")
    with standin(state / "popbox") as host, next_host() as relay:
        host.keep()
        with serving(state) as (port, _):
            yield infested(host, port, relay)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[tuple[int, list[str]]]:
    with catcher() as there:
        yield there


@pytest.fixture(scope="module")
def tab(elsewhere: tuple[int, list[str]], place: Infested) -> Iterator[Watched]:
    """Every name leads to one server, so that a request to any of them is seen."""
    with launched(
        f"--host-resolver-rules=MAP evil.example 127.0.0.1:{elsewhere[0]} , MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
    ) as browser:
        page = context(browser, base_url=place.url).new_page()
        page.add_init_script(CANARY)
        yield Watched(page, place.url)


def pages(place: Infested, number: int) -> list[str]:
    """Of one message, the one before the inputs being 0. The others' views are in ``test_console``."""
    views = ("html", "parts", "text", "links", "source", "pop3")
    views = views if number % 10 == 0 else views[number % 2 :][:1]
    return [f"/journeys/{place.ids[number]}?view={view}" for view in views]


def lists(*texts: str) -> list[str]:
    """Pages with many of them, and those that say what was asked for."""
    asked = ("find?q", "accounts?of", "explain?address", "box?maildir", "file?path", "?domain", "enter?next")
    said = [f"/{where}={quote(text)}" for text in texts for where in asked]
    return ["/", "/?show=queue", "/queue", "/accounts", f"/box?maildir={quote(BOX)}", *said]


def shown(text: str) -> str:
    return " ".join(plain(text).split())


@dataclass(slots=True)
class Harmless:
    """By kind of page: what pages are made of, and the most scripts, links, frames and forms of one."""

    made: dict[str, set[str]] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="module")
def harmless(tab: Watched, place: Infested) -> Harmless:
    seen_of = Harmless()
    for path in (*pages(place, 0), *lists("harmless")):
        seen, kind = looked(tab, path)
        seen_of.made.setdefault(kind, set()).update(seen["made"])
        seen_of.most[kind] = max(seen_of.most.get(kind, 0), seen["scripts"])
    assert [one for one in tab.told() if NOT_THERE not in one] == []
    return seen_of


def looked(tab: Watched, path: str) -> tuple[dict[str, Any], str]:
    """What is on a page, and its kind."""
    seen = tab.go(path).evaluate(LIVE)
    return seen, urlsplit(tab.page.url).path.split("/")[1]


@pytest.mark.parametrize("share", range(SHARES))
def test_no_text_of_a_stranger_is_live_on_any_page(
    tab: Watched, place: Infested, harmless: Harmless, elsewhere: tuple[int, list[str]], share: int
) -> None:
    headings = {path: shown(text) for number, text in enumerate(INPUTS, 1) for path in pages(place, number)}
    all_files = f"/journeys/{place.ids[-1]}?view=parts"
    wrong, before = [], len(elsewhere[1])
    for path in [*headings, all_files, *lists(*INPUTS[::20])][share::SHARES]:
        seen, kind = looked(tab, path)
        cut = {"p data-cut"} if path == all_files else set()
        faults = sorted(set(seen["made"]) - harmless.made[kind] - cut)
        faults += [f"leads to {one}" for one in seen["links"] if not one.startswith(place.url)]
        faults += [f"{seen['scripts']} forms, frames and scripts"] if seen["scripts"] > harmless.most[kind] else []
        faults += ["a script ran"] if seen["ran"] else []
        faults += ["an unseen character"] if UNSEEN.search(seen["text"]) else []
        heading = shown(seen["heading"])
        faults += [f"the heading is {heading}"] if heading != headings.get(path, heading) else []
        faults += ["lacks files"] if path == all_files and seen["text"].count("application/") < 20 else []
        wrong += [f"{path}: {one}" for one in faults + tab.told(of_frames=False) if NOT_THERE not in one]
    assert wrong == []
    assert elsewhere[1][before:] == [], "something was asked of elsewhere"


def test_what_would_be_live_is_seen(tab: Watched, place: Infested, elsewhere: tuple[int, list[str]]) -> None:
    """The same inputs where nothing holds them: each kind of harm is noticed."""
    seen = tab.go("/").evaluate(LIVE)
    bare = f"<body><p>{INPUTS[-4]}</p><a href=//evil.example>x</a>{''.join(INPUTS[6:20])}"
    tab.page.route("**/bare", lambda route: route.fulfill(body=bare, content_type="text/html; charset=utf-8"))
    tab.page.goto("/bare", wait_until="commit")
    tab.page.wait_for_function("() => 'ran' in document.documentElement.dataset")
    broken = tab.page.evaluate(LIVE)
    assert {"img onerror", "svg onload", "animate"} <= set(broken["made"]) - set(seen["made"])
    assert UNSEEN.search(broken["text"])
    assert "http://evil.example/" in broken["links"]
    until(lambda: tab.page.wait_for_timeout(20) or elsewhere[1])
    tab.go("/")
    assert any("foreign" in one for one in tab.told())
