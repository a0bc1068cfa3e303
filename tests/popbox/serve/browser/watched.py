"""A page of the browser, and all that it reported: no page of the console may report anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.needs import program, require

FLAGS = (
    "--no-sandbox",  # CI is root in a container
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # what a page asks of elsewhere fails at once
)

AXE_BAD = ("serious", "critical")
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
WIDEST = """() => [...document.querySelectorAll("body *")].filter((one) => !one.closest(".scroll, pre, .source"))
  .map((one) => [one.getBoundingClientRect().right, one.outerHTML.slice(0, 120)]).sort((a, b) => b[0] - a[0])[0]"""


@contextmanager
def launched() -> Iterator[Any]:
    """Debian's Chromium under Playwright."""
    require("Playwright", "chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program("chromium"), args=list(FLAGS))
        yield browser
        browser.close()


class Watched:
    """Playwright's page as ``page``. ``wrong`` is what it reported: console, faults, blocked or foreign requests."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.wrong = page, list[str]()
        page.on("console", lambda said: self._note(said.type in ("error", "warning"), f"console: {said.text}"))
        page.on("pageerror", lambda error: self._note(True, f"fault: {error}"))
        page.on("requestfailed", lambda one: self._note(_failed(one), f"failed: {one.url} {one.failure}"))
        page.on("request", lambda one: self._note(not one.url.startswith((url, "data:")), f"foreign: {one.url}"))
        page.on("dialog", lambda one: (self._note(True, f"dialog: {one.message}"), one.dismiss()))

    def _note(self, bad: bool, text: str) -> None:
        if bad:
            self.wrong.append(text)

    def go(self, path: str) -> Any:
        """Open a path of the server; the page when it is loaded."""
        self.page.goto(path, wait_until="load")
        return self.page

    def told(self) -> list[str]:
        """What was reported since the last call, with the page that it was reported of."""
        told, self.wrong = [f"{urlsplit(self.page.url).path}: {one}" for one in self.wrong], []
        return told

    def sideways(self) -> list[str]:
        """What makes the page wider than the window; empty where nothing does."""
        over = self.page.evaluate(SIDEWAYS)
        return [f"{self.page.url} scrolls {over} px sideways: {self.page.evaluate(WIDEST)}"] if over > 0 else []

    def axe(self, **options: Any) -> list[str]:
        """What axe finds that is serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, options=options or None).response["violations"]
        return [
            f"{self.page.url} {one['id']} ({one['impact']}): {node['html'][:160]} {node['failureSummary'][-160:]}"
            for one in found
            if one["impact"] in AXE_BAD
            for node in one["nodes"]
        ]


def _failed(request: Any) -> bool:
    """A page that is left ends what it still loads, and its stream; that is no failure."""
    return request.failure != "net::ERR_ABORTED" and "/v1/events" not in request.url
