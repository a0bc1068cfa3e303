"""One rule tried on a whole file: how many messages it finds, and what speaks for it and against it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from popbox.migrate.oldhost.mboxes.marks import Mark
from popbox.migrate.oldhost.mboxes.rule import Landing, Rule, is_start, landing

MOST_DOUBTS = 20  # our choice: of each kind; the others are counted
MOST_PENDING = 100  # our choice: so many From_ lines in one body, and its length is not believed
MOST_DISTRUSTED = 1_000  # our choice: with more wrong lengths, no length of the file is believed


class Doubt(NamedTuple):
    """A place where the file does not say what it is; ``line`` 0: the file as a whole."""

    line: int
    text: str


class Doubts:
    """The first of them, and how many there are."""

    def __init__(self) -> None:
        """None."""
        self.first: list[Doubt] = []
        self.count = 0

    def add(self, line: int, text: str) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < MOST_DOUBTS:
            self.first.append(Doubt(line, text))

    def all(self) -> list[Doubt]:
        """The first ones, and a last one that counts the rest."""
        rest = self.count - len(self.first)
        return [*self.first, Doubt(0, f"and {rest} more places of that kind")] if rest else list(self.first)


class Trial:
    """``take`` each mark, then ``end``. Memory is bounded, whatever the file.

    ``tight``: messages that begin without an empty line before; ``inner``: dated From_ lines with a header that are
    text for want of an empty line; ``covered``: From_ lines that a length makes text, ``strong`` those that would begin
    a message otherwise, ``own`` those of them with a Content-Length of their own. ``hits``: lengths that lead to where
    the next message begins.
    """

    def __init__(self, rule: Rule) -> None:
        """Nothing taken."""
        self.rule = rule
        self.messages = self.tight = self.spaced = self.inner = self.covered = self.strong = self.own = 0
        self.unquoted = self.lengths = self.hits = 0
        self.torn, self.misses = Doubts(), Doubts()
        self.distrusted: set[int] = set()
        self._message: Mark | None = None
        self._first: Mark | None = None
        self._pending: list[Mark] = []

    @property
    def hopeless(self) -> bool:
        """Too many lengths are wrong."""
        return len(self.distrusted) > MOST_DISTRUSTED

    def take(self, mark: Mark, *, end: bool = False) -> None:
        """The next mark; ``end``: that of the file's end."""
        if self.hopeless:
            return
        work = deque([mark])
        while work:
            one = work.popleft()
            last = end and not work
            if self._message is None:
                self._begin(one, last)
                continue
            there = self._landing(self._message, one)
            if there is Landing.BEYOND and not last and len(self._pending) < MOST_PENDING:
                self._pending.append(one)
            elif there is None or there is Landing.HERE:
                self._by_line(self._message, one, last) if there is None else self._landed(one, last)
            else:
                self._miss(self._message)
                self.distrusted.add(self._message.at)
                work.appendleft(one)
                work.extendleft(reversed(self._pending))
                self._pending.clear()

    def _landing(self, message: Mark, mark: Mark) -> Landing | None:
        """None: no length of it is believed."""
        if not self.rule.counted or message.head.length is None or message.at in self.distrusted:
            return None
        return landing(message, message.head.length, mark, self.rule.counted)

    def _landed(self, mark: Mark, last: bool) -> None:
        """The length leads here: From_ lines on the way are text."""
        self.hits += 1
        for one in self._pending:
            self.covered += 1
            if is_start(one, self.rule) and one.head.kind == "known":
                self.strong += 1
                self.own += one.head.length is not None
        self._pending.clear()
        self._begin(mark, last)

    def _by_line(self, message: Mark, mark: Mark, last: bool) -> None:
        """By the line alone; a length that is not believed is compared all the same."""
        if last or is_start(mark, self.rule):
            length = message.head.length
            if length is not None and message.at not in self.distrusted:
                if landing(message, length, mark, "raw") is Landing.HERE:
                    self.hits += 1
                else:
                    self._miss(message)
            self._begin(mark, last)
            return
        self.unquoted += 1
        self.inner += mark.kind == "dated" and mark.head.kind in ("known", "field")
        what = {"git": "a From_ line of git", "undated": "a line `From ` without a date, with a header behind it,"}
        why = "it can begin a message too" if mark.blank else "no empty line is before it, yet it can begin a message"
        self.torn.add(mark.line, f"{what.get(mark.kind, 'a From_ line')} is taken as text; {why}")

    def _miss(self, message: Mark) -> None:
        length = "two that differ" if message.head.length == -1 else message.head.length
        told = f"Content-Length {length} of the message that begins here does not lead to where the next one begins"
        self.misses.add(message.line, told)

    def _begin(self, mark: Mark, last: bool) -> None:
        if last:
            return
        if self._message is None:
            self._first = mark
        elif mark.blank:
            self.spaced += 1
        else:
            self.tight += 1
        self._message = mark
        self.messages += 1
        self.lengths += mark.head.length is not None
        self._judge(mark)

    def _judge(self, mark: Mark) -> None:
        """What speaks against a message beginning here."""
        alike = self._first is None or (self._first.head.kind == mark.head.kind and mark.head.kind == "empty")
        if mark.nul:
            self.torn.add(mark.line, "a From_ line behind NUL octets: a message begins here, the NULs are left before")
        elif mark.kind == "loose":
            self.torn.add(mark.line, "a From_ line with a date in no known form is taken as the start of a message")
        elif mark.head.kind in ("text", "empty") and not alike:
            self.torn.add(mark.line, "a From_ line without a header behind it is taken as the start of a message")
