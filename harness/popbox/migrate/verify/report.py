"""One result model for all forms of the report: the shape that README.md documents as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from popbox.migrate.verify.result import ASPECTS, Box, Plain, Verdict

SCHEMA = "popbox.migrate-verify/1"


class SideReport(Plain):
    """One host: where, how it was reached, which profiles its boxes showed, how sessions were left.

    Read as files, ``address`` is the tree and ``tls`` is empty.
    """

    address: str
    tls: str
    profile: str
    profiles_seen: dict[str, int]
    leaving: str


class Totals(Plain):
    """Sums over all boxes."""

    boxes: int
    equal: int
    different: int
    unavailable: int
    messages_old: int
    messages_new: int
    read_octets: int
    verdicts: dict[str, dict[str, int]]
    findings: dict[str, int]
    uidl: int
    uidl_known: int
    number_again: int
    number_missed: int
    worst_again: int
    worst_missed: int


class Oracle(Plain):
    """What a real client did on one box: messages it fetched from the old host, then, its state kept, from the new."""

    client: str
    login: str
    first: int
    again: int
    expected: int


class Report(Plain):
    """A whole run."""

    schema_: str = Field(alias="schema")
    old: SideReport
    new: SideReport
    way: Literal["pop3", "files"] = "pop3"
    content: bool
    began: str
    took_s: float
    resumed: int
    totals: Totals
    boxes: tuple[Box, ...]
    oracles: tuple[Oracle, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether all is equal, and every client did what was foreseen."""
        return self.totals.equal == self.totals.boxes and all(o.again == o.expected for o in self.oracles)

    def as_json(self) -> str:
        """Indented, with ``schema`` first."""
        return self.model_dump_json(indent=1, by_alias=True) + "\n"


class Sums:
    """Totals in the making, a box at a time."""

    def __init__(self) -> None:
        """No box yet."""
        self._counts: Counter[str] = Counter()
        self._verdicts = {aspect: dict.fromkeys((v.value for v in Verdict), 0) for aspect in ASPECTS}
        self._findings: Counter[str] = Counter()

    def add(self, box: Box) -> None:
        """One more."""
        reached = not box.unavailable
        self._counts.update(
            boxes=1,
            equal=box.equal,
            different=reached and not box.equal,
            unavailable=not reached,
            messages_old=box.old.messages,
            messages_new=box.new.messages,
            read_octets=box.old.read_octets + box.new.read_octets,
            **box.downloads.model_dump(exclude={"number"}),
        )
        for aspect in ASPECTS:
            self._verdicts[aspect][box.verdicts[aspect].value] += 1
        self._findings.update(finding.kind for finding in box.findings)

    def totals(self) -> Totals:
        """What there is so far."""
        numbers = {name: self._counts[name] for name in Totals.model_fields if name not in ("verdicts", "findings")}
        findings = dict(sorted(self._findings.items()))
        return Totals.model_validate({**numbers, "verdicts": self._verdicts, "findings": findings})


def totals(boxes: Iterable[Box]) -> Totals:
    """Sums."""
    sums = Sums()
    for box in boxes:
        sums.add(box)
    return sums.totals()
