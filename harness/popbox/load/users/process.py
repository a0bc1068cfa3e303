"""What all users of one Locust process share: the spec, the journal, the boxes in the order of their next visit."""

from __future__ import annotations

import heapq
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from popbox.load.books.journal import Journal
from popbox.load.plan.model import AnyReader, Fetcher, Hoarder, Poller
from popbox.load.plan.spec import Spec
from popbox.load.users.boxes import Mailbox
from popbox.load.users.told import Told

LAG_EACH_S = 0.1  # our choice: how often a process looks whether it is late itself


class Turns:
    """The boxes of the class ``name`` of readers, each due once in ``plan.every`` seconds."""

    def __init__(self, name: str, plan: AnyReader, boxes: list[Mailbox], draw: random.Random) -> None:
        """The first visits are spread over that time."""
        now = time.monotonic()
        self.name, self.plan = name, plan
        self._due = [(now + draw.random() * plan.every, number, one) for number, one in enumerate(boxes)]
        heapq.heapify(self._due)

    def next_in(self) -> float:
        """Seconds until a box is due; negative where one is late."""
        return self._due[0][0] - time.monotonic() if self._due else 3_600.0

    def take(self) -> tuple[float, int, Mailbox]:
        """The box that is due first; it comes back by ``back``."""
        return heapq.heappop(self._due)

    def back(self, turn: tuple[float, int, Mailbox]) -> None:
        """A box whose visit has ended."""
        due, number, one = turn
        heapq.heappush(self._due, (max(due + self.plan.every, time.monotonic()), number, one))


class Process:
    """This process in the run: worker ``index`` of ``spec.processes``."""

    def __init__(self, spec: Spec, writer: str, index: int) -> None:
        """Begin the journal ``writer``."""
        self.spec, self.index = spec, index
        who = {"run": spec.run, "host": socket.gethostname(), "pid": os.getpid(), "index": index}
        self.journal = Journal(Path(spec.journals), writer, **who)
        self.began = time.monotonic()
        self.smtp, self.pop3 = spec.where()
        self._sessions = self._tokens = self._users = 0
        self.told = Told()
        self.turns = list(self._shared_out())

    def _shared_out(self) -> Iterator[Turns]:
        """The boxes of each class of readers: by their shares, and by this process's index."""
        readers = {
            name: one for name, one in self.spec.plan.classes.items() if isinstance(one, Poller | Fetcher | Hoarder)
        }
        total, at = sum(one.share for one in readers.values()), 0.0
        draw = random.Random(f"{self.spec.plan.seed} turns {self.index}")  # noqa: S311 - a schedule
        for name, one in readers.items():
            first, at = round(at * self.spec.boxes), at + one.share / total
            numbers = range(first, round(at * self.spec.boxes))
            mine = [number for number in numbers if number % self.spec.processes == self.index]
            boxes = [Mailbox(self.spec.box(number)) for number in mine]
            yield Turns(name, one, boxes, draw)

    def draw(self, name: str) -> random.Random:
        """The dice of one more user, thrown alike in each run of this seed."""
        self._users += 1
        return random.Random(f"{self.spec.plan.seed} {name} {self.index} {self._users}")  # noqa: S311 - a schedule

    def look_again(self) -> None:
        """Read where the host listens now."""
        self.smtp, self.pop3 = self.spec.where()

    def session(self) -> int:
        """A number for one more POP3 session."""
        self._sessions += 1
        return self._sessions

    def token(self) -> str:
        """A token for one more message of the run."""
        self._tokens += 1
        return f"{self.spec.run}-{self.index}-{self._tokens:08x}"  # none is the begin of another

    def note(self, event: str, **fields: Any) -> None:
        """A line of the journal."""
        self.journal.write(event, **fields)
        told = self.told
        if event == "accept":
            self.told = told._replace(accepted=told.accepted + 1)
        elif event == "list":
            self.told = told._replace(seen=told.seen + 1)
        elif event == "lag":
            self.told = told._replace(late_s=told.late_s + fields["took_us"] / 1e6, lived_s=told.lived_s + 1.0)

    def pace(self) -> float:
        """How many times as fast as the file says senders are now."""
        elapsed = time.monotonic() - self.began
        return next((one.pace for one in reversed(self.spec.plan.phases) if one.at <= elapsed), 1.0)
