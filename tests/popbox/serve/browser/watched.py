"""A page of the browser, and all that it reported: no page of the console may report anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.needs import program, require

NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"  # what a page asks of elsewhere fails at once

# Of frames in the frame, which have no address: by the frame's policy, not by that of pages, which says frame-src.
DEEPER = re.compile(r"'frame-src' was not explicitly set|in 'about:srcdoc'")
FRAME = "in the frame, "
WITHIN_MS = 60_000
AXE_BAD = ("serious", "critical")
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
WIDE_TABLES = """() => [...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.getAttribute("aria-label"))"""
WIDEST = """() => [...document.querySelectorAll("body *")].filter((one) => !one.closest(".scroll, pre, .source"))
  .map((one) => [one.getBoundingClientRect().right, one.outerHTML.slice(0, 120)]).sort((a, b) => b[0] - a[0])[0]"""


@contextmanager
def launched(names: str = NOWHERE) -> Iterator[Any]:
    """Debian's Chromium under Playwright; ``names`` says where names lead. Without its sandbox: CI is root."""
    require("Playwright", "chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox", names])
        yield browser
        browser.close()


def context(browser: Any, **more: Any) -> Any:
    """A context of a browser that awaits things for longer than by default: a busy machine is no fault of a page."""
    made = browser.new_context(**more)
    made.set_default_timeout(WITHIN_MS)
    return made


class Watched:
    """Playwright's page as ``page``. ``wrong`` is what it reported: console, faults, blocked or foreign requests."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url, self.wrong = page, url, list[str]()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._note(True, f"fault: {error}"))
        page.on(
            "requestfailed", lambda one: self._note(_failed(one), f"{self._of(one)}failed: {one.url} {one.failure}")
        )
        page.on("request", lambda one: self._note(self._foreign(one.url), f"{self._of(one)}foreign: {one.url}"))
        page.on("response", lambda one: self._note(self._foreign(one.url), f"loaded: {one.url}"))
        page.on("dialog", lambda one: (self._note(True, f"dialog: {one.message}"), one.dismiss()))

    def _note(self, bad: bool, text: str) -> None:
        if bad:
            self.wrong.append(text)

    def _foreign(self, url: str) -> bool:
        return not url.startswith((self.url, "data:"))

    def _of(self, request: Any) -> str:
        """Before what is told of a request: whether the frame sent it."""
        if request.is_navigation_request():  # it is not known yet of which frame
            return ""
        return "" if request.frame == self.page.main_frame else FRAME

    def _said(self, said: Any) -> None:
        framed = urlsplit(said.location.get("url", "")).path.startswith("/mail/") or DEEPER.search(said.text)
        self._note(said.type in ("error", "warning"), f"{FRAME if framed else ''}console: {said.text}")

    def go(self, path: str) -> Any:
        """Open a path of the server; the page when it is loaded."""
        self.page.goto(path, wait_until="load")
        return self.page

    def told(self, *, of_frames: bool = True) -> list[str]:
        """What was reported since the last call, with the page that it was reported of.

        Without ``of_frames``, not what is reported inside of the frame of HTML mail: of what it may not do.
        """
        told = [one for one in self.wrong if of_frames or not one.startswith(FRAME)]
        self.wrong = []
        return [f"{urlsplit(self.page.url).path}: {one}" for one in told]

    def sideways(self) -> list[str]:
        """What makes the page wider than the window; empty where nothing does."""
        over = self.page.evaluate(SIDEWAYS)
        return [f"{self.page.url} scrolls {over} px sideways: {self.page.evaluate(WIDEST)}"] if over > 0 else []

    def tables(self) -> list[str]:
        """Which tables are wider than the window, and scroll for themselves."""
        return [f"{self.page.url}: the table {name!r} scrolls sideways" for name in self.page.evaluate(WIDE_TABLES)]

    def axe(self, *rules: str) -> list[str]:
        """What axe finds that is serious or critical: by all of its rules, or by these."""
        from axe_playwright_python.sync_playwright import Axe

        if not self.page.evaluate("'axe' in window"):  # it is half a megabyte: once for each page
            self.page.evaluate(Axe().axe_script)
        only = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
        found = self.page.evaluate("(asked) => axe.run(document, asked)", {"resultTypes": ["violations"], **only})
        return [
            f"{self.page.url} {one['id']} ({one['impact']}): {node['html'][:160]} {node['failureSummary'][-160:]}"
            for one in found["violations"]
            if one["impact"] in AXE_BAD
            for node in one["nodes"]
        ]


def _failed(request: Any) -> bool:
    """A page that is left ends what it still loads, and its stream; that is no failure."""
    return request.failure != "net::ERR_ABORTED" and "/v1/events" not in request.url
