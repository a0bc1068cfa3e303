"""How fast a host is audited and imported, against ``cp -a`` and a bare creation of as many files in the same run.

``popbox migrate import`` syncs each message, reads it back and notes it twice; ``cp -a`` does none of that.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.popbox.migrate.oldhosts import HASH, assign, controls, put

BOXES, MESSAGES, OCTETS = 200, 50, 4_096


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


def bare(top: Path) -> None:
    """Create as many empty files: what the file system itself takes."""
    top.mkdir()
    for number in range(BOXES * MESSAGES):
        os.close(os.open(top / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def test_copy_rate(tmp_path: Path) -> None:
    old = build(tmp_path / "old")
    all_messages = BOXES * MESSAGES
    took = {
        "audit": timed(popbox("audit", str(old))),
        "import, first pass": timed(popbox("import", str(old), "--to", str(tmp_path / "new"))),
        "import --final, nothing new": timed(popbox("import", str(old), "--to", str(tmp_path / "new"), "--final")),
        "cp -a": timed(lambda: subprocess.run(["cp", "-a", old, tmp_path / "copy"], check=True)),
        "bare creation of files": timed(lambda: bare(tmp_path / "bare")),
    }
    print(f"\n{all_messages} messages of {OCTETS} octets in {BOXES} boxes")
    for what, seconds in took.items():
        rate, ratio = all_messages / seconds, seconds / took["cp -a"]
        print(f"  {what:30} {seconds:6.1f} s  {rate:8.0f} messages/s  {ratio:5.2f} x cp -a")
    print(f"  largest child: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB")
    assert len(list((tmp_path / "new/popboxes").rglob("new/*"))) == all_messages
    assert took["import --final, nothing new"] < took["import, first pass"]
