"""A tab of a browser that stays open while mail comes and goes: its memory, the server's, each row against the store.

``python -m tests.bench.serve.tab [--rate 20] [--minutes 120] [--boxes 10] [--folder DIR]``, then
``... --read DIR`` says the figures of a run again, of one that was interrupted too.

Debian's Chromium has the first page open the whole time; a second tab opens a journey or a box each few minutes. Each
30 s one line of JSON goes to DIR/samples: what both tabs, the renderer, serve and the store take, and how many rows
the first tab has shown, by an observer of its own in the page, against the rows of the store. Exit code 1 where a row
was missed, mail was not fetched, or a page reported a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tests.bench.serve.chromium import Tab, memory
from tests.bench.serve.clients import Sender
from tests.bench.serve.figures import figures
from tests.bench.serve.hosts import DOMAIN, Gauge, host_with, served
from tests.popbox.serve.browser.watched import launched

from popbox.clients.pop3 import Pop3
from popbox.clients.wire import Address

PASSWORD = "testpw"
EACH_S = 30.0
OTHER_S = 180.0  # the second tab goes to its next page
LEFT_S = 120.0
SHOWN = """
  window.shown = new Set();
  new MutationObserver((all) => all.forEach((one) => one.addedNodes.forEach((row) => {
    if (row.dataset?.journey) shown.add(Number(row.dataset.journey));
  }))).observe(document, { childList: true, subtree: true });
