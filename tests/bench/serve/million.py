"""The store of a million journeys: how long searches, pages and JSON take on the server, and how great the pages are.

``python -m tests.bench.serve.million [--journeys 1000000] [--folder DIR]``

The store is made by tests/bench/bench_journeys.py, whose searches run first; a second run with the same DIR takes it
as it is. Then ``popbox serve`` shows it, beside a host with a box of 50,000 messages and a POP3 log of 1 GiB. Each path
is asked for 20 times.
Exit code 1 where a page is greater than 60 KiB, or takes the server more than 150 ms of processor (the box: 300 ms).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.bench import bench_journeys
from tests.bench.serve.clients import fetched
from tests.bench.serve.hosts import DOMAIN, Gauge, host_with, served

from popbox.clients.wire import Address
from popbox.hosts.base import Host

TIMES, MOST_OCTETS, MOST_MS, MOST_BOX_MS = 20, 60 * 1024, 150.0, 300.0
IN_BOX, LOG_OCTETS = 50_000, 1 << 30
BOX = f"popboxes/{DOMAIN.replace('.', '-')}/box0/Maildir"


@dataclass(frozen=True, slots=True)
class Took:
    """What one path took: wall clock in ms, processor of the server in ms a request, octets of the answer."""

    path: str
    median_ms: float
    worst_ms: float
    cpu_ms: float
    octets: int

    def faults(self) -> Iterator[str]:
        """What is over the limit; JSON has no limit of size."""
        most = MOST_BOX_MS if self.path.startswith("/box") else MOST_MS
        if self.cpu_ms > most:
            yield f"{self.path}: {self.cpu_ms:.0f} ms of processor"
        if self.octets > MOST_OCTETS and not self.path.startswith("/v1/"):
            yield f"{self.path}: {self.octets} octets"


def paths(journeys: int) -> list[str]:
    """Every kind of page and of question."""
    middle = journeys // 2
    at = bench_journeys.searches(middle)
    of = 1 + middle * 5
    recipient, subject, message_id = at["recipient"].to, at["subject"].subject, at["message-id"].message_id
    uidl, queue_id = at["uidl"].uidl, at["queue id"].queue_id
    found = [f"/find?q={quote(str(one))}" for one in (recipient, subject, message_id, uidl, queue_id)]
    rows = ",".join(str(1 + number * 5) for number in range(middle, middle + 100))
    pages = [
        "/",
        f"/?before={of}",
        "/?show=queue",
        "/?domain=d.example",
        *found,
        f"/journeys/{of}",
        f"/rows?ids={rows}",
    ]
    host = ["/queue", "/accounts", f"/explain?address=box1@{DOMAIN}", f"/box?maildir={quote(BOX)}"]
    host += [f"/box?maildir={quote(BOX)}&first={IN_BOX - 99}"]
    json = [f"/v1/journeys?to={recipient}", f"/v1/journeys?since={of}&oldest_first=true", f"/v1/journeys/{of}"]
    return [*pages, *host, *json, "/v1/journeys?domain=d.example&subject=" + quote(str(subject)), "/metrics", "/readyz"]


def fill_box(host: Host) -> None:
    """A box of IN_BOX messages of 1,000 octets, without a delivery."""
    new = Path(host.home()) / BOX / "new"
    text = b"From: a@b.example\nSubject: one of many\n\n" + b"x" * 960
    for number in range(IN_BOX):
        (new / f"{1_700_000_000 + number}.{number}.mx").write_bytes(text)


def fill_log(host: Host) -> None:
    """A POP3 log of LOG_OCTETS, most of it a hole, whose last MiB are sessions of the box."""
    log = Path(host.home()).parent / "log" / "pop3.log"
    line = '{"time": %d, "event": "session", "login": "box0", "peer": "192.0.2.1", "id": "<%d.1@m>", "retrieved": 1}\n'
    with log.open("r+b") as file:
        file.seek(LOG_OCTETS)
        file.write(b"\n" + "".join(line % (1_700_000_000 + one, one) for one in range(10_000)).encode())


async def took(at: Address, gauge: Gauge, path: str) -> Took:
    """Ask for it again and again, over one connection."""
    reader, writer = await asyncio.open_connection(at.host, at.port)
    with contextlib.closing(writer):
        status, body = await fetched(reader, writer, path)
        assert status in (200, 303), (path, status, body[:500])
        times, before = [], sum(gauge.cpu_s())
        for _ in range(TIMES):
            began = time.perf_counter()
            _, body = await fetched(reader, writer, path)
            times.append((time.perf_counter() - began) * 1e3)
        cpu_ms = (sum(gauge.cpu_s()) - before) / TIMES * 1e3
    return Took(path, statistics.median(times), max(times), cpu_ms, len(body))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journeys", type=int, default=1_000_000)
    parser.add_argument("--folder", default="")
    asked = parser.parse_args()
    folder = Path(asked.folder or tempfile.mkdtemp())
    bench_journeys.run(folder / "journeys.db", asked.journeys)
    with host_with(1_000) as (state, host):
        fill_box(host)
        fill_log(host)
        with served(state, "--store", str(folder / "journeys.db")) as (at, pid):
            gauge = Gauge(pid)
            print(f"load average {os.getloadavg()[0]:.1f}; serve {gauge.rss():.0f} MiB at first")
            faults: list[str] = []
            for path in paths(asked.journeys):
                one = asyncio.run(took(at, gauge, path))
                faults += one.faults()
                name = path if len(path) < 60 else path[:57] + "..."
                times = f"median {one.median_ms:6.1f} ms, worst {one.worst_ms:6.1f} ms, processor {one.cpu_ms:6.1f} ms"
                print(f"{name:60} {times}, {one.octets / 1024:6.1f} KiB")
            print(f"serve {gauge.rss():.0f} MiB at last")
    print("\n".join(faults), file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
