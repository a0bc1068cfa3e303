"""A run on the host of ``peer``, in this process but for Locust's, and what of its faults was not named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.needs import ROOT
from tests.popbox.load.peer import FAULTS

from popbox.clients.wire import Address
from popbox.hosts.remote import Remote, RemoteHost
from popbox.load.books.outcome import Outcome
from popbox.load.stage.processes import Tick
from popbox.load.stage.run import Wish
from popbox.load.stage.run import run as run_load

BOXES = tuple(f"b{number}@peer.example" for number in range(9))
GOOD = ("once", "not yet", "explained")


@dataclass(frozen=True, slots=True)
class Found:
    """Exit code, copies that the host took, the faults that it did not come to do, and what the verdict is wrong in."""

    code: int
    taken: int
    undone: tuple[str, ...]
    missed: tuple[str, ...]
    accused: tuple[str, ...]
    said: str


@dataclass
class Peered:
    """The host of ``peer`` while it is up; ``planted`` is what it says at its end."""

    smtp: Address
    pop3: Address
    planted: dict[str, Any] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)  # it has done all its faults


@contextmanager
def peered(seed: int = 0, span: int = 0) -> Iterator[Peered]:
    """A host that does each fault once within ``span`` messages; seed 0: none."""
    argv = [sys.executable, "-m", "tests.popbox.load.peer", str(seed), str(span), str(len(BOXES))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        smtp, pop3 = (Address("127.0.0.1", int(port)) for port in program.stdout.readline().split())
        peer, said = Peered(smtp, pop3), list[str]()

        def hear() -> None:
            for line in program.stdout or ():
                said.append(line)
                if line == "done\n":
                    peer.done.set()

        hearing = threading.Thread(target=hear)
        hearing.start()
        try:
            yield peer
        finally:
            program.stdin.close()
            hearing.join()
        peer.planted = json.loads(said[-1])


def children(pid: int) -> dict[int, list[str]]:
    """Processes of a process, with their words."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(stat.parent.name)] = (stat.parent / "cmdline").read_text().split("\0")
        except OSError:
            continue
    return found


def expected(code: int, said: str) -> int:
    """The exit code of a run that said this: on a busy machine its generator is late, and then no run is judged."""
    return 3 if "not judged: the generator was late" in said else code


def said_of(outcome: Outcome) -> str:
    """Why it was not judged, as the command says it."""
    return "".join(f"not judged: {why}\n" for why in outcome.not_judged)


@dataclass
class Screen:
    """Who looks at a run, and does something in the midst of it: at a line, and once after the first message.

    The load ends as if its time were over when ``enough`` is set.
    """

    heard: Callable[[str], object] = lambda _: None
    begun: Callable[[], object] = lambda: None
    enough: threading.Event = field(default_factory=threading.Event)
    accepted: int = 0

    def say(self, line: str) -> None:
        self.heard(line)

    def tick(self, tick: Tick) -> None:
        before, self.accepted = self.accepted, tick.accepted
        if self.accepted and not before:
            self.begun()
        if self.enough.is_set():
            self.enough.clear()
            [master] = [pid for pid, words in children(os.getpid()).items() if "master" in words]
            os.kill(master, signal.SIGUSR1)


def staged(peer: Peered, plan: str, folder: Path, screen: Screen | None = None, seed: int = 0, **wish: Any) -> Outcome:
    """A run of ``plan`` with ``wish``; its folder has ``load.json`` afterwards, and no page."""
    host = RemoteHost(Remote(peer.smtp, peer.pop3, allow_writes=True))
    table = {**tomllib.loads(plan), "seed": seed}
    wanted = Wish(given=tuple((box, box, "pw") for box in BOXES), **wish)
    return run_load(host, table, folder, wanted, os.environ, screen or Screen(), _keep)


def _keep(outcome: Outcome, folder: Path) -> None:
    (folder / "load.json").write_text(outcome.as_json())


def run(place: Path, plan: str, seed: int, span: int) -> Found:
    """Run ``plan`` on a host that does each fault once within ``span`` messages, until it has done them all."""
    with peered(seed, span) as peer:
        judged = staged(peer, plan, place / "out", Screen(enough=peer.done), seed=seed)
    found = {(one.verdict, one.token, one.box) for one in judged.verdict.cases if one.verdict not in GOOD}
    wanted = {tuple(one): fault for fault, some in peer.planted["done"].items() for one in some}
    return Found(
        code=judged.exit_code,
        taken=peer.planted["taken"],
        undone=tuple(one for one in FAULTS if one not in peer.planted["done"]),
        missed=tuple(f"{fault}: {' '.join(one)}" for one, fault in wanted.items() if one not in found),
        accused=tuple(sorted(" ".join(one) for one in found - set(wanted))),
        said=said_of(judged),
    )
