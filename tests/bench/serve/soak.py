"""One console page, open for long, while mail arrives: memory of the server, and every row against the store.

``python -m tests.bench.serve.soak [--rate 20] [--minutes 45] [--boxes 100]``

The page is what a browser makes of it: ``/`` once, then the stream of events, and ``/rows`` each second for what came.
Exit code 1 where an event was missed or doubled, a row was not shown, or the store tells another end than delivery.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.serve.clients import Sender, Stream, fetched
from tests.bench.serve.hosts import DOMAIN, Gauge, cursor, host_with, served, shares

from popbox.clients.wire import Address

QUEUED = re.compile(rb'"kind":"queued","message":(\d+)')
MOST_ROWS = 100  # of one request
LEFT_S = 60.0
SAY_S = 300.0


@dataclass
class Page:
    """An open page: what it was told of, and what it showed."""

    at: Address
    pid: int
    new: list[int] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    rows_s: list[float] = field(default_factory=list)

    async def run(self, sender: Sender, seconds: float) -> None:
        """Until all that was sent has come."""
        self.gauge = Gauge(self.pid)
        self.stream = Stream(self.at, cursor(self.at), self._hear)
        await self.stream.open()
        tasks = [asyncio.create_task(one) for one in (self.gauge.run(), self._rows(), self._say())]
        await sender.run(seconds, connections=2)
        until = time.monotonic() + LEFT_S
        while len(self.shown) < len(sender.sent) and time.monotonic() < until:
            await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hear(self, octets: bytes, _now: float) -> None:
        self.new += [int(one) for one in QUEUED.findall(octets)]

    async def _rows(self) -> None:
        """Ask for the rows of what came, each second, as the page's script does."""
        reader, writer = await asyncio.open_connection(self.at.host, self.at.port)
        with contextlib.closing(writer):
            while True:
                ids, self.new = self.new[:MOST_ROWS], self.new[MOST_ROWS:]
                path = f"/rows?ids={','.join(map(str, ids))}" if ids else "/readyz"
                began = time.perf_counter()
                status, body = await fetched(reader, writer, path)
                if ids:
                    self.rows_s.append(time.perf_counter() - began)
                    found = {int(one) for one in re.findall(rb'data-journey="(\d+)"', body)}
                    self.shown |= found
                    if status != 200 or found != set(ids):
                        self.wrong.append(f"/rows answered {status}, of {len(ids)} it showed {len(found & set(ids))}")
                if len(self.new) < MOST_ROWS:
                    await asyncio.sleep(1)

    async def _say(self) -> None:
        while True:
            await asyncio.sleep(SAY_S)
            print(f"{time.strftime('%H:%M:%S')} {len(self.shown)} rows, {self.gauge.rss():.1f} MiB", flush=True)

    def faults(self, store: Path, sender: Sender) -> Iterator[str]:
        """What is wrong, by the store itself."""
        yield from self.wrong[:10]
        if self.stream.wrong or self.stream.ended:
            yield f"the stream: {self.stream.wrong or 'it ended'}"
        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            (last,) = db.execute("SELECT max(seq) FROM events").fetchone()
            of = {row[0] for row in db.execute("SELECT id FROM messages")}
            filed = db.execute("SELECT count(*), count(DISTINCT message) FROM events WHERE kind = 'filed'").fetchone()
            bad = db.execute(
                "SELECT kind, count(*) FROM events WHERE kind IN ('missing', 'unseen', 'alarm', 'gap', 'ambiguous')"
                " GROUP BY 1"
            ).fetchall()
        if self.stream.last != last:
            yield f"the stream is at {self.stream.last}, the store at {last}"
        if self.shown != of or len(of) != len(sender.sent):
            yield f"{len(sender.sent)} sent, {len(of)} in the store, {len(self.shown)} shown"
        if filed != (len(of), len(of)) or bad:
            yield f"files of {filed}, and {bad}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rate", 20.0), ("minutes", 45.0), ("boxes", 100.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    asked = parser.parse_args()
    boxes = int(asked.boxes)
    with host_with(boxes) as (state, host):
        store = state / "journeys.db"
        with served(state, "--store", str(store)) as (at, pid):
            sender = Sender(host.address("smtp"), lambda number: f"box{number % boxes}@{DOMAIN}", "Soak", asked.rate)
            page = Page(at, pid)
            asyncio.run(page.run(sender, asked.minutes * 60))
            print(f"load average {os.getloadavg()[0]:.1f}: {len(sender.sent)} messages in {asked.minutes:g} minutes")
            print(f"/rows: {shares(page.rows_s)}; {page.stream.octets / 2**20:.0f} MiB of events")
            print("\n".join(page.gauge.lines()))
            faults = list(page.faults(store, sender))
    print("\n".join(faults), file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
