"""``popbox serve`` killed at random moments while mail comes, and begun again: what of it the store shows at the end.

``python -m tests.bench.serve.kills [--kills 20] [--rate 20] [--seed 1]``

A stream goes on by Last-Event-ID at each next server. At the end a server with a store of its own reads the same log
from its beginning. Exit code 1 where a journey is missing, there twice, or not the same; or the stream has a gap or a
double.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.serve.clients import Sender, Stream, fetched
from tests.bench.serve.hosts import DOMAIN, cursor, host_with, served

from popbox.clients.wire import Address
from popbox.hosts.base import Host

BOXES = 20
LONGEST_S = 2.0  # of a server's life
LEFT_S = 120.0


def facts(one: dict[str, Any]) -> tuple[Any, ...]:
    """What of a journey comes from the host, and not from when it was looked at."""
    return one["queued_as"], tuple(one["to"]), one["subject"], one["octets"], one["end"], len(one["messages"])


async def journeys(at: Address, many: int) -> list[dict[str, Any]]:
    """All of the store, once so many have ended."""
    reader, writer = await asyncio.open_connection(at.host, at.port)
    until = time.monotonic() + LEFT_S
    with contextlib.closing(writer):
        while True:
            found: list[dict[str, Any]] = []
            while True:
                since = found[-1]["id"] if found else 0
                path = f"/v1/journeys?limit=500&oldest_first=true&since={since}"
                page = json.loads((await fetched(reader, writer, path))[1])["journeys"]
                found += page
                if len(page) < 500:
                    break
            if sum(one["ended"] for one in found) >= many or time.monotonic() > until:
                return found
            await asyncio.sleep(0.5)


class Killed:
    """One run."""

    def __init__(self, state: Path, host: Host, chance: random.Random, rate: float) -> None:
        """Nothing is sent yet."""
        self._state, self._chance = state, chance
        self._store = str(state / "killed.db")
        self.sender = Sender(host.address("smtp"), lambda number: f"box{number % BOXES}@{DOMAIN}", "Kill", rate)
        self.last, self.wrong = 0, list[str]()
        self.lives = list[float]()

    async def run(self, kills: int) -> None:
        """Mail comes all the time, and each server is killed after a time of its own."""
        sending = asyncio.create_task(self.sender.run(kills * LONGEST_S, connections=2))
        for _ in range(kills):
            with served(self._state, "--store", self._store) as (at, pid):
                stream = await self._follow(at)
                life = self._chance.uniform(0.0, LONGEST_S)
                self.lives.append(life)
                await asyncio.sleep(life)
                os.kill(pid, signal.SIGKILL)
            self._heard(stream)
        await sending
        with served(self._state, "--store", self._store) as (at, _):
            stream = await self._follow(at)
            self.killed = await journeys(at, len(self.sender.sent))
            until = time.monotonic() + LEFT_S
            while stream.last < cursor(at) and time.monotonic() < until:
                await asyncio.sleep(0.1)
            if stream.last < cursor(at):
                self.wrong.append(f"the stream ends at {stream.last}, the store at {cursor(at)}")
            self._heard(stream)
        with served(self._state, "--store", str(self._state / "whole.db")) as (at, _):
            self.whole = await journeys(at, len(self.sender.sent))

    async def _follow(self, at: Address) -> Stream:
        stream = Stream(at, self.last)
        await stream.open()
        return stream

    def _heard(self, stream: Stream) -> None:
        self.last = stream.last
        self.wrong += [stream.wrong] if stream.wrong else []

    def faults(self) -> Iterator[str]:
        """What is wrong, one line each."""
        yield from self.wrong
        killed, whole = ([facts(one) for one in some] for some in (self.killed, self.whole))
        if killed != whole:
            yield f"not the same: {list((Counter(killed) - Counter(whole)).items())[:5]} are too many or other ones"
        if Counter(one["subject"] for one in self.killed) != Counter(list(self.sender.sent)):
            yield f"{len(self.sender.sent)} sent, {len(killed)} journeys"
        ids = Counter(of for one in self.killed for of in one["messages"])
        if len(ids) != len(self.sender.sent) or set(ids.values()) != {1}:
            yield f"{len(ids)} copies, of which some are there {max(ids.values(), default=0)} times"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 20), ("rate", 20), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with host_with(BOXES) as (state, host):
        one = Killed(state, host, random.Random(asked.seed), asked.rate)
        asyncio.run(one.run(asked.kills))
        ends = Counter(found["end"] for found in one.killed)
    print(f"load average {os.getloadavg()[0]:.1f}: {asked.kills} kills, {len(one.sender.sent)} messages, {dict(ends)}")
    print(f"lives of {min(one.lives):.2f} to {max(one.lives):.2f} s; {one.last} events in the stream")
    faults = list(one.faults())
    print("\n".join(faults), file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
