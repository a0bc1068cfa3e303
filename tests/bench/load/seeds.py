"""Broken hosts and dying generators by seeds: ``python -m tests.bench.load.seeds hosts|generators FROM TO [SPAN]``.

``hosts``: in each run the host does each of nine faults once, at messages that the seed places among the first SPAN
(120 if not given). ``generators``: a worker or the master is killed at a moment of the seed's. Each run is one line;
the exit code is that of all.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.popbox.load.broken import children, run
from tests.popbox.load.test_broken_peers import PLAN
from tests.popbox.load.test_endings import ended, under_way

RATE = 75  # messages a second of the plan
MOST_S = 6.0  # from the first message to the kill


def host(seed: int, span: int) -> str:
    """One run on a broken host; empty where each fault was named and nothing else."""
    quick = span > 1_000
    plan = PLAN.replace('for = "90s"', f'for = "{max(90, span * 2.5 / RATE):.0f}s"')
    if quick:
        plan = plan.replace("rate = 25.0", "rate = 75.0").replace('["2KiB", "2KiB", "2KiB", "80KiB"]', SMALL)
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), plan, seed, span)
    print(f"seed {seed}: {found.taken} taken, each fault once in the first {span}: {outcome(found.code)}", flush=True)
    wrong = [f"not done: {one}" for one in found.undone] + [f"missed: {one}" for one in found.missed]
    wrong += [f"accused: {one}" for one in found.accused]
    return "; ".join(wrong) or ("" if found.code in (1, 3) else f"exit {found.code}")


SMALL = '["1KiB", "1KiB", "1KiB", "1KiB", "1KiB", "1KiB", "1KiB", "1KiB", "1KiB", "80KiB"]'


def outcome(code: int) -> str:
    return {1: "failed", 3: "faults named, not judged"}.get(code, f"exit {code}")


def generator(seed: int, _span: int) -> str:
    """One run whose master or worker is killed; empty where it is named and the run is not judged."""
    draw = random.Random(seed)
    part, wait_s = draw.choice(["worker", "worker", "master"]), draw.uniform(0, MOST_S)
    with tempfile.TemporaryDirectory() as folder, under_way(Path(folder), "--processes", "2") as program:
        time.sleep(wait_s)
        pids = [pid for pid, words in children(program.pid).items() if part in words]
        os.kill(draw.choice(pids), signal.SIGKILL)
        code, said = ended(program)
    print(f"seed {seed}: {part} killed {wait_s:.1f} s after the first message: exit {code}", flush=True)
    return "" if code == 3 and "was killed by signal 9" in said else said


def main(what: str, first: int, last: int, span: int) -> int:
    do = {"hosts": host, "generators": generator}[what]
    wrong = {seed: why for seed in range(first, last + 1) if (why := do(seed, span))}
    for seed, why in wrong.items():
        print(f"WRONG, seed {seed}: {why}")
    print(f"{last - first + 1 - len(wrong)} of {last - first + 1} seeds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 120))
