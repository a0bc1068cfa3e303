"""Real qmail programs and the stand-in: a scratch copy over /var/qmail in a private mount namespace.

The machine's own /var/qmail is only read. ``in_namespace`` runs a Python function's source file there.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REAL = Path("/var/qmail")


needs_qmail = [pytest.mark.realqmail, pytest.mark.needs("real qmail", "root", "mount namespace")]


def scratch_copy(where: Path) -> Path:
    """A copy of the installed qmail with owners, modes and the trigger FIFO."""
    where.mkdir(parents=True, exist_ok=True)
    target = where / "var-qmail"
    subprocess.run(["cp", "-a", str(REAL), str(target)], check=True)
    return target


def in_namespace(scratch: Path, script: Path, work: Any, within_s: float = 100) -> Any:
    """Run ``script`` with ``scratch`` mounted over /var/qmail; its input ``work`` and its answer are JSON."""
    command = f'mount --make-rprivate / && mount --bind "$1" {REAL} && exec "$2" "$3"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, "sh", str(scratch), sys.executable, str(script)],
        input=json.dumps(work).encode(),
        capture_output=True,
        timeout=within_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace")[-2000:])
    return json.loads(done.stdout)


def pack(octets: bytes) -> str:
    """Octets for JSON."""
    return base64.b64encode(octets).decode()


def unpack(text: str) -> bytes:
    """Octets from JSON."""
    return base64.b64decode(text)


def write_controls(home: Path, files: dict[str, bytes]) -> None:
    """Write exactly these control files."""
    shutil.rmtree(home / "control", ignore_errors=True)
    (home / "control").mkdir(parents=True)
    for name, text in files.items():
        (home / "control" / name).write_bytes(text)
