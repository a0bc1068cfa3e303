"""Reading an MTA's log: one story for each message. Both MTAs log in qmail-send's line form (qmail-log(5)).

A message number is an inode, which the next message may get again: a story lasts from ``new msg`` to ``end msg``. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

NEW = re.compile(r"\bnew msg (\d+)$")
INFO = re.compile(r"\binfo msg (\d+): bytes \d+ from <(.*)> qp (\d+) ")
STARTED = re.compile(r"\bstarting delivery (\d+): msg (\d+) to (local|remote) (.*)")
ENDED = re.compile(r"\bdelivery (\d+): (success|failure|deferral): (.*)")
BOUNCE = re.compile(r"\bbounce msg (\d+) qp (\d+)")
END = re.compile(r"\bend msg (\d+)$")
KEPT = re.compile(r"\bdid_(\d+)\+(\d+)\+(\d+)/")  # qmail-local(8): files, forwards, programs
FORWARDED_AS = re.compile(r"/qp_(\d+)/")
TAI64N = re.compile(r"@([0-9a-f]{16})([0-9a-f]{8}) ")
WALL = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)? ")
TAI_OFFSET = (1 << 62) + 10  # tai64nlocal(8) counts so, without leap seconds


@dataclass(slots=True)
class Attempt:
    """One delivery attempt: the routed address, how it ended (``running`` if not yet) and the MTA's words.

    ``kept`` counts the files that it wrote; None where the words do not say so.
    """

    recipient: str
    outcome: str = "running"
    said: str = ""
    channel: str = "local"
    kept: int | None = None


@dataclass(slots=True)
class Story:
    """All that was logged of one message: ``queued_as`` is its qp, ``children`` those of its forwarded copies."""

    number: str
    queued_as: str = ""
    sender: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    bounce: str = ""  # qp of the bounce
    ended: bool = False
    lines: list[str] = field(default_factory=list)

    def pending(self) -> list[Attempt]:
        """The last attempt of each recipient that is not at its end: running or deferred."""
        last = {one.recipient: one for one in self.attempts}
        return [] if self.ended else [one for one in last.values() if one.outcome in ("running", "deferral")]


def stories(log: str) -> list[Story]:
    """Every message of a log, oldest first."""
    told: list[Story] = []
    opened: dict[str, Story] = {}  # message number -> the story that it stands for now
    running: dict[str, tuple[Story, Attempt]] = {}
    for line in log.splitlines():
        if (found := NEW.search(line)) or ((found := INFO.search(line)) and found.group(1) not in opened):
            story = opened[found.group(1)] = Story(found.group(1))
            told.append(story)
        if story_of := _belongs(line, opened, running):
            story_of.lines.append(line)
            _tell(line, story_of, opened, running)
    return told


def _belongs(line: str, opened: dict[str, Story], running: dict[str, tuple[Story, Attempt]]) -> Story | None:
    for pattern, group in ((NEW, 1), (INFO, 1), (STARTED, 2), (BOUNCE, 1), (END, 1)):
        if found := pattern.search(line):
            return opened.get(found.group(group))
    ended = ENDED.search(line)
    return running[ended.group(1)][0] if ended and ended.group(1) in running else None


def _tell(line: str, story: Story, opened: dict[str, Story], running: dict[str, tuple[Story, Attempt]]) -> None:
    if found := INFO.search(line):
        story.sender, story.queued_as = found.group(2), found.group(3)
    elif found := STARTED.search(line):
        attempt = Attempt(found.group(4), channel=found.group(3))
        story.attempts.append(attempt)
        running[found.group(1)] = (story, attempt)
    elif found := ENDED.search(line):
        _end(running.pop(found.group(1))[1], story, found.group(2), found.group(3))
    elif found := BOUNCE.search(line):
        story.bounce = found.group(2)
    elif found := END.search(line):
        story.ended = True
        del opened[found.group(1)]


def _end(attempt: Attempt, story: Story, outcome: str, said: str) -> None:
    attempt.outcome, attempt.said = outcome, said.replace("_", " ").rstrip("/")
    if outcome == "success" and (did := KEPT.search(said)):
        attempt.kept = int(did.group(1))
        story.children += FORWARDED_AS.findall(f"/{said}")


def family(told: list[Story], queued_as: str) -> Iterator[Story]:
    """The message that was queued as that, then its forwarded copies, at any depth. Its bounce is not of the family."""
    asked, seen = [queued_as], set[str]()
    while asked:
        qp = asked.pop(0)
        found = [story for story in told if story.queued_as == qp]
        if found and qp not in seen:
            yield found[-1]
            asked += found[-1].children
        seen.add(qp)


def stamp(line: str) -> float | None:
    """Wall clock of a line, in seconds, where the logger put one: TAI64N (multilog) or ISO 8601 in UTC (s6-log)."""
    if found := TAI64N.match(line):
        return int(found.group(1), 16) - TAI_OFFSET + int(found.group(2), 16) / 1e9
    if found := WALL.match(line):
        second = datetime.fromisoformat(found.group(1)).replace(tzinfo=UTC)
        return second.timestamp() + float(found.group(2) or 0)
    return None
