"""A run on the broken host of ``peer``, and what of its faults was not named, or accused without cause."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.needs import ROOT
from tests.popbox.cli.test_cli import popbox
from tests.popbox.load.peer import FAULTS

BOXES = 9
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


def expected(code: int, said: str) -> int:
    """The exit code of a run that said this: on a busy machine its generator is late, and then no run is judged."""
    return 3 if "not judged: the generator was late" in said else code


def run(place: Path, plan: str, seed: int, span: int) -> Found:
    """Run ``plan`` on a host that does each fault once within ``span`` messages; seed 0: none."""
    (place / "plan.toml").write_text(plan)
    rows = [f"b{number}@peer.example,b{number}@peer.example,pw" for number in range(BOXES)]
    (place / "boxes.csv").write_text("\n".join(["address,login,password", *rows, ""]))
    argv = [sys.executable, "-m", "tests.popbox.load.peer", str(seed), str(span), str(BOXES)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as peer:
        assert peer.stdout is not None
        smtp, pop3 = (f"127.0.0.1:{port}" for port in peer.stdout.readline().split())
        words = ("load", str(place / "plan.toml"), "--accounts", str(place / "boxes.csv"), "--seed", str(seed))
        where = ("--host", "remote", "--allow-writes", "--smtp", smtp, "--pop3", pop3)
        done = popbox(*words, *where, "--report", str(place / "out"), state=place, within_s=100 + span / 10)
        planted = json.loads(peer.communicate("")[0])
    cases = json.loads((place / "out/load.json").read_text())["verdict"]["cases"]
    found = {(one["verdict"], one["token"], one["box"]) for one in cases if one["verdict"] not in GOOD}
    wanted = {tuple(one): fault for fault, some in planted["done"].items() for one in some}
    return Found(
        code=done.returncode,
        taken=planted["taken"],
        undone=tuple(one for one in FAULTS if seed and one not in planted["done"]),
        missed=tuple(f"{fault}: {' '.join(one)}" for one, fault in wanted.items() if one not in found),
        accused=tuple(sorted(" ".join(one) for one in found - set(wanted))),
        said=done.stdout,
    )
