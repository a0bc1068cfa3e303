"""What is measured: each work costs one build some CPU, in a home of its own that is made before it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.check.trees import ROOT, Tree
from tests.bench.migrate.test_copy_rate import build
from tests.bench.pop3.peers import Peer
from tests.bench.pop3.run import HASH, Work, load, make_boxes

BOXES = 5_000
SESSIONS = {
    "login+STAT+QUIT": Work("", "stat", 100, 10, 4096, 16, 3200, ""),
    "fetch 10 x 4 KiB": Work("", "fetch", 100, 10, 4096, 16, 800, ""),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the works do theirs: an empty folder, and the programs compiled for them."""

    folder: Path
    programs: Path

    def empty(self, name: str) -> Path:
        """A folder that is not there yet."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path


def cpu_of(command: list[str], **more: str) -> float:
    """CPU seconds of a program and of what it has waited for.

    Raises:
        SystemExit: it failed; its last lines.
    """
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **more})
    after = os.times()
    if done.returncode:
        said = (done.stdout + done.stderr)[-800:]
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {said}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def sessions(work: Work) -> Callable[[Tree, Place, int], float]:
    """POP3 sessions: the server's CPU, once each box has been opened."""

    def cost(tree: Tree, place: Place, port: int) -> float:
        home = place.folder / "boxes"
        octets = make_boxes(home, work)
        listen = ("serve", "pop3", "--listen", f"127.0.0.1:{port}", "--max-per-address", "5000", "--workers", "1")
        peer = Peer(tree.name, port, tree.module("mailhost", "--home", home, *listen))
        try:
            peer.start()
            load(place.programs / "load", peer, work, octets, work.users)
            before = peer.cpu_s()
            load(place.programs / "load", peer, work, octets, work.sessions)
            time.sleep(0.3)
            return peer.cpu_s() - before
        finally:
            peer.stop()

    return cost


def apply(tree: Tree, place: Place, _: int) -> float:
    """``mailhost apply`` of 5,000 mailboxes on an empty host."""
    home, file = place.empty("qmail"), place.folder / "accounts.toml"
    rows = (f'[domains."d{n % 50}.example".mailboxes.u{n}]\nlogin = "u{n}"\ncrypt = "{HASH}"\n' for n in range(BOXES))
    file.write_text("".join(rows))
    cpu_of(tree.module("mailhost", "--home", home, "init", "--me", "mx.example"))
    return cpu_of(tree.module("mailhost", "--home", home, "apply", file))


def copy(tree: Tree, place: Place, _: int) -> float:
    """``popbox migrate import`` of 200 boxes of 50 messages."""
    old = place.folder / "old"
    if not old.exists():
        build(old)
    return cpu_of(tree.module("popbox", "migrate", "import", old, "--to", place.empty("new")))


def run(tree: Tree, place: Place, _: int) -> float:
    """``popbox run`` of the HOWTO's session, on a host of its own with the stand-in."""
    scenario = ROOT / "scenarios" / "howto-telnet.toml"
    return cpu_of(tree.module("popbox", "run", "--host", "local", scenario), TMPDIR=str(place.folder))


def scenarios(tree: Tree, place: Place, _: int) -> float:
    """``popbox run`` of all scenarios, more than twenty of them on hosts of their own."""
    return cpu_of(tree.module("popbox", "run", "--host", "local", ROOT / "scenarios"), TMPDIR=str(place.folder))


def version(tree: Tree, _: Place, __: int) -> float:
    """``popbox --version``, ten times."""
    return sum(cpu_of(tree.module("popbox", "--version")) for _ in range(10)) / 10


WORKS: dict[str, Callable[[Tree, Place, int], float]] = {
    **{name: sessions(work) for name, work in SESSIONS.items()},
    f"apply of {BOXES:,} mailboxes": apply,
    "import of 10,000 messages": copy,
    "run of the HOWTO's session": run,
    "run of all scenarios": scenarios,
    "popbox --version": version,
}
