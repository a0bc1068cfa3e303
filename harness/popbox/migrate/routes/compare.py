"""Whether an address does the same on both hosts: pure. A store is known by who opens it, not by its path."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

STORES = ("maildir", "mbox")
NOT_JUDGED = "not judged"
CODE = re.compile(r"\(#\d\.\d\.\d+\)")
SameBox = Callable[[str, str], bool]
"""Whether a store of the old host and one of the new host are the same mailbox."""


class End(NamedTuple):
    """One thing that becomes of the mail, as `mailhost explain --batch` gives it."""

    kind: str
    text: str
    home: str = ""
    ext: str = ""
    host: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What two ends that are no stores must share: a refusal its code, an address without the case of its host."""
        if self.kind in ("bounced", "deferred") and (code := CODE.search(self.text)):
            return self.kind, code.group()
        if self.kind in ("remote", "forward"):
            local, at, host = self.text.rpartition("@")
            return self.kind, local + at + host.lower()
        return self.kind, self.text


class Answer(NamedTuple):
    """What one host does with an address; ``where``: the files and lines that decided, where they were asked for."""

    accepted: bool
    ends: tuple[End, ...]
    where: tuple[str, ...] = ()

    @property
    def judged(self) -> bool:
        """Whether all that it depends on could be seen."""
        return all(end.kind != NOT_JUDGED for end in self.ends)

    @property
    def bounces(self) -> bool:
        """Whether nothing else comes of mail for it, whoever sends it."""
        return all(end.kind == "bounced" for end in self.ends)


@dataclass(slots=True)
class Difference:
    """An address that does not do the same. ``what``: ``changed``, ``not judged`` or ``added``.

    ``added``: only the new host knows it, keeps its mail, and the old one refused it. It is told, and is no fault.
    """

    address: bytes
    kind: str
    what: str
    old: Answer
    new: Answer = field(default_factory=lambda: Answer(False, ()))


def same(old: Answer, new: Answer, same_box: SameBox, *, relayed: bool = False) -> bool:
    """Whether both take it (not asked of ``relayed`` mail) and bring it to the same ends, each as often."""
    if old.bounces and not new.accepted and not relayed:
        return True  # the sender has it back, by a bounce or by a refusal
    if old.accepted != new.accepted and not relayed:
        return False
    if len(old.ends) != len(new.ends):
        return False
    left = list(new.ends)
    for end in old.ends:
        at = next((n for n, other in enumerate(left) if _same_end(end, other, same_box)), -1)
        if at < 0:
            return False
        del left[at]
    return True


def _same_end(old: End, new: End, same_box: SameBox) -> bool:
    if old.kind in STORES and new.kind in STORES:
        return same_box(old.text, new.text)
    return old.key == new.key


def judge(address: bytes, kind: str, old: Answer, new: Answer, same_box: SameBox) -> Difference | None:
    """The difference, or None. ``kind`` ``new``: only the new host knows the address."""
    if not old.judged or not new.judged:
        return Difference(address, kind, NOT_JUDGED, old, new)
    if same(old, new, same_box, relayed=kind == "relayed"):
        return None
    goes_out = new.accepted and any(end.kind == "remote" for end in new.ends)  # a relay, and no mailbox of a new name
    added = kind == "new" and (old.bounces or not old.accepted) and not goes_out
    return Difference(address, kind, "added" if added else "changed", old, new)
