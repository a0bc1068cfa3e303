"""One result model for all forms of the report: the shape that README.md documents as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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


def totals(boxes: Sequence[Box]) -> Totals:
    """Sums."""
    verdicts = {aspect: Counter(box.verdicts[aspect].value for box in boxes) for aspect in ASPECTS}
    return Totals(
        boxes=len(boxes),
        equal=sum(box.equal for box in boxes),
        different=sum(not box.equal and not box.unavailable for box in boxes),
        unavailable=sum(bool(box.unavailable) for box in boxes),
        messages_old=sum(box.old.messages for box in boxes),
        messages_new=sum(box.new.messages for box in boxes),
        read_octets=sum(box.old.read_octets + box.new.read_octets for box in boxes),
        verdicts={aspect: {v.value: found[v.value] for v in Verdict} for aspect, found in verdicts.items()},
        findings=dict(sorted(Counter(f.kind for box in boxes for f in box.findings).items())),
        uidl=sum(box.downloads.uidl for box in boxes),
        uidl_known=sum(box.downloads.uidl_known for box in boxes),
        number_again=sum(box.downloads.number_again for box in boxes),
        number_missed=sum(box.downloads.number_missed for box in boxes),
        worst_again=sum(box.downloads.worst_again for box in boxes),
        worst_missed=sum(box.downloads.worst_missed for box in boxes),
    )
