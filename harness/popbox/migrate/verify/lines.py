"""A report as JSON lines, for ``merge``: a head, a line for each box, and a last line with the sums.

It can be read without holding it in memory. A file without its last line, or with another number of boxes than that
says, was cut off or put together by hand, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Literal

from pydantic import Field, ValidationError

from popbox.migrate.pop3.accounts import Unusable
from popbox.migrate.verify.report import Oracle, Report, SideReport
from popbox.migrate.verify.result import Box, Plain
from popbox.reading import opened

SCHEMA = "popbox.migrate-verify-lines/1"
LINE_OCTETS = 256 << 20  # our choice: a box with a million findings
MOST_OCTETS = 1 << 40  # our choice: it is read a line at a time


class Head(Plain):
    """What all parts of one verification have in common, and which part this is."""

    schema_: Literal["popbox.migrate-verify-lines/1"] = Field(alias="schema")
    shard: str
    old: SideReport
    new: SideReport
    way: Literal["pop3", "files"]
    content: bool
    began: str

    @property
    def common(self) -> dict[str, object]:
        """What must be the same in all parts."""
        sides = {name: (side.address, side.tls, side.profile) for name, side in (("old", self.old), ("new", self.new))}
        return {**sides, "way": self.way, "content": self.content, "number of shards": self.shard.partition("/")[2]}


class Foot(Plain):
    """The end of a part: how many boxes it has, how long it took."""

    ended: Literal[True]
    boxes: int
    took_s: float
    resumed: int
    oracles: tuple[Oracle, ...] = ()


def as_lines(report: Report, shard: str) -> str:
    """The whole file; ``shard`` is ``K/N``, ``1/1`` for all boxes."""
    head = Head.model_validate({"schema": SCHEMA, "shard": shard, **report.model_dump(include=set(Head.model_fields))})
    foot = Foot(
        ended=True, boxes=len(report.boxes), took_s=report.took_s, resumed=report.resumed, oracles=report.oracles
    )
    return "".join(f"{line.model_dump_json(by_alias=True)}\n" for line in (head, *report.boxes, foot))


class Part:
    """One file of a shard. ``head`` is read at once; ``foot`` once ``boxes`` has been read to its end."""

    def __init__(self, path: Path) -> None:
        """Read the head.

        Raises:
            Unusable: it is no such file.
        """
        self.path = path
        self.foot: Foot | None = None
        with self._open() as file:
            try:
                self.head = Head.model_validate_json(file.readline(LINE_OCTETS))
            except (ValidationError, UnicodeDecodeError) as error:
                raise Unusable(f"{path}: line 1", "is no report of verify --json-lines") from error

    def _open(self) -> IO[str]:
        try:
            return TextIOWrapper(opened(self.path, MOST_OCTETS), encoding="utf-8")
        except OSError as error:
            raise Unusable(self.path, f"cannot be read: {error.strerror}") from error

    def boxes(self) -> Iterator[Box]:
        """The boxes, one at a time.

        Raises:
            Unusable: a line is none of a report, or the end is missing.
        """
        self.foot = None
        with self._open() as file:
            file.readline(LINE_OCTETS)
            number = 1
            while line := file.readline(LINE_OCTETS):
                number += 1
                if self.foot is not None:
                    raise Unusable(f"{self.path}: line {number}", "stands behind the end of the report")
                box = self._line(line, number)
                if box is not None:
                    yield box
        if self.foot is None:
            raise Unusable(self.path, "has no end: it was cut off, or the run still goes on")
        if self.foot.boxes != number - 2:
            raise Unusable(self.path, f"has {number - 2} boxes, and says that it has {self.foot.boxes}")

    def _line(self, line: str, number: int) -> Box | None:
        """A box, or the foot."""
        try:
            if line.startswith('{"ended":'):
                self.foot = Foot.model_validate_json(line)
                return None
            return Box.model_validate_json(line)
        except ValidationError as error:
            raise Unusable(f"{self.path}: line {number}", "is no line of a report") from error


def streamed(report: Report, boxes: Iterator[Box], file: IO[str]) -> None:
    """``report`` (without boxes) as its JSON form, with ``boxes`` in it, written one at a time."""
    text = report.as_json()
    before, mark, after = text.partition('"boxes": []')
    assert mark
    file.write(before + '"boxes": [')
    lead = "\n"
    for box in boxes:
        lines = json.dumps(box.model_dump(mode="json"), indent=1, ensure_ascii=False).replace("\n", "\n  ")
        file.write(f"{lead}  {lines}")
        lead = ",\n"
    file.write(("\n ]" if lead != "\n" else "]") + after)
