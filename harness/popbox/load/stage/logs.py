"""What the MTA's log says of messages that need explaining: their lines, found by the qp of the reply to DATA."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from popbox.errors import PopboxError
from popbox.hosts.base import Ability, Host
from popbox.hosts.following import Follower
from popbox.journey.join.maillog import Did, Ended, Info, Started, parse
from popbox.load.books.judge import EVIDENCE, Case
from popbox.load.books.recorded import BEGAN

WITHIN_S = 60.0  # our choice: for reading the whole log of a run
QUIET_S = 3.0  # our choice: a log of which nothing has come for so long has ended
LOOK_S = 0.1
MOST_LINES = 40  # our choice: of one message
TRACE_OCTETS = 1_000  # our choice: what a server puts before a message that it takes is shorter


@dataclass
class _Reading:
    """What is known while a log is read: queue and delivery numbers of the messages that are wanted."""

    wanted: dict[int, list[Case]]
    found: dict[str, list[str]] = field(default_factory=dict)
    queued: dict[str, list[Case]] = field(default_factory=dict)
    running: dict[str, list[Case]] = field(default_factory=dict)
    lives: int = 1  # of the MTA: in each it counts its deliveries from 1
    seen_in: dict[str, int] = field(default_factory=dict)  # token -> the life of its last line

    def take(self, text: str) -> None:
        """One line of the log."""
        about: list[Case] = []
        match parse(text):
            case Info(number, octets, _, queued_as):
                same = self.wanted.get(int(queued_as), ())
                about = self.queued[number] = [one for one in same if 0 <= octets - one.octets < TRACE_OCTETS]
            case Started(delivery, number):
                self.lives += delivery == "1"
                about = self.running[delivery] = self.queued.get(number, [])
            case Did(delivery):
                about = self.running.pop(delivery, [])
            case Ended(number):
                about = self.queued.pop(number, [])
        for token in {one.token for one in about}:  # one of several recipients is a case of its own
            lines = self.found.setdefault(token, [])
            if len(lines) < MOST_LINES:
                lines += [BEGAN] if lines and self.seen_in[token] != self.lives else []
                lines.append(text)
            self.seen_in[token] = self.lives


def _read(log: Follower, reading: _Reading) -> None:
    """The whole log. One that a program shows has nothing at first, and then comes in pieces."""
    deadline = time.monotonic() + WITHIN_S
    quiet_at = time.monotonic() + QUIET_S
    while time.monotonic() < min(deadline, quiet_at):
        lines = list(log.lines())
        for line in lines:
            reading.take(line.text)
        if lines:
            quiet_at = time.monotonic() + QUIET_S
        else:
            time.sleep(LOOK_S)


def evidence(host: Host, cases: Iterable[Case], folder: Path) -> None:
    """Keep the log's lines on each token for the judge; a host without a log, or of another kind, has none."""
    wanted: dict[int, list[Case]] = {}
    for one in cases:
        if one.qp:
            wanted.setdefault(one.qp, []).append(one)
    if not wanted or host.cannot(Ability.LOG):
        return
    reading = _Reading(wanted)
    try:
        with closing(host.follow("smtp")) as log:
            _read(log, reading)
    except (PopboxError, OSError):
        return  # the verdict does not need it
    (folder / EVIDENCE).write_text(json.dumps(reading.found), "utf-8")
