"""Which of the marked lines begin a message: one rule for the survey, which tries several, and for the splitter."""

from __future__ import annotations

from enum import Enum, auto
from typing import Literal, NamedTuple

from popbox.migrate.oldhost.mboxes.marks import Mark

Counted = Literal["", "raw", "lf"]
"""How Content-Length counts: not at all, octets as in the file, or octets with LF line ends (of a file with CR LF)."""


class Rule(NamedTuple):
    """``blank``: a From_ line counts behind an empty line only; ``git``: the file is one of git's patches.

    ``counted``: the body of a message is as long as its Content-Length says, but for the messages at the offsets
    ``distrusted``.
    """

    blank: bool
    counted: Counted = ""
    git: bool = False
    distrusted: frozenset[int] = frozenset()


class Landing(Enum):
    """Where the Content-Length of a message leads, seen from a later mark."""

    BEYOND = auto()  # behind the mark: the mark is in the body
    HERE = auto()  # to the mark, but for line ends
    SHORT = auto()  # to some text before the mark


def landing(message: Mark, length: int, mark: Mark, counted: Counted) -> Landing:
    """Where ``length`` octets of body lead; they may be counted before From_ lines were quoted, or CR were added."""
    body, low, high = message.body, mark.text_end, mark.at
    body_lf, high_lf = message.body - message.body_returns, mark.at - mark.returns
    low_lf = high_lf - mark.ends
    if counted == "lf":
        body, low, high = body_lf, low_lf, high_lf
    end = body + length
    if end > high:
        return Landing.BEYOND
    quotes = mark.quotes - message.body_quotes
    fits = low <= end <= high or low <= end + quotes <= high or low_lf <= body_lf + length <= high_lf
    return Landing.HERE if fits and length >= 0 else Landing.SHORT


def is_start(mark: Mark, rule: Rule) -> bool:
    """Whether a message begins at a mark, by the line and its surroundings alone."""
    if mark.kind == "git":
        return rule.git and mark.blank
    if mark.kind == "undated":
        return False
    if mark.nul:
        return mark.head.kind == "known"
    if mark.blank:
        return mark.kind == "dated" or mark.head.kind != "text"
    return not rule.blank and mark.kind == "dated" and mark.head.kind in ("known", "field")


class Starts:
    """The rule applied to the marks in turn. What lengths it trusts is known before, so nothing must be taken back."""

    def __init__(self, rule: Rule) -> None:
        """No message has begun."""
        self.rule = rule
        self.message: Mark | None = None

    def take(self, mark: Mark) -> bool:
        """Whether a message begins here."""
        begins = self.message is None or self._begins(self.message, mark)
        if begins:
            self.message = mark
        return begins

    def _begins(self, message: Mark, mark: Mark) -> bool:
        length = message.head.length
        if self.rule.counted and length is not None and message.at not in self.rule.distrusted:
            there = landing(message, length, mark, self.rule.counted)
            if there is not Landing.SHORT:
                return there is Landing.HERE
        return is_start(mark, self.rule)
