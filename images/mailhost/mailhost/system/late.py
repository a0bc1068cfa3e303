"""control/late: addresses that another node of the mail host knows already, and this one does not yet.

Written by `mailhost follow --node`; asked at each RCPT, by the stand-in and by ``late`` before qmail-smtpd. Lines:
``@domain`` (nothing of it is served here), ``local@domain``, ``local-*@domain``, ``*@domain``; with ``!`` before it, an
address that is served here though a wider line takes it. A later sender is asked to come again: 451, never 5xx.

The lines change while a session runs, and so does what the host takes mail for, which an SMTP server reads when a
session begins. So a session asks `Session`, which looks at the files as they are at each RCPT.
"""

from __future__ import annotations

import os
from pathlib import Path

FILE = "control/late"
RCPTHOSTS = "control/rcpthosts"
NODES = "popboxes/.nodes"
REPLY = b"451 this node does not have that address yet, other nodes do (#4.3.0)"


class Session:
    """control/late during one SMTP session. Made before anything reads control/rcpthosts for that session."""

    def __init__(self, home: Path) -> None:
        """Note how the files are now.

        Raises:
            OSError: control/late cannot be looked at.
        """
        self._late, self._rcpthosts, self._nodes = f"{home}/{FILE}", f"{home}/{RCPTHOSTS}", f"{home}/{NODES}"
        self._home = home
        self._began = _mark(self._late), _mark(self._rcpthosts)
        self._mark: object = None
        self._lines: frozenset[bytes] = frozenset()

    def waits(self, address: bytes) -> bool:
        """Whether mail for this address waits now.

        Raises:
            OSError: control/late cannot be read.
        """
        mark = _mark(self._late)
        if mark != self._mark:
            self._lines, self._mark = read(self._home), mark
        return waits(self._lines, address)

    def stale(self) -> bool:
        """Whether a refusal of this session may be of a domain that came since it began; never where no nodes are."""
        changed = (_mark(self._late), _mark(self._rcpthosts)) != self._began
        return changed and os.path.lexists(self._nodes)


def _mark(path: str) -> object:
    """What tells one state of a file from another; None for a missing file.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def read(home: Path) -> frozenset[bytes]:
    """The lines of the file; none where there is no file.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return frozenset((home / FILE).read_bytes().split(b"\n")) - {b""}
    except FileNotFoundError:
        return frozenset()


def waits(lines: frozenset[bytes], address: bytes) -> bool:
    """Whether mail for this address waits: its own line first, then the longest that takes it, as in users/cdb."""
    local, at, domain = address.lower().rpartition(b"@")
    if not lines or not at:
        return False
    if b"@" + domain in lines:
        return True
    cuts = [local[:end] + b"-*" for end in range(len(local) - 1, -1, -1) if local[end : end + 1] == b"-"]
    for key in (local, *cuts, b"*"):
        line = key + b"@" + domain
        if b"!" + line in lines:
            return False
        if line in lines:
            return True
    return False
