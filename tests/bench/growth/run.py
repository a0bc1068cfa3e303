"""How cost grows: mailboxes, rows, messages in a box, connections, domains; CPU at each size, and the exponent.

``python -m tests.bench.growth.run [--only NAME,...] [--most N]`` as root. The exponent is log(cost ratio) / log(size
ratio) of the last two sizes, once the cost of the smallest is taken off: 0 is a cost that does not grow, 1 one that
grows as its input, 1.1 about n log n. Work that is above `LIMIT` is named. Homes lie in memory, no disk is measured.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.growth import works
from tests.bench.growth.curves import Curve, drawn
from tests.bench.growth.proofs import proofs
from tests.bench.pop3.run import FOLDER, HERE

LIMIT = 1.25  # n log n between 10^4 and 10^5 is 1.1, and a measurement is not exact


@dataclass(frozen=True, slots=True)
class Growth:
    """One row: what grows, its sizes, and the cost at one of them as named numbers."""

    name: str
    sizes: tuple[int, ...]
    cost: Callable[[Path, int], dict[str, float]]


GROWTHS = (
    Growth("mailboxes", (100, 1_000, 10_000, 100_000), works.mailboxes),
    Growth("rows of poppasswd", (100, 1_000, 10_000, 100_000, 1_000_000), works.rows),
    Growth("messages in a box", (100, 1_000, 10_000, 100_000), works.messages),
    Growth("idle connections", (1, 100, 1_000, 10_000), works.idle),
    Growth("domains", (10, 50, 500, 5_000, 50_000), works.domains),
    Growth("proofs of messages", (10, 100, 1_000, 10_000), proofs),
)


def exponent(sizes: tuple[int, ...], costs: list[float]) -> float:
    """Of the last step, without the cost of the smallest size; 0 where that is all there is."""
    above = [cost - costs[0] for cost in costs]
    if len(costs) < 3 or min(above[-2:]) <= 0:
        return 0.0
    return math.log(above[-1] / above[-2]) / math.log(sizes[-1] / sizes[-2])


def table(growth: Growth, sizes: tuple[int, ...], found: list[dict[str, float]]) -> Iterable[str]:
    """Lines of Markdown."""
    yield f"| {growth.name} | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent |"
    yield "|---" * (len(sizes) + 2) + "|"
    for name in found[0]:
        costs = [one[name] for one in found]
        grows = exponent(sizes, costs)
        mark = " **above n log n**" if grows > LIMIT else ""
        yield f"| {name} | " + " | ".join(f"{cost:.3g}" for cost in costs) + f" | {grows:.2f}{mark} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name begins so, with commas between them")
    parser.add_argument("--svg", type=Path, help="a folder for a picture of each: the curves, both scales logarithmic")
    parser.add_argument("--most", type=int, default=10**9, help="no size above this one")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are stopped and the folders removed then too
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory(prefix="popbox-bench-", dir=FOLDER) as folder:
        subprocess.run(["cc", "-O2", "-o", f"{folder}/load", str(HERE / "load.c")], check=True)
        Path(folder).chmod(0o755)
        for growth in GROWTHS:
            sizes = tuple(size for size in growth.sizes if size <= given.most)
            if growth.name.startswith(tuple(given.only.split(","))):
                found = [growth.cost(Path(folder), size) for size in sizes]
                load = f"load {os.getloadavg()[0]:.1f}"
                print(f"\n{load}\n", *table(growth, sizes, found), sep="\n", flush=True)
                if given.svg:
                    curves = [Curve(name, [one[name] for one in found]) for name in found[0]]
                    (given.svg / f"{growth.name.replace(' ', '-')}.svg").write_text(drawn(growth.name, sizes, curves))


if __name__ == "__main__":
    main()
