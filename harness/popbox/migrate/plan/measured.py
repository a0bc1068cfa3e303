"""What was measured of our POP3 server, of qmail's SMTP and of mailboxes on disk: each figure with its bench and date.

All on one machine (`MACHINE`), so they say how large a host like that must be; on another one measure again.
"""

from __future__ import annotations

from typing import NamedTuple

MACHINE = "two virtual cores (Intel Xeon), Linux, ext4 with blocks of 4,096 octets"
BLOCK_OCTETS = 4_096
POP3_BENCH = "tests/bench/pop3/run.py, 2026-11-26"
BOX_BENCH = "du and find on 20 boxes made by `mailhost mailbox add`, 2026-11-28"


class Figure(NamedTuple):
    """The least and the most that runs have shown, in the unit that ``what`` names."""

    what: str
    least: float
    most: float
    source: str


POLL = Figure("ms of processor for login, STAT, QUIT; hash known from an earlier login", 0.0774, 0.0877, POP3_BENCH)
FETCH = Figure("ms of processor for a session that fetches and deletes 10 x 4 KiB", 0.697, 0.773, POP3_BENCH)
LOGGED_IN = Figure("MB for 1,000 sessions at a time; one worker, two workers", 25.4, 37.0, POP3_BENCH)
SMTP = Figure(
    "ms of processor for a message through qmail: SMTP, queue, delivery",
    5.7,
    6.2,
    "tests/bench/standin/bench.py --only qmail, 2026-11-28, beside other work",
)
BOX_OCTETS = Figure("octets on disk for an empty mailbox, with its accounts' files", 25_600, 25_600, BOX_BENCH)
BOX_INODES = Figure("inodes for an empty mailbox, with its accounts' files", 6.15, 6.15, BOX_BENCH)
