"""What the MTA's log says of messages that need explaining: their lines, found by the qp of the reply to DATA."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from popbox.errors import PopboxError
from popbox.hosts.base import Ability, Host
from popbox.load.books.judge import EVIDENCE, Case

WITHIN_S = 60.0  # our choice: for reading the whole log of a run
MOST_LINES = 40  # our choice: of one message
TRACE_OCTETS = 1_000  # our choice: what a server puts before a message that it takes is shorter
QUEUED = re.compile(r"info msg (\d+): bytes (\d+) from <[^>]*> qp (\d+)")
STARTING = re.compile(r"starting delivery (\d+): msg (\d+) ")
DELIVERY = re.compile(r"delivery (\d+): ")
ENDED = re.compile(r"end msg (\d+)")


@dataclass
class _Reading:
    """What is known while a log is read: queue and delivery numbers of the messages that are wanted."""

    wanted: dict[int, list[Case]]
    found: dict[str, list[str]] = field(default_factory=dict)
    queued: dict[str, list[Case]] = field(default_factory=dict)
    running: dict[str, list[Case]] = field(default_factory=dict)

    def take(self, text: str) -> None:
        """One line of the log."""
        about: list[Case] = []
        if found := QUEUED.search(text):
            octets = int(found[2])
            about = [one for one in self.wanted.get(int(found[3]), ()) if 0 <= octets - one.octets < TRACE_OCTETS]
            self.queued[found[1]] = about
        elif found := STARTING.search(text):
            about = self.running[found[1]] = self.queued.get(found[2], [])
        elif found := DELIVERY.search(text):
            about = self.running.pop(found[1], [])
        elif found := ENDED.search(text):
            about = self.queued.pop(found[1], [])
        for one in about:
            lines = self.found.setdefault(one.token, [])
            if len(lines) < MOST_LINES:
                lines.append(text)


def evidence(host: Host, cases: Iterable[Case], folder: Path) -> None:
    """Keep the log's lines on each case for the judge; a host without a log, or of another kind, gives none."""
    wanted: dict[int, list[Case]] = {}
    for one in cases:
        if one.qp:
            wanted.setdefault(one.qp, []).append(one)
    if not wanted or host.cannot(Ability.LOG):
        return
    reading, deadline = _Reading(wanted), time.monotonic() + WITHIN_S
    try:
        log = host.follow("smtp")
        try:
            while time.monotonic() < deadline:
                lines = list(log.lines())
                if not lines:
                    break
                for line in lines:
                    reading.take(line.text)
        finally:
            log.close()
    except (PopboxError, OSError):
        return  # the verdict does not need it
    (folder / EVIDENCE).write_text(json.dumps(reading.found))
