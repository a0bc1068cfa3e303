"""Which dialect an mbox is in, by the evidence of the whole file, and where that evidence is torn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from popbox.migrate.oldhost.mboxes.formats import refusal
from popbox.migrate.oldhost.mboxes.header import HEAD_OCTETS
from popbox.migrate.oldhost.mboxes.marks import BLOCK_OCTETS, Mark, Marks
from popbox.migrate.oldhost.mboxes.rule import Rule
from popbox.migrate.oldhost.mboxes.trial import Doubt, Trial
from popbox.migrate.oldhost.tree import OldHostError

Quoting = Literal["rd", "o", "none"]
Boundaries = Literal["blank", "any", "length"]
FIRST_OCTETS = 512
ENOUGH_HITS = 2  # our choice: one length can lead to a From_ line by chance


@dataclass(frozen=True, slots=True)
class Choice:
    """What the operator has decided; None: by the file."""

    quoting: Quoting | None = None
    boundaries: Boundaries | None = None


BY_THE_FILE = Choice()


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read one file, and what to tell of it.

    ``messages`` are those that an import brings; ``folder_data``: the first one is a mail reader's own notes, and is
    not among them. ``line_ends``: LF, CRLF or mixed; ``lf``: CR LF is taken for LF. ``doubts``: where the file does not
    say what it is; ``notes``: what was chosen, and what it means.
    """

    dialect: str
    rule: Rule
    quoting: Quoting
    line_ends: str
    lf: bool
    messages: int
    folder_data: bool
    octets: int
    doubts: list[Doubt] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def survey(
    body: Iterable[bytes], choice: Choice = BY_THE_FILE, block: int = BLOCK_OCTETS, head: int = HEAD_OCTETS
) -> Reading:
    """Read an mbox once, in bounded memory; ``block`` and ``head`` are those of `Marks`.

    Raises:
        OldHostError: the file is no mbox; says what it is.
    """
    marks = Marks(body, block, head)
    work = _Survey()
    before = b""
    for one in marks:
        if isinstance(one, Mark):
            work.take(one)
        elif work.first is None:
            before = (before + one)[:FIRST_OCTETS]
            if before.strip(b"\r\n\0") and len(before) == FIRST_OCTETS:
                raise OldHostError(refusal(before))
    if before.strip(b"\r\n\0"):
        raise OldHostError(refusal(before))
    return work.reading(marks, choice, before)


