"""Telling the sender (qmail-send, or the stand-in) to read control/locals and control/virtualdomains again.

Whoever holds the lock on queue/lock/sendmutex is the sender (Q-SEND-8); /proc/locks names the process by the inode.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

LOCK = "queue/lock/sendmutex"
LOOK_S = 0.005  # our choice: the stand-in reads its controls within a few of these


def find(home: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """The process id of the sender of this home, or None where none is to be seen from here.

    The lock is looked up, never tried: a sender that starts at that moment would think another one runs.
    """
    try:
        status = (home / LOCK).stat()
        lines = locks.read_text("utf-8").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in lines:
        fields = line.split()
        # number: class mode type pid device:inode start end; a waiting process has `->` in second place
        if len(fields) == 8 and fields[5] == wanted and fields[4].isdigit() and int(fields[4]) > 0:
            return int(fields[4])
    return None


def hup(home: Path) -> int | None:
    """Send HUP to the sender; its process id, or None where no sender runs.

    Raises:
        PermissionError: the sender runs as a user whom we may not signal.
    """
    pid = find(home)
    if pid is None:
        return None
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return None
    return pid


def settle(home: Path, sent_ns: int, within_s: float) -> None:
    """Wait until the sender has read its controls since a HUP that was sent at ``sent_ns`` (time of day).

    The stand-in tells, by the time of change of the lock's file: when it began to read them. qmail-send does not, and
    gets the whole of ``within_s``; so does one whose file has a time to come, of before the clock was set back.
    """
    deadline = time.monotonic() + within_s
    while (left := deadline - time.monotonic()) > 0 and not sent_ns <= _read_at(home) <= time.time_ns():
        time.sleep(min(LOOK_S, left))


def _read_at(home: Path) -> int:
    try:
        return (home / LOCK).stat().st_mtime_ns
    except OSError:
        return 0
