"""The page of accounts, and the commands that it was made of before there was `mailhost accounts`.

``python -m tests.bench.serve.accounts [--boxes 1000]``

CPU of the server and of the programs that it starts, ms a page, in turns with the four commands, each by the warm
Python that the page's own is. Exit code 1 where a page takes more than 150 ms of it, or has more than 60 KiB.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Callable

from tests.bench.serve.hosts import Gauge, host_with, served
from tests.bench.serve.million import took

ROUNDS = 5
COMMANDS = (("domain", "list"), ("mailbox", "list"), ("forward", "list"), ("lint",))
PATHS = ("/accounts", "/accounts?of=box77", "/accounts?show=mailboxes&after=box500@load.example", "/v1/accounts")


def cpu_ms(gauge: Gauge, work: Callable[[], object]) -> float:
    """Of a process and its children, for one piece of work."""
    before = sum(gauge.cpu_s())
    work()
    return (sum(gauge.cpu_s()) - before) * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, default=1_000)
    boxes = parser.parse_args().boxes
    faults = list[str]()
    with host_with(boxes) as (state, host), served(state) as (at, pid):
        server, here = Gauge(pid), Gauge(os.getpid())
        print(f"{boxes} mailboxes, load average {os.getloadavg()[0]:.1f}")
        for path in PATHS:
            one = asyncio.run(took(at, server, path))
            faults += one.faults()
            print(f"{path:50} {one.cpu_ms:6.1f} ms of processor, {one.octets / 1024:5.1f} KiB")
        for words in (*((*each, "--json") for each in COMMANDS), ("accounts",)):
            each = [cpu_ms(here, lambda words=words: host.run(*words)) for _ in range(ROUNDS + 1)][1:]  # type: ignore[misc]
            print(f"mailhost {' '.join(words):41} {statistics.median(each):6.1f} ms of processor")
    sys.exit("\n".join(faults) if boxes <= 1_000 else 0)


if __name__ == "__main__":
    main()
