"""How fast a host is audited and imported, against ``cp -a`` followed by the same fsyncs (``durable.c``), in turns.

``popbox migrate import`` syncs each message, reads it back from the disk and notes it twice; ``cp -a`` alone does none
of that, and ``durable`` adds the syncs: by one thread, and by as many as the import has. "copying" is what the import
itself measures: without the start of Python, the audit and the accounts.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.needs import program
from tests.popbox.migrate.oldhosts import HASH, assign, controls, put

from popbox.migrate.copy.batch import SYNCERS

BOXES, MESSAGES, OCTETS = 200, 50, 4_096
TURNS = 3
PEER = f"cp -a, synced by {SYNCERS} threads"


def build(root: Path) -> Path:
    """A host of the HOWTO's: 200 boxes of 50 messages of 4 KiB."""
    home = controls(root, {"domain.com": "domain-com"})
    boxes = "/var/qmail/popboxes/domain-com"
    assign(home, *(f"=domain-com-b{n}:popuser:888:888:{boxes}/b{n}:::" for n in range(BOXES)))
    rows = (f"aa{n:04}:{HASH}:popuser:{boxes}/b{n}\n" for n in range(BOXES))
    put(home / "users/poppasswd", "".join(rows), 0o600)
    text = b"Subject: x\n\n" + b"x" * 71 + b"\n"
    text += (b"y" * 71 + b"\n") * ((OCTETS - len(text)) // 72)
    for number in range(BOXES):
        box = home / f"popboxes/domain-com/b{number}"
        for part in ("tmp", "new", "cur"):
            (box / "Maildir" / part).mkdir(parents=True)
        put(box / ".qmail", "./Maildir/\n", 0o600)
        for message in range(MESSAGES):
            file = box / f"Maildir/new/{1_000_000_000 + message}.{message}.old"
            file.write_bytes(text)
            os.utime(file, (1_000_000_000 + message, 1_000_000_000 + message))
    return root


def timed(work: Callable[[], object]) -> float:
    """Seconds it takes."""
    os.sync()
    began = time.monotonic()
    work()
    return time.monotonic() - began


def popbox(*argv: str) -> Callable[[], object]:
    """The command in a process of its own."""
    return lambda: subprocess.run([sys.executable, "-m", "popbox", "migrate", *argv], check=True, capture_output=True)


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program that syncs a tree."""
    path = tmp_path_factory.mktemp("durable") / "durable"
    source = str(Path(__file__).parent / "durable.c")
    subprocess.run([program("C compiler"), "-O1", "-pthread", "-o", str(path), source], check=True)
    return str(path)


def copied(old: Path, new: Path, then: list[str]) -> Callable[[], object]:
    """``cp -a``, and another program on the copy."""

    def work() -> None:
        subprocess.run(["cp", "-a", old, new], check=True)
        if then:
            subprocess.run([then[0], new, *then[1:]], check=True)

    return work


def test_copy_rate(tmp_path: Path, durable: str) -> None:
    old = build(tmp_path / "old")
    took: dict[str, list[float]] = {}

    def run(what: str, work: Callable[[], object]) -> None:
        took.setdefault(what, []).append(timed(work))

    for turn in range(TURNS):  # nothing is removed in between: ext4 makes files slowly where many have just gone
        new, report = tmp_path / f"new{turn}", tmp_path / f"report{turn}"
        run("audit", popbox("audit", str(old)))
        run("cp -a", copied(old, tmp_path / f"a{turn}", []))
        run("cp -a, synced by 1 thread", copied(old, tmp_path / f"b{turn}", [durable, "1"]))
        run(PEER, copied(old, tmp_path / f"c{turn}", [durable, str(SYNCERS)]))
        run("import, first pass", popbox("import", str(old), "--to", str(new), "--json", str(report)))
        took.setdefault("import, copying", []).append(json.loads(report.read_text())["took_s"])
        run("import --final, nothing new", popbox("import", str(old), "--to", str(new), "--final"))
        assert len(list((new / "popboxes").rglob("new/*"))) == BOXES * MESSAGES
    middle = {what: statistics.median(all_s) for what, all_s in took.items()}
    print(f"\n{BOXES * MESSAGES} messages of {OCTETS} octets in {BOXES} boxes, medians of {TURNS}")
    for what, seconds in middle.items():
        rate, ratio = BOXES * MESSAGES / seconds, seconds / middle[PEER]
        print(f"  {what:30} {seconds:6.1f} s  {rate:8.0f} messages/s  {ratio:5.2f} x {PEER}")
    print(f"  largest child: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")
    assert middle["import --final, nothing new"] < middle["import, first pass"]
