"""A thousand waiting clients and a hundred streams, while a hundred messages arrive a second.

``python -m tests.bench.serve.load [--waits 1000] [--streams 100] [--rate 100] [--seconds 60]``

Each client waits for mail to its own address. It prints how long it took from the file in the Maildir, and from SMTP's
250, to the wait's answer, of the messages after the first 3 s (the host's programs start then). Exit code 1 where a
wait was not answered with exactly its messages, or a stream missed or doubled an event.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.bench.serve.clients import Sender, Stream, Waiter
from tests.bench.serve.hosts import DOMAIN, Gauge, cursor, host_with, served, shares

from popbox.clients.wire import Address

WARM_S = 3.0  # the first explain and the first look into a Maildir start programs
LEFT_S = 120.0  # for what is on its way when the sender ends
FILED = re.compile(rb'"at":([0-9.]+),"kind":"filed"')


@dataclass
class Load:
    """One run: what is asked, and what came of it."""

    at: Address
    waits: int
    streams: int
    sender: Sender
    pid: int
    waiters: list[Waiter] = field(default_factory=list)
    opened: list[Stream] = field(default_factory=list)
    shown: list[tuple[float, float]] = field(default_factory=list)  # when a file was written, and seen in a stream

    async def run(self, seconds: float) -> None:
        """Open all, send for so long, and wait until each message was answered."""
        since = cursor(self.at)
        self.gauge = Gauge(self.pid)
        self.opened = [Stream(self.at, since, None if number else self._hear) for number in range(self.streams)]
        self.waiters = [Waiter(self.at, self.sender.address(number), since) for number in range(self.waits)]
        for stream in self.opened:
            await stream.open()
        tasks = [asyncio.create_task(one.run()) for one in (*self.waiters, self.gauge)]
        try:
            await asyncio.sleep(2)
            await self.sender.run(seconds)
            await self._all()
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if not isinstance(result, asyncio.CancelledError):
                    print(f"a client ended: {result!r}", file=sys.stderr)

    def _hear(self, octets: bytes, now: float) -> None:
        self.shown += [(float(one), now) for one in FILED.findall(octets)]

    async def _all(self) -> None:
        """Until every message was answered, and every stream is at the store's last event."""
        until = time.monotonic() + LEFT_S
        while time.monotonic() < until:
            answered = sum(len(one.got) for one in self.waiters) >= len(self.sender.sent)
            if answered and {one.last for one in self.opened} <= {await asyncio.to_thread(cursor, self.at)}:
                return
            await asyncio.sleep(0.1)

    def faults(self) -> Iterator[str]:
        """What is wrong, one line each; none where each wait had exactly its messages and each stream each event."""
        for waiter in self.waiters:
            wanted = Counter(subject for subject, (to, _) in self.sender.sent.items() if to == waiter.to)
            had = Counter(one.subject for one in waiter.got if one.to == waiter.to)
            foreign = [one for one in waiter.got if one.to != waiter.to]
            if had != wanted or foreign:
                yield f"{waiter.to}: missing {wanted - had}, too many {had - wanted}, of others {foreign}"
        for number, stream in enumerate(self.opened):
            if stream.wrong or stream.ended:
                yield f"stream {number}: {stream.wrong or 'it ended'}"
        if len({one.last for one in self.opened}) > 1:
            yield f"streams end at {sorted({one.last for one in self.opened})}"

    def lines(self) -> Iterator[str]:
        """What was measured."""
        sent = self.sender.sent
        begun = min((at for _, at in sent.values()), default=0.0) + WARM_S
        got = [one for waiter in self.waiters for one in waiter.got if sent[one.subject][1] >= begun]
        first = [one for waiter in self.waiters for one in waiter.got if sent[one.subject][1] < begun]
        yield f"file -> answer: {shares([one.answered_at - one.filed_at for one in got])}"
        yield f"250 -> answer:  {shares([one.answered_at - sent[one.subject][1] for one in got])}"
        yield f"file -> stream: {shares([now - at for at, now in self.shown if at >= begun])}"
        yield f"file -> answer in the first {WARM_S:g} s: {shares([one.answered_at - one.filed_at for one in first])}"
        octets = sum(one.octets for one in self.opened)
        yield f"sent at most {self.sender.late_s:.2f} s late; all streams {octets / 2**20:.0f} MiB"
        yield from self.gauge.lines()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("waits", 1000), ("streams", 100), ("rate", 100), ("seconds", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    with host_with(asked.waits) as (state, host), served(state) as (at, pid):

        def address(number: int) -> str:
            return f"box{number % asked.waits}@{DOMAIN}"

        load = Load(at, asked.waits, asked.streams, Sender(host.address("smtp"), address, "Load", asked.rate), pid)
        asyncio.run(load.run(asked.seconds))
        print(f"load average {os.getloadavg()[0]:.1f}: {len(load.sender.sent)} messages in {asked.seconds} s")
        print("\n".join(load.lines()))
    faults = list(load.faults())
    for line in faults[:20]:
        print(line, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
