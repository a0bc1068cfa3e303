"""control/late: addresses that another node of the mail host knows already, and this one does not yet.

Written by `mailhost follow --node`; asked at each RCPT, by the stand-in and by ``late`` before qmail-smtpd. Lines:
``@domain`` (nothing of it is served here), ``local@domain``, ``local-*@domain``, ``*@domain``; with ``!`` before it, an
address that is served here though a wider line takes it. A later sender is asked to come again: 451, never 5xx.
"""

from __future__ import annotations

from pathlib import Path

FILE = "control/late"
REPLY = b"451 this node does not have that address yet, other nodes do (#4.3.0)"


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
