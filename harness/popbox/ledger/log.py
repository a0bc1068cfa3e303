"""An MTA's log as one story for each message; ``journey.join.maillog`` reads its lines.

A message number is an inode, which the next message may get again: a story lasts from ``new msg`` to ``end msg``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from popbox.journey.join.maillog import Bounced, Did, Ended, Info, Line, New, Started, parse


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
        said = parse(line)
        if isinstance(said, New) or (isinstance(said, Info) and said.number not in opened):
            story = opened[said.number] = Story(said.number)
            told.append(story)
        if story_of := _belongs(said, opened, running):
            story_of.lines.append(line)
            _tell(said, story_of, opened, running)
    return told


def _belongs(said: Line | None, opened: dict[str, Story], running: dict[str, tuple[Story, Attempt]]) -> Story | None:
    if said is None:
        return None
    if isinstance(said, Did):
        return running[said.delivery][0] if said.delivery in running else None
    return opened.get(said.number)


def _tell(said: Line | None, story: Story, opened: dict[str, Story], running: dict[str, tuple[Story, Attempt]]) -> None:
    match said:
        case Info():
            story.sender, story.queued_as = said.sender, said.queued_as
        case Started():
            attempt = Attempt(said.address, channel=said.channel)
            story.attempts.append(attempt)
            running[said.delivery] = (story, attempt)
        case Did():
            attempt = running.pop(said.delivery)[1]
            attempt.outcome, attempt.said, attempt.kept = said.outcome, said.said, said.kept
            story.children += said.forwards
        case Bounced():
            story.bounce = said.queued_as
        case Ended():
            story.ended = True
            del opened[said.number]


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