"""
TAKEN = "(() => { const all = [...shown]; shown.clear(); return all; })()"


@dataclass
class Mail:
    """Mail that comes at a rate, and is fetched and deleted a few seconds later, each in a thread of its own."""

    sender: Sender
    pop3: Address
    boxes: int
    fetched: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def send(self, seconds: float) -> None:
        """For so long; what could not be sent in that time is not sent."""
        with contextlib.suppress(TimeoutError):
            asyncio.run(asyncio.wait_for(self.sender.run(seconds, connections=2), seconds))

    def fetch(self) -> None:
        """Each box in its turn, until nothing comes any more and all boxes are empty."""
        while self._pass() or not self.stop.is_set():
            self.stop.wait(2)

    def _pass(self) -> int:
        before = self.fetched
        for number in range(self.boxes):
            with Pop3(self.pop3, 120) as session:
                session.login(f"box{number}", PASSWORD)
                for one in range(1, session.stat()[0] + 1):
                    session.retrieve(one)
                    session.command(f"DELE {one}")
                    self.fetched += 1
                session.quit()
        return self.fetched - before


class Tabs:
    """The first page, and a second tab."""

    def __init__(self, browser: Any, url: str) -> None:
        self.url, self.now, self.other = url, Tab(browser, SHOWN), Tab(browser)
        self.now.go(f"{url}/", "document.querySelector('[data-live]:not([hidden])') !== null")
        assert self.now.evaluate("document.visibilityState") == "visible"
        self.renderer = self.now.renderer()

    def sample(self, *, collected: bool) -> dict[str, float]:
        """What both take; ``collected``: after what nothing refers to was freed."""
        if collected:
            self.now.send("HeapProfiler.collectGarbage")
        resident, own = memory(self.renderer)
        return {
            **self.now.taken(),
            **{f"other_{name}": value for name, value in self.other.taken().items()},
            "renderer": resident,
            "renderer_anon": own,
            "renderer_cpu_s": self.now.processor()[self.renderer],
        }

    def shown(self) -> list[int]:
        """Ids of rows that the first tab has shown since the last call."""
        ids: list[int] = self.now.evaluate(TAKEN)
        return ids


@dataclass
class Watch:
    """All that is noted of one run."""

    tabs: Tabs
    mail: Mail
    gauge: Gauge
    store: Path
    to: TextIO
    began: float = field(default_factory=time.monotonic)
    shown: set[int] = field(default_factory=set)
    stored: set[int] = field(default_factory=set)
    samples: int = 0

    def note(self) -> None:
        """One line. A row is missing when it was in the store at the last line and is not yet shown."""
        due = set(self.stored)
        self.shown.update(self.tabs.shown())
        missing = sorted(due - self.shown)
        own, started = self.gauge.cpu_s()
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as db:
            self.stored.update(one for (one,) in db.execute("SELECT id FROM messages"))
        sample = self.tabs.sample(collected=self.samples % 20 == 1) | {
            "at": time.time(),
            "s": time.monotonic() - self.began,
            "load": os.getloadavg()[0],
            "serve": self.gauge.rss() * 2**20,
            "serve_cpu_s": own,
            "started_cpu_s": started,
            "store": sum(one.stat().st_size for one in self.store.parent.glob(f"{self.store.name}*")),
            "sent": len(self.mail.sender.sent),
            "fetched": self.mail.fetched,
            "stored": len(self.stored),
            "shown": len(self.shown),
            "missing": len(missing),
            "collected": self.samples % 20 == 1,
        }
        self.samples += 1
        more = {"first_missing": missing[:10], "wrong": [*self.tabs.now.wrong, *self.tabs.other.wrong][-5:]}
        print(json.dumps({key: round(value, 3) for key, value in sample.items()} | more), file=self.to, flush=True)

    def run(self, tasks: list[Future[None]]) -> None:
        """Until mail was sent; then until all of it was shown."""
        others = self._others()
        next_other = self.began + OTHER_S
        while not tasks[0].done():
            time.sleep(EACH_S)
            self.note()
            if time.monotonic() >= next_other:
                next_other += OTHER_S
                self.tabs.other.go(f"{self.tabs.url}{next(others)}")
            for task in tasks:
                if task.done():
                    task.result()
        self.mail.stop.set()
        until = time.monotonic() + LEFT_S
        while time.monotonic() < until and not (tasks[1].done() and self.stored == self.shown):
            time.sleep(5)
            self.note()

    def _others(self) -> Iterator[str]:
        while True:
            yield f"/journeys/{max(self.stored, default=1)}"
            yield f"/box?maildir=popboxes/{DOMAIN.replace('.', '-')}/box1/Maildir"

    def faults(self) -> Iterator[str]:
        yield from (self.tabs.now.wrong + self.tabs.other.wrong)[:20]
        sent, fetched = len(self.mail.sender.sent), self.mail.fetched
        if missed := sorted(self.stored - self.shown):
            yield f"{len(missed)} rows of {len(self.stored)} were not shown: {missed[:20]}"
        if not sent <= len(self.stored) <= sent + 2:  # one of each connection may be cut off before its 250
            yield f"{sent} sent, {len(self.stored)} in the store"
        if fetched != len(self.stored):
            yield f"{len(self.stored)} in the store, {fetched} fetched"


def watched(rate: float, minutes: float, boxes: int, folder: Path) -> list[str]:
    """What was wrong in one run."""
    folder.mkdir(parents=True, exist_ok=True)
    with host_with(boxes) as (state, host), (folder / "samples").open("w") as to:
        store = state / "journeys.db"
        sender = Sender(host.address("smtp"), lambda number: f"box{number % boxes}@{DOMAIN}", "Tab", rate)
        mail = Mail(sender, host.address("pop3"), boxes)
        with served(state, "--store", str(store)) as (at, pid), launched() as browser, ThreadPoolExecutor(2) as threads:
            watch = Watch(Tabs(browser, f"http://{at}"), mail, Gauge(pid), store, to)
            try:
                watch.run([threads.submit(mail.send, minutes * 60), threads.submit(mail.fetch)])
            finally:
                mail.stop.set()
            return list(watch.faults())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rate", 20.0), ("minutes", 120.0), ("boxes", 10.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--folder", type=Path, default=Path("tab"), help="for the samples")
    parser.add_argument("--read", type=Path, metavar="DIR", help="the figures of a run that was made")
    asked = parser.parse_args()
    faults = [] if asked.read else watched(asked.rate, asked.minutes, int(asked.boxes), asked.folder)
    print("\n".join(figures((asked.read or asked.folder) / "samples")))
    print("\n".join(faults), file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
