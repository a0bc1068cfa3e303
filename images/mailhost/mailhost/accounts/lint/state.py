"""Lint of what stops mail although every file is right: full disks, a sender that stands still, a late certificate."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from mailhost.accounts.layout import Layout
from mailhost.accounts.lint.facts import Finding
from mailhost.system import expiry
from mailhost.system.gauges import LOG

FULL_OCTETS, FULL_INODES, FULL_SHARE = 16 << 20, 64, 20
"""As in images/mailhost/roomy: less than 16 MiB, or less than 64 inodes, and less than a twentieth of them."""

_PERCENT = f"under {100 // FULL_SHARE} %"

WAITS_S = 120
"""qmail-send takes a message out of queue/todo at once."""

IDLE_S = 60
"""A busy one has moved something in queue/info since."""


def disks(layout: Layout) -> Iterator[Finding]:
    """File systems that take no message or no delivery: errors. No change of an account, no line of a log: warnings."""
    seen: set[tuple[int, int]] = set()
    home = layout.home
    mail, rest = (home / "queue", layout.popboxes), (home / "users", home / "control", home / "alias", LOG)
    for folder in (*mail, *rest):
        try:
            device, found = folder.stat().st_dev, os.statvfs(folder)
        except OSError:
            continue  # a missing folder is another rule's
        read_only = found.f_flag & os.ST_RDONLY
        if (device, read_only) in seen:
            continue
        seen.add((device, read_only))
        level, shown = "error" if folder in mail else "warning", layout.shown(folder)
        if full := _full(found):
            yield _state(level, "disk-full", shown, f"disk full: {full}")
        if read_only:
            yield _state(level, "disk-read-only", shown, "read-only file system")


def _full(found: os.statvfs_result) -> str:
    """What is left of a disk that is full for users other than root, and which limit that is under; else empty."""
    free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    if free < FULL_OCTETS and free * FULL_SHARE < size:
        return f"{free >> 10} KiB are left of {size >> 10} (full: under {FULL_OCTETS >> 20} MiB and {_PERCENT})"
    if found.f_favail < FULL_INODES and found.f_favail * FULL_SHARE < found.f_files:
        return f"{found.f_favail} inodes are left of {found.f_files} (full: under {FULL_INODES} and {_PERCENT})"
    return ""


def sender(layout: Layout) -> Iterator[Finding]:
    """Messages that qmail-send has not looked at for minutes, while it does nothing else either."""
    queue = layout.home / "queue"
    now = time.time()
    waiting = [path for path, date in _dates(queue / "todo", deep=True) if now - date > WAITS_S]
    if waiting and all(now - date > IDLE_S for _, date in _dates(queue / "info", deep=False)):
        text = f"{len(waiting)} waiting for more than {WAITS_S} s: qmail-send does not run, or stands still"
        yield _state("error", "sender-frozen", "queue/todo", text)


def certificate(_: Layout) -> Iterator[Finding]:
    """A certificate that should have been renewed by now, or put there."""
    said = expiry.late(expiry.CHAIN, time.time()).partition(": ")[2]
    if said:
        rule = "certificate-missing" if said == expiry.MISSING else "certificate-late"
        yield _state("error" if "has ended" in said else "warning", rule, str(expiry.CHAIN), said)


def _dates(folder: Path, *, deep: bool) -> Iterator[tuple[Path, float]]:
    """Files of a queue folder, split into numbered ones or not, and their dates; or the dates of those folders."""
    for path in [*folder.glob("*"), *(folder.glob("*/*") if deep else [])]:
        try:
            if path.is_dir() != deep:
                yield path, path.stat().st_mtime
        except OSError:
            continue


def _state(level: str, rule: str, file: str, text: str) -> Finding:
    """These come and go with the machine, not with a file: `tests/mailhost/cli/lint/test_state.py` has their cases."""
    return Finding(level, rule, file, 0, text)


def state(layout: Layout) -> list[Finding]:
    """All of it; no file of accounts is read."""
    return [finding for rule in (disks, sender, certificate) for finding in rule(layout)]


RULES = (lambda facts: state(facts.layout),)
