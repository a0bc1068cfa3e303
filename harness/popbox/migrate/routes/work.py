"""Two hosts compared over all addresses: both are asked at the same time, answers are judged as they come."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from popbox.errors import HostError
from popbox.migrate.routes.boxes import Boxes
from popbox.migrate.routes.compare import Answer, Difference, End, judge
from popbox.migrate.routes.meaning import FOLLOW, STOPS, Programs
from popbox.migrate.routes.side import Side

MOST_ROUNDS = 20  # our choice: forwards by programs that lead on and on
KEPT = 1 << 16  # our choice: pairs of answers that are remembered to be the same, for each kind of address
PLAIN = (b'"maildir"', b'"mbox"', b'"program"', b'"not judged"')


@dataclass(slots=True)
class Outcome:
    """What came of it. ``hosts``: what each side's `mailhost explain` says of its host; ``asked``: by kind."""

    asked: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)

    def count(self, what: str) -> int:
        """How many addresses are ``changed``, ``not judged`` or ``added``."""
        return sum(one.what == what for one in self.differences)


class Work:
    """Two hosts, and how their boxes correspond."""

    def __init__(self, old: Side, new: Side, boxes: Boxes) -> None:
        """Nothing is asked yet."""
        self._sides, self._boxes = (old, new), boxes
        self._programs = Programs(old.tree), Programs(new.tree)
        self._same: dict[str, set[tuple[bytes, bytes]]] = {}

    def run(self, addresses: Mapping[bytes, str]) -> Outcome:
        """Compare all; ``addresses``: each with its kind.

        Raises:
            UnusableError: mailhost cannot use the files of a side.
            HostError: mailhost does not run, or ends early.
        """
        outcome = Outcome(Counter(addresses.values()))
        waiting: list[tuple[bytes, str, list[Answer]]] = []
        with tempfile.NamedTemporaryFile(prefix="popbox-routes-") as file:
            file.writelines(address + b"\n" for address in addresses)
            file.flush()
            for address, kind, lines in self._lines(Path(file.name), addresses, outcome):
                answers = [self._programs[which].meant(parse(lines[which])) for which in (0, 1)]
                if any(end.kind in (FOLLOW, STOPS) for one in answers for end in one.ends):
                    waiting.append((address, kind, answers))
                elif self._judge(outcome, address, kind, answers):
                    self._note_same(kind, lines)
        self._follow(waiting)
        for address, kind, answers in waiting:
            self._judge(outcome, address, kind, answers)
        self._explain(outcome.differences)
        return outcome

    def _lines(
        self, file: Path, addresses: Mapping[bytes, str], outcome: Outcome
    ) -> Iterator[tuple[bytes, str, tuple[bytes, bytes]]]:
        """What mailhost says of those that are not the same at the first look.

        The many addresses of a box have one pair of lines, which is judged once.
        """
        old, new = (side.answers(file) for side in self._sides)
        with closing(old), closing(new):
            outcome.hosts = [json.loads(next(one, b"{}")) for one in (old, new)]
            count = 0
            for (address, kind), lines in zip(addresses.items(), zip(old, new, strict=False), strict=False):
                count += 1
                if lines in self._same.get(kind, ()):
                    continue
                if lines[0] == lines[1] and not any(word in lines[0] for word in PLAIN):
                    continue
                yield address, kind, lines
            if count != len(addresses) or next(old, None) is not None or next(new, None) is not None:
                raise HostError(f"`mailhost explain` answered {count} of {len(addresses)} addresses")

    def _note_same(self, kind: str, lines: tuple[bytes, bytes]) -> None:
        there = self._same.setdefault(kind, set())
        if len(there) >= KEPT:
            there.clear()
        there.add(lines)

    def _judge(self, outcome: Outcome, address: bytes, kind: str, answers: list[Answer]) -> bool:
        found = judge(address, kind, answers[0], answers[1], self._boxes.same)
        if found is not None:
            outcome.differences.append(found)
        return found is None

    def _follow(self, waiting: list[tuple[bytes, str, list[Answer]]]) -> None:
        """Ask each host for the addresses that its programs send to, and put their ends in the place of the address."""
        for which, side in enumerate(self._sides):
            whole = self._whole(which, [(address, answers[which]) for address, _, answers in waiting])
            for (_, _, answers), one in zip(waiting, whole, strict=True):
                answers[which] = one
            known: dict[str, tuple[End, ...]] = {}
            for _ in range(MOST_ROUNDS):
                ahead = {end.text for _, _, answers in waiting for end in answers[which].ends if end.kind == FOLLOW}
                if not ahead:
                    break
                names = sorted(ahead - known.keys())
                asked = side.ask(map(_octets, names)) if names else []
                answered = [self._programs[which].meant(answer_of(found)) for found in asked]
                for name, one in zip(
                    names, self._whole(which, list(zip(map(_octets, names), answered, strict=True))), strict=True
                ):
                    known[name] = one.ends
                for _, _, answers in waiting:
                    answers[which] = _put(answers[which], known)
            for _, _, answers in waiting:
                left = [end._replace(kind="forward") if end.kind == FOLLOW else end for end in answers[which].ends]
                answers[which] = answers[which]._replace(ends=tuple(left))

    def _whole(self, which: int, answers: list[tuple[bytes, Answer]]) -> list[Answer]:
        """The same; of one with a program that stops other lines, what the .qmail file does to which it comes first."""
        stopped = [address for address, one in answers if any(end.kind == STOPS for end in one.ends)]
        told = self._sides[which].ask(stopped, steps=True) if stopped else []
        files = dict(zip(stopped, (_first_dotqmail(found["where"]) for found in told), strict=True))
        return [self._unstopped(which, one, files.get(address)) for address, one in answers]

    def _unstopped(self, which: int, answer: Answer, file: bytes | None) -> Answer:
        ends = self._programs[which].whole(file) if file is not None else None
        if ends is None:  # as it stands: a program of its own
            ends = [end._replace(kind="program") if end.kind == STOPS else end for end in answer.ends]
        return answer._replace(ends=tuple(ends))

    def _explain(self, differences: list[Difference]) -> None:
        """Add the files and lines that decided."""
        if not differences:
            return
        old, new = (side.ask([one.address for one in differences], steps=True) for side in self._sides)
        for one, before, after in zip(differences, old, new, strict=True):
            one.old = one.old._replace(where=tuple(before["where"]))
            one.new = one.new._replace(where=tuple(after["where"]))


def _first_dotqmail(where: Iterable[str]) -> bytes | None:
    files = (one.rpartition(":")[0] for one in where)
    return next((_octets(file) for file in files if file.rpartition("/")[2].startswith(".qmail")), None)


def parse(line: bytes) -> Answer:
    """One line of `mailhost explain --batch`."""
    return answer_of(json.loads(line))


def answer_of(found: dict[str, Any]) -> Answer:
    """One answer of `Side.ask`."""
    return Answer(found["accepted"], tuple([End(*end) for end in found["ends"]]))


def _put(answer: Answer, known: Mapping[str, Iterable[End]]) -> Answer:
    ends = [one for end in answer.ends for one in (known[end.text] if end.kind == FOLLOW else (end,))]
    return answer._replace(ends=tuple(ends[:1000]))


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
