"""What a verification says of one box, as plain data: the report, the state file and JSON are made of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Verdict(StrEnum):
    """Of one question about one box."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NOT_JUDGED = "not judged"


ASPECTS = ("login", "uidl", "order", "sizes", "content")
Kind = Literal[
    "login",
    "listing",
    "reply",
    "missing",
    "extra",
    "doubled",
    "changed",
    "added",
    "uidl",
    "reordered",
    "size",
    "unreadable",
    "elsewhere",
]


class Plain(BaseModel):
    """Immutable data; fields that a newer popbox has added are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Named(Plain):
    """A message, so that a program and a person can find it."""

    number: int
    uidl: str
    size: int
    subject: str = ""
    date: str = ""
    message_id: str = ""


class Finding(Plain):
    """One thing that is not the same. ``key`` names the content (or the UIDL), to be found again in other boxes."""

    kind: Kind
    said: str
    old: Named | None = None
    new: Named | None = None
    key: str = ""


class Downloads(Plain):
    """What clients that have fetched and kept everything on the old host do on the new one, in messages.

    ``uidl``: those that go by UIDL fetch what has an unknown one; ``uidl_known`` of these they have had. ``number``:
    those that go by the number of the last message fetch so many; ``number_again`` of these they have had, and
    ``number_missed`` they never see. ``worst_*``: the same, had they fetched only some, for the worst such number.
    """

    uidl: int = 0
    uidl_known: int = 0
    number: int = 0
    number_again: int = 0
    number_missed: int = 0
    worst_again: int = 0
    worst_missed: int = 0


class Count(Plain):
    """A side: messages, the sum of the sizes it lists, octets read by RETR, and the profile used."""

    messages: int = 0
    octets: int = 0
    read_octets: int = 0
    profile: str = ""


class Box(Plain):
    """One box. ``unavailable`` says why it could not be judged; then nothing else counts.

    ``reasons``: by the aspect, why it was not judged; ``subjects, old`` or ``new``: why messages have no names there.
    """

    login: str
    new_login: str
    verdicts: dict[str, Verdict]
    reasons: dict[str, str] = {}
    old: Count = Count()
    new: Count = Count()
    findings: tuple[Finding, ...] = ()
    downloads: Downloads = Downloads()
    retries: int = 0
    took_s: float = 0.0
    unavailable: str = ""

    @property
    def equal(self) -> bool:
        """Whether nothing that was judged is different, and the box could be judged."""
        return not self.unavailable and Verdict.DIFFERENT not in self.verdicts.values()
