"""Many reports of shards into one, a line at a time: memory does not grow with the boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from popbox.errors import PopboxError
from popbox.migrate.pop3.accounts import SIDES, Unusable
from popbox.migrate.pop3.host import leaving
from popbox.migrate.pop3.twice import Once
from popbox.migrate.verify.lines import Part
from popbox.migrate.verify.report import SCHEMA, Report, SideReport, Sums
from popbox.migrate.verify.result import Box, Named
from popbox.migrate.verify.shard import Shard, parse
from popbox.migrate.verify.work import elsewhere

EXTRAS = 100_000  # our choice: so many extra messages are remembered, to name the box of a missing one

PART_BITS = 40  # a place is the number of a part, its line, and the side


class Incomplete(PopboxError):
    """Parts are missing: the boxes in them have no verdict."""


@dataclass
class Merge:
    """The parts of one verification, complete and of one kind."""

    parts: list[Part]
    extras: dict[str, tuple[str, Named]] = field(default_factory=dict)

    def report(self) -> Report:
        """Everything but the boxes.

        Raises:
            Unusable: a part is not whole, or holds a box of another part, or a login stands for two boxes.
        """
        once = Once()
        for at, part in enumerate(self.parts):
            shard = parse(part.head.shard)
            for line, box in enumerate(part.boxes(), 2):
                self._look(part, shard, box)
                for new, login in enumerate((box.login, box.new_login)):
                    once.note((SIDES[new], login), at << PART_BITS | line << 1 | new)
        if double := once.twice():
            self._refuse(*double)
        sums = Sums()
        for box in self.boxes():
            sums.add(box)
        first = self.parts[0].head
        feet = [part.foot for part in self.parts if part.foot]
        return Report(
            schema=SCHEMA,
            old=_side([part.head.old for part in self.parts]),
            new=_side([part.head.new for part in self.parts]),
            way=first.way,
            content=first.content,
            began=min(part.head.began for part in self.parts),
            took_s=max(foot.took_s for foot in feet),
            resumed=sum(foot.resumed for foot in feet),
            totals=sums.totals(),
            boxes=(),
            oracles=tuple(oracle for foot in feet for oracle in foot.oracles),
        )

    def _refuse(self, first: int, second: int) -> None:
        """Name both places, as `report` has numbered them."""
        here, there = (
            f"{self.parts[place >> PART_BITS].path}: line {place % (1 << PART_BITS) >> 1}" for place in (second, first)
        )
        rule = f"the {SIDES[second & 1]} login is that of {there} already"
        raise Unusable(here, f"{rule}: the parts are not of one accounts file, or it gives a login to two boxes")

    def _look(self, part: Part, shard: Shard, box: Box) -> None:
        if not shard.holds(box.login):
            raise Unusable(part.path, f"the box {box.login!r} is not of shard {shard}")
        for finding in box.findings if len(self.extras) < EXTRAS else ():
            if finding.kind == "extra" and finding.key and finding.new:
                self.extras[finding.key] = (box.login, finding.new)

    def boxes(self) -> Iterator[Box]:
        """All boxes, with missing messages found in boxes of other parts."""
        for part in self.parts:
            for box in part.boxes():
                known = any(finding.kind == "elsewhere" for finding in box.findings)
                yield box if known else elsewhere(box, self.extras)


def merge(paths: Sequence[Path]) -> Merge:
    """See that the files are the parts of one verification.

    Raises:
        Unusable: a file is no part, two are the same one, or they are of different verifications.
        Incomplete: parts are missing.
    """
    parts = sorted(map(Part, paths), key=lambda part: _shard(part).number)
    first = parts[0].head.common
    for before, part in pairwise(parts):
        for what, value in part.head.common.items():
            if value != first[what]:
                raise Unusable(part.path, f"is of another verification: {what} is {value}, not {first[what]}")
        if part.head.shard == before.head.shard:
            raise Unusable(part.path, f"is shard {part.head.shard}, and so is {before.path}")
    have, of = {_shard(part).number for part in parts}, _shard(parts[0]).of
    missing = [number for number in range(1, of + 1) if number not in have]
    if missing:
        named = ", ".join(map(str, missing[:20])) + (", ..." if len(missing) > 20 else "")
        raise Incomplete(f"{len(missing)} of {of} shards are missing: {named}")
    return Merge(parts)


def _shard(part: Part) -> Shard:
    try:
        return parse(part.head.shard)
    except ValueError as error:
        raise Unusable(f"{part.path}: line 1", f"shard: {error}") from error


def _side(sides: Sequence[SideReport]) -> SideReport:
    """One host, as all parts saw it."""
    seen: Counter[str] = Counter()
    for side in sides:
        seen.update(side.profiles_seen)
    first = sides[0]
    said = leaving(max(seen, key=lambda name: seen[name])) if first.profile == "auto" and seen else first.leaving
    return first.model_copy(update={"profiles_seen": dict(sorted(seen.items())), "leaving": said})
