"""``mailhost`` for tests that are not about its start: forked for each command from one that has imported everything.

Each command still has a process of its own, and its code is the program's; the imports, most of what a short command
costs, are made once for each process of the tests and each environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from popbox.environment import of_programs
from popbox.hosts.process import run_bounded
from popbox.hosts.warm import Warm

WITHIN_S = 100.0
PROGRAM = [sys.executable, "-P", "-m", "mailhost"]
_warm: dict[tuple[tuple[str, str], ...], Warm] = {}


@contextmanager
def kept() -> Iterator[None]:
    """End them afterwards."""
    try:
        yield
    finally:
        while _warm:
            _warm.popitem()[1].close()


def bounded(argv: list[str], *, within_s: float, env: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """What ``run_bounded`` does, quicker for `mailhost`; anything else is run as it is."""
    if argv[: len(PROGRAM)] != PROGRAM:
        return run_bounded(argv, within_s=within_s, env=env)
    key = tuple(sorted(env.items()))
    if key not in _warm:
        _warm[key] = Warm(PROGRAM, cwd=Path("/"), env=env, more=True)
    return subprocess.CompletedProcess(argv, *_warm[key].run(argv[len(PROGRAM) :], b"", within_s))


def mailhost(home: Path, *argv: str) -> None:
    """Run a verb; it must succeed."""
    done = bounded([*PROGRAM, "--home", str(home), *argv], within_s=WITHIN_S, env=of_programs(os.environ))
    assert done.returncode == 0, done.stderr
