"""What an MTA's log says of a delivery's record: whether a message was delivered twice without an end between. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from popbox.load.books.message import is_of

BEGAN = "the MTA began again"  # stands between the lines of a message before an end of the MTA and those after it
_START = re.compile(r"\bstarting delivery (\d+): msg \d+ to \S+ (\S+)")
_DONE = re.compile(r"\bdelivery (\d+): success: ")


def twice_in_one_life(log: Sequence[str], box: str) -> bool:
    """Whether one run of the MTA delivered a message to ``box`` twice: then no crash lay between delivery and record.

    ``log`` are the message's lines, with ``BEGAN`` where the MTA began again. Its addresses are as routed:
    ``domain-joe@domain`` for the box ``joe@domain``.
    """
    running: dict[str, str] = {}
    delivered = 0
    for line in log:
        if line == BEGAN:
            running, delivered = {}, 0
        elif start := _START.search(line):
            running[start[1]] = start[2]
        elif done := _DONE.search(line):
            to = running.pop(done[1], "")
            delivered += is_of(to, box)
        if delivered > 1:
            return True
    return False
