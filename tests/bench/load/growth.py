"""How cost grows: ``python -m tests.bench.load.growth boxes|users HOST MTA N...`` prints a row of a table for each N.

``boxes``: 20 messages and 20 visits a second, to N mailboxes. ``users``: 100 mailboxes, N users of whom three in five
send each 20 s and two in five read, so that rates grow with N. Processor time is that of the services, divided by what
they did; unlike times it hardly depends on what else the machine does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOR_S = 40
BOXES = """
title = "{n} mailboxes"
for = "{for_s}s"
drain = "120s"
users = 20
[accounts]
domains = 10
mailboxes = {each}
[user.office]
kind = "sender"
count = 10
rate = 2.0
[user.clients]
kind = "fetcher"
count = 10
every = "{every}s"
"""
USERS = """
title = "{n} users"
for = "{for_s}s"
drain = "120s"
users = {n}
[accounts]
domains = 2
mailboxes = 50
[user.office]
kind = "sender"
weight = 3
rate = 0.05
[user.clients]
kind = "fetcher"
weight = 2
every = "{every}s"
"""
HEAD = "| N | accepted a second | accept p50, p95, p99 | visible p50 | login p50, p99 | CPU of SMTP a message | CPU of POP3 a session | memory of SMTP, POP3, a worker | before and after the load | late |"  # noqa: E501 - a row


def plan(kind: str, n: int) -> str:
    """The load file."""
    if kind == "boxes":
        return BOXES.format(n=n, for_s=FOR_S, each=n // 10, every=max(1, n // 20))
    return USERS.format(n=n, for_s=FOR_S, every=max(1, 1_000 // n))


def ran(text: str, host: str, mta: str, out: Path) -> tuple[dict[str, Any], float]:
    """Run it; load.json, and the seconds beside the load itself."""
    (out.parent / "plan.toml").write_text(text)
    argv = [sys.executable, "-m", "popbox", "load", str(out.parent / "plan.toml"), "--host", host, "--mta", mta]
    began = time.monotonic()
    subprocess.run([*argv, "--processes", "2", "--report", str(out)], stdout=subprocess.DEVNULL, check=False)
    found: dict[str, Any] = json.loads((out / "load.json").read_text())
    return found, time.monotonic() - began - FOR_S


def row(n: int, found: dict[str, Any], beside_s: float) -> str:
    """A row of the table."""
    seen, counts = found["figures"], found["verdict"]["counts"]
    grown = {one["who"]: one for one in found["growth"]}
    accept, visible, login = (seen[name] for name in ("accept", "visible", "login"))
    smtp_ms = grown["smtp"]["cpu_s"] * 1e3 / max(accept["count"], 1)
    pop3_ms = grown["pop3"]["cpu_s"] * 1e3 / max(seen["session"]["count"], 1)
    memory = ", ".join(f"{grown[who]['rss_mb']:.0f}" for who in ("smtp", "pop3", "worker 1"))
    bad = {name: many for name, many in counts.items() if many and name != "once"}
    cells = [
        f"{n:,}",
        f"{seen['accepted_rate']:.1f}",
        ", ".join(f"{accept[name] * 1e3:.0f}" for name in ("p50", "p95", "p99")) + " ms",
        f"{visible['p50']:.1f} s",
        f"{login['p50'] * 1e3:.0f}, {login['p99'] * 1e3:.0f} ms",
        f"{smtp_ms:.1f} ms",
        f"{pop3_ms:.1f} ms",
        f"{memory} MB",
        f"{beside_s:.0f} s",
        f"{seen['lag']:.1%}",
    ]
    return f"| {' | '.join(cells)} |" + (f" {bad}" if bad else "")


def main(kind: str, host: str, mta: str, sizes: list[int]) -> None:
    print(HEAD, flush=True)
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(row(n, *ran(plan(kind, n), host, mta, Path(folder) / "out")), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], [int(one) for one in sys.argv[4:]])
