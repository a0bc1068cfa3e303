"""Ctrl-C at random moments of a run with shared, own and small-disk hosts: nothing is left behind.

Three moments a run of the tests; POPBOX_INTERRUPTS=100 for more.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.popbox import ROOT

TRIES = int(os.environ.get("POPBOX_INTERRUPTS", "3"))
LONGEST_S = 6.0  # about what the run takes
FILES = ("disk-popboxes-full", "mta-paused", "session-later-mail", "smtp-dialogue")


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """A directory that popuser may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="popbox-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("seed", range(TRIES))
def test_nothing_is_left_behind(seed: int, open_tmp: Path) -> None:
    after_s = random.Random(seed).uniform(0.05, LONGEST_S)
    argv = [str(ROOT / f"scenarios/{name}.toml") for name in FILES]
    environ = {**os.environ, "XDG_STATE_HOME": str(open_tmp), "TMPDIR": str(open_tmp)}
    child = subprocess.Popen(
        [sys.executable, "-m", "popbox", "run", *argv, "--host", "local"],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    time.sleep(after_s)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert child.returncode in (130, 0, -signal.SIGINT), f"after {after_s:.2f} s: {said}"
    assert left(open_tmp) == [], f"after {after_s:.2f} s: {said}"


def left(place: Path) -> list[str]:
    """Directories, records, mounts and processes that name the place."""
    found = [str(path) for path in [*place.glob("popbox-*"), *place.glob("popbox/hosts/*")]]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if str(place) in line]
    return found + [line for line in command_lines() if str(place) in line]


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it has ended meanwhile
            continue
