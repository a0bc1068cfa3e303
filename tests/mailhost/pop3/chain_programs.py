"""Running the chain: programs by a Python that popuser may execute, over a socket like tcpserver does it."""

from __future__ import annotations

import functools
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.mailhost.pop3.support import WITHIN_S, Client, owner

PACKAGES = Path(__file__).parents[3] / "images" / "mailhost"


@functools.cache
def interpreter() -> str | None:
    """A Python that the boxes' owner can run our programs with, or None (root's own may lie out of reach)."""
    uid, gid = owner()
    ids = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", "import sys, mailhost.pop3.chain.pop3d; sys.exit(sys.version_info < (3, 11))"],
                env={"PYTHONPATH": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                check=False,
                **ids,  # type: ignore[call-overload]
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


def program(folder: Path, name: str) -> str:
    """One of ours as an executable file that any user may run."""
    path = folder / name
    path.write_text(
        f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(PACKAGES))} PYTHONDONTWRITEBYTECODE=1 "
        f'exec {shlex.quote(interpreter() or sys.executable)} -s -m mailhost.pop3.chain.{name} "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


def converse(command: Sequence[str], **keywords: object) -> tuple[Client, subprocess.Popen[bytes]]:
    """The command with one end of a socket pair as descriptors 0 and 1, and a client on the other."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, **keywords)  # type: ignore[call-overload]
    theirs.close()
    return Client(0, sock=ours, greet=False), process


def end(client: Client, process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Hang up, wait: exit code and what stands on stderr."""
    client.close()
    _, errors = process.communicate(timeout=WITHIN_S)
    return process.returncode, errors.decode()
