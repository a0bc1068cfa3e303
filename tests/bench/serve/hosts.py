"""What is measured: a local host with many boxes, ``popbox serve`` beside it, and what that process takes."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from tests.popbox.serve.served import serving
from tests.popbox.standin import standin

from popbox.clients.wire import Address
from popbox.hosts.base import Host

DOMAIN = "load.example"
CRYPT = "DmIMm9e5Hc8ic"
TICK_S = os.sysconf("SC_CLK_TCK")


@contextmanager
def host_with(boxes: int) -> Iterator[tuple[Path, Host]]:
    """Its state directory, for ``serving``, and a kept host with boxes ``box0`` and on in DOMAIN."""
    with tempfile.TemporaryDirectory() as folder, standin(Path(folder) / "popbox") as host:
        rows = (f'[domains."{DOMAIN}".mailboxes.box{n}]\ncrypt = "{CRYPT}"\nlogin = "box{n}"\n' for n in range(boxes))
        (Path(folder) / "accounts.toml").write_text(f'[domains."{DOMAIN}"]\n' + "".join(rows))
        applied = host.run("apply", str(Path(folder) / "accounts.toml"), "--yes")
        assert applied.code == 0, applied.stderr
        host.keep()
        yield Path(folder), host


@contextmanager
def served(state: Path, *options: str, said: str = "read-only", **env: str) -> Iterator[tuple[Address, int]]:
    """Where ``popbox serve`` answers, and its process id."""
    with serving(state, *options, said=said, **env) as (port, program):
        yield Address("127.0.0.1", port), program.pid


def cursor(at: Address) -> int:
    """Of the store now."""
    with urlopen(f"http://{at}/v1/journeys?limit=1", timeout=60) as answer:
        return int(json.load(answer)["cursor"])


@dataclass
class Gauge:
    """What one process takes: memory each second, and processor time."""

    pid: int
    took: list[tuple[float, float]] = field(default_factory=list)  # time, MiB resident

    def __post_init__(self) -> None:
        """Begin."""
        self._began, self._cpu = time.monotonic(), self.cpu_s()

    def rss(self) -> float:
        """Resident memory now, in MiB."""
        text = Path(f"/proc/{self.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def cpu_s(self) -> tuple[float, float]:
        """Processor time so far: of the process, and of the programs that it started, ended ones too."""
        own, ended = _cpu_s(self.pid)
        return own, ended + sum(sum(_cpu_s(one)) for one in _below(self.pid))

    async def run(self) -> None:
        """Note memory each second, until it is cancelled."""
        while True:
            self.took.append((time.monotonic(), self.rss()))
            await asyncio.sleep(1)

    def lines(self) -> Iterator[str]:
        """What it took, in words. The slope is that of the later half."""
        passed = time.monotonic() - self._began
        own, children = (now - then for now, then in zip(self.cpu_s(), self._cpu, strict=True))
        yield f"processor: {own / passed * 100:.1f} % of a core, programs it started {children / passed * 100:.1f} %"
        first, last = self.took[0][1], self.took[-1][1]
        most = max(mib for _, mib in self.took)
        half = self.took[len(self.took) // 2 :]
        slope = statistics.linear_regression(*zip(*half, strict=True)).slope * 60 if len(half) > 2 else float("nan")
        yield f"memory: {first:.0f} -> {last:.0f} MiB, at most {most:.0f}; {slope:+.2f} MiB a minute in the later half"


def _cpu_s(pid: int) -> tuple[float, float]:
    """Of a process, and of its children that have ended."""
    text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, child_user, child_system = (int(one) / TICK_S for one in text[11:15])
    return user + system, child_user + child_system


def _below(pid: int) -> Iterator[int]:
    """Children that run, and theirs."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for one in (task / "children").read_text().split():
            yield int(one)
            yield from _below(int(one))


def shares(seconds: list[float]) -> str:
    """The distribution of durations, in ms."""
    if len(seconds) < 2:
        return f"{len(seconds)} values"
    cut = statistics.quantiles(seconds, n=100, method="inclusive")
    p50, p95, p99, most = (1e3 * one for one in (cut[49], cut[94], cut[98], max(seconds)))
    return f"p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}, at most {most:.0f} ms ({len(seconds)})"
