"""Pages of a large store opened again and again, several at once: what `popbox serve` holds in memory after each part.

``python -m tests.bench.serve.opens [--opens 2000] [--at-once 8] [--journeys 50000] [--folder DIR]``

Each page is another one: newest and older journeys, rows, one journey, a box with a POP3 log of 1 MiB, a search, the
queue. Exit code 1 where the last quarter holds more than GROWTH times what the second one does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from tests.bench import bench_journeys
from tests.bench.serve.clients import fetched
from tests.bench.serve.hosts import DOMAIN, Gauge, host_with, served

from popbox.clients.wire import Address
from popbox.hosts.base import Host

PARTS = 20
GROWTH = 1.05
BOX = f"popboxes/{DOMAIN.replace('.', '-')}/box0/Maildir"
SESSION = '{"time": %d, "event": "session", "login": "box0", "peer": "192.0.2.1", "id": "<%d.1@m>", "retrieved": 1}\n'


def paths(journeys: int) -> Iterator[str]:
    """Pages without end, each of another place in the store."""
    choice = random.Random(1)
    while True:
        number = choice.randrange(journeys - 100)
        of = 1 + number * 5
        rows = ",".join(str(of + more * 5) for more in range(100))
        yield from (
            f"/?before={of + 500}",
            f"/rows?ids={rows}",
            f"/journeys/{of}",
            f"/find?q=box{number % 20_000}@d.example",
        )
        yield from ("/", f"/box?maildir={quote(BOX)}", "/queue")


async def opened(at: Address, some: Iterator[str], many: int, at_once: int) -> None:
    """So many pages, each over a connection of its own, as of people who come and go."""
    left = iter(range(many))

    async def client() -> None:
        for _ in left:
            path = next(some)
            reader, writer = await asyncio.open_connection(at.host, at.port)
            with contextlib.closing(writer):
                status, body = await fetched(reader, writer, path)
            assert status in (200, 303), (path, status, body[:500])

    await asyncio.gather(*(client() for _ in range(at_once)))


def fill_log(host: Host) -> None:
    """More than one page of a box reads of it."""
    with (Path(host.home()).parent / "log" / "pop3.log").open("a") as file:
        file.write("".join(SESSION % (1_700_000_000 + one, one) for one in range(10_000)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("opens", 2_000), ("at-once", 8), ("journeys", 50_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    store = (asked.folder or Path(tempfile.mkdtemp())) / "journeys.db"
    if not store.exists():
        bench_journeys.fill(store, asked.journeys)
    with host_with(1) as (state, host):
        fill_log(host)
        with served(state, "--store", str(store)) as (at, pid):
            gauge, some, took = Gauge(pid), paths(asked.journeys), list[float]()
            print(f"load average {os.getloadavg()[0]:.1f}; {gauge.rss():.0f} MiB at first")
            print(f"MiB after each {asked.opens // PARTS} pages, {asked.at_once} at once:", end="", flush=True)
            for _ in range(PARTS):
                asyncio.run(opened(at, some, asked.opens // PARTS, asked.at_once))
                took.append(gauge.rss())
                print(f" {took[-1]:.0f}", end="", flush=True)
    early, late = (statistics.median(took[at : at + PARTS // 4]) for at in (PARTS // 4, PARTS * 3 // 4))
    print(f"\nsecond quarter {early:.1f} MiB, last {late:.1f} MiB: {late / early:.3f}")
    sys.exit(1 if late > early * GROWTH else 0)


if __name__ == "__main__":
    main()