class _Survey:
    """Every rule that may fit, tried side by side."""

    def __init__(self) -> None:
        self.first: Mark | None = None
        self.end: Mark | None = None
        self.trials: dict[tuple[bool, str], Trial] = {}

    def take(self, mark: Mark) -> None:
        """The next mark; that of the end has no line."""
        if not mark.start:
            self.end = mark
        elif self.first is None:
            self._begin(mark)
        for trial in self.trials.values():
            trial.take(mark, end=not mark.start)

    def _begin(self, mark: Mark) -> None:
        if mark.kind == "undated":
            raise OldHostError(refusal(mark.start))
        self.first, git = mark, mark.kind == "git"
        for blank in (True, False):
            self.trials[blank, ""] = Trial(Rule(blank, git=git))
            self.trials[blank, "raw"] = Trial(Rule(blank, "raw", git))
            if mark.start.endswith(b"\r\n"):
                self.trials[blank, "lf"] = Trial(Rule(blank, "lf", git))

    def reading(self, marks: Marks, choice: Choice, before: bytes) -> Reading:
        """The verdict."""
        assert self.end is not None
        octets, line_ends = self.end.at, _line_ends(marks)
        if self.first is None:
            notes = ["no message is in it"] if octets else []
            notes += [f"{marks.nuls} NUL octets are dropped"] if marks.nuls else []
            doubts = [Doubt(1, "nothing but NUL octets and empty lines is in it")] if marks.nuls else []
            return Reading("empty", Rule(blank=True), "none", line_ends, False, 0, False, octets, doubts, notes)
        taken, doubts = self._boundaries(choice.boundaries)
        if choice.boundaries in ("blank", "any"):
            doubts = []
        if b"\0" in before:
            doubts.insert(0, Doubt(1, "NUL octets are before the first From_ line: they are dropped"))
        unquoted = marks.plain + taken.unquoted + taken.covered
        dialect, quoting, notes = _quoting(marks, taken, unquoted, choice.quoting)
        lf = self.first.start.endswith(b"\r\n")
        if line_ends == "mixed":
            told = "is taken for LF everywhere" if lf else "stays where it is"
            notes.append(f"{marks.returns} of {marks.lines} lines end in CR LF: it {told}, as the first line ends")
        if marks.nuls:
            notes.append(f"{marks.nuls} NUL octets are in it")
        if not self.end.ends:
            notes.append("the last line has no line end: the message can be cut off")
        data = self.first.head.folder_data
        notes += ["its first message is a mail reader's own notes: not imported"] if data else []
        rule = taken.rule._replace(distrusted=frozenset(taken.distrusted))
        if not rule.blank and taken.tight:
            dialect += ", no empty line between messages"
        return Reading(dialect, rule, quoting, line_ends, lf, taken.messages - data, data, octets, doubts, notes)

    def _boundaries(self, choice: Boundaries | None) -> tuple[Trial, list[Doubt]]:
        """The trial whose rule is taken, and what speaks against it."""
        plain, torn = self._spaced("", choice)
        if choice in ("blank", "any"):
            return plain, []
        counts = [self._spaced(counted, choice) for counted in ("raw", "lf") if (True, counted) in self.trials]
        counted, torn_there = min(counts, key=lambda one: (one[0].hopeless, one[0].misses.count))
        if choice == "length" and not counted.hopeless:
            return counted, torn_there + counted.misses.all()
        if counted.covered and not counted.hopeless and _believed(counted):
            return counted, torn_there + counted.misses.all()
        return plain, torn + plain.misses.all()

    def _spaced(self, counted: str, choice: Boundaries | None) -> tuple[Trial, list[Doubt]]:
        """Whether an empty line must stand before a From_ line: yes, where any message but the first has one."""
        spaced, tight = self.trials[True, counted], self.trials[False, counted]
        assert self.end is not None
        if choice in ("blank", "any"):
            return (spaced, []) if choice == "blank" else (tight, [])
        if not spaced.inner:
            return spaced, spaced.torn.all()
        if not tight.spaced and not self.end.blank:
            return tight, tight.torn.all()
        if tight.tight > tight.spaced:
            told = f"without an empty line before them begin {tight.tight} messages of {tight.tight + tight.spaced}"
            return tight, [Doubt(0, told), *tight.torn.all()]
        return spaced, spaced.torn.all()


def _believed(trial: Trial) -> bool:
    """Whether lengths may make text of From_ lines.

    Lines that would begin a whole message otherwise need more: a length in every message, two that fit, and none in
    what they cover. Else one wrong length would merge two messages.
    """
    if not trial.strong:
        return True
    return trial.hits >= ENOUGH_HITS and trial.lengths == trial.messages and not trial.own


def _line_ends(marks: Marks) -> str:
    if not marks.returns:
        return "LF"
    return "CRLF" if marks.returns == marks.lines else "mixed"


def _quoting(marks: Marks, taken: Trial, unquoted: int, choice: Quoting | None) -> tuple[str, Quoting, list[str]]:
    """The dialect, the quoting to undo, and what is open: only lines ``>From `` and ``From `` can tell."""
    quoting: Quoting
    lengths = taken.lengths == taken.messages == taken.hits
    if (lengths and unquoted) or taken.covered:
        dialect, quoting, means = "mboxcl2", "none", "stay: this dialect quotes nothing"
    elif lengths and (marks.quoted or marks.doubled):
        dialect, quoting, means = "mboxcl", "o", "lose a > where they are `>From `, and stay where they have more"
    elif lengths:
        dialect, quoting, means = "mboxcl or mboxcl2, which no line tells", "o", ""
    elif unquoted:
        dialect, quoting, means = "mboxo", "o", "lose a > where they are `>From `; lines `From ` are not quoted here"
    elif marks.doubled:
        dialect, quoting, means = "mboxrd", "rd", "lose one >; in mboxo those with more than one would stay"
    elif marks.quoted:
        dialect, quoting, means = "mboxo or mboxrd, which read alike here", "rd", "lose their >"
    else:
        dialect, quoting, means = "mboxo or mboxrd, which no line tells", "rd", ""
    if choice is not None:
        quoting, means = choice, f"are read as --mbox-quoting {choice} says"
    if not (marks.quoted or marks.doubled):
        return dialect, quoting, []
    return dialect, quoting, [f"lines `>From ` ({marks.quoted}, with more > {marks.doubled}) {means}"]
