"""Does this tree cost more than an earlier one? Both from their wheels, in turns, as ratios of CPU.

``make bench-check`` measures against the newest tag or, without one, the last commit that is a day older;
``BASE=`` names a wheel, a tag or a commit. ``--short`` is one turn of less. It fails for no ratio: on a busy machine
one is a hint. As root: the boxes that are fetched are popuser's.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.check.trees import ROOT, Tree, build, earlier, git, install, wheel_of
from tests.bench.check.works import WORKS, Place
from tests.bench.pop3.run import FOLDER

PORT = 21_150
SHORT = ("login+STAT+QUIT", "fetch 10 x 4 KiB", "popbox --version")


def trees(base: str, folder: Path) -> tuple[Tree, Tree]:
    """The earlier build and this one."""
    for part in ("base", "here"):
        (folder / part).mkdir()
    before = wheel_of(base, folder / "base")
    here = build(ROOT, folder / "here")
    said = git("rev-parse", "--short", "HEAD").decode() or "here"
    return install(base, before, folder / "base/venv"), install(said, here, folder / "here/venv")


def measure(both: tuple[Tree, Tree], place: Place, names: list[str], turns: int) -> None:
    """Print a line for each work: both medians, and the ratio of each turn's pair as median and range."""
    print(f"CPU of {both[1].name} against {both[0].name}, {turns} turns, load {os.getloadavg()[0]:.1f}", flush=True)
    for name in names:
        cost: dict[Tree, list[float]] = {tree: [] for tree in both}
        for turn in range(turns):
            for tree in both[:: -1 if turn % 2 else 1]:
                cost[tree].append(WORKS[name](tree, place, PORT))
        base, here = (cost[tree] for tree in both)
        ratios = [now / before for now, before in zip(here, base, strict=True)]
        middle = statistics.median(base), statistics.median(here), statistics.median(ratios)
        span = f"({min(ratios):.2f} to {max(ratios):.2f})" if turns > 1 else ""
        print(f"  {name:28} {middle[0]:8.3f} s  {middle[1]:8.3f} s  {middle[2]:5.2f} {span}", flush=True)


def main() -> None:
    """Build both, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="", help="a wheel, a tag or a commit")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", default="", help="works whose name begins so, with commas between them")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are stopped and the folders removed then too
    base = given.base or earlier()
    if not base:
        print("bench-check: there is no tag and no commit that is a day older: nothing to measure against (BASE=...)")
        return
    with tempfile.TemporaryDirectory(prefix="popbox-bench-", dir=FOLDER) as folder:
        place = Place(Path(folder), Path(folder))
        place.folder.chmod(0o755)
        source = ROOT / "tests/bench/pop3/load.c"
        subprocess.run(["cc", "-O2", "-o", str(place.programs / "load"), str(source)], check=True)
        names, turns = (list(SHORT), 1) if given.short else (list(WORKS), given.turns)
        wanted = tuple(given.only.split(","))
        measure(trees(base, place.folder), place, [name for name in names if name.startswith(wanted)], turns)


if __name__ == "__main__":
    main()
