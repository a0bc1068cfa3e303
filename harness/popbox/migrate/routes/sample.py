"""Which addresses a sample tries, and what the rules of the new host say that must come of each: pure."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TypeVar

from popbox.migrate.routes.compare import Answer

BOXES, REFUSED, NOT_SENT = "boxes", "refused", "not sent"
MORE = 4  # our choice: so many times the sample is asked for its rules, to have some of each fate
WRITABLE = re.compile(rb"[!#-;=?-\[\]-~]+")  # what goes into RCPT TO:<...> as it is

Item = TypeVar("Item")


@dataclass(slots=True)
class Trial:
    """One address of the sample. ``wanted``: how many copies must come into which store, by its path on the host.

    ``why``: why nothing is sent. ``faults``: what was not as the rules say. ``token``: what marks its message.
    """

    address: bytes
    kind: str
    fate: str
    why: str = ""
    wanted: Counter[str] = field(default_factory=Counter)
    token: str = ""
    reply: str = ""
    faults: list[str] = field(default_factory=list)


def candidates(asked: Mapping[bytes, str], count: int, seed: int) -> list[bytes]:
    """Up to ``MORE * count`` addresses, of each kind about as many; the same for one seed."""
    kinds: dict[str, list[bytes]] = {}
    for address, kind in asked.items():
        kinds.setdefault(kind, []).append(address)
    chance = random.Random(seed)  # noqa: S311 - a draw that can be repeated
    drawn = [chance.sample(kinds[kind], min(MORE * count, len(kinds[kind]))) for kind in sorted(kinds)]
    return _in_turn(drawn)[: MORE * count]


def chosen(trials: Iterable[Trial], count: int) -> list[Trial]:
    """At most ``count`` of them, of each kind and fate about as many."""
    groups: dict[Hashable, list[Trial]] = {}
    for one in trials:
        groups.setdefault((one.kind, one.fate), []).append(one)
    return _in_turn(list(groups.values()))[:count]


def _in_turn(groups: list[list[Item]]) -> list[Item]:
    return [one for row in zip_longest(*groups) for one in row if one is not None]


def trial(address: bytes, kind: str, rules: Answer) -> Trial:
    """What is to be tried. Nothing is sent where mail could leave the host, run a program or bounce."""
    if not WRITABLE.fullmatch(address):
        return Trial(address, kind, NOT_SENT, "cannot be written in an SMTP command as it is")
    if not rules.judged:
        return Trial(address, kind, NOT_SENT, "its rules could not be judged")
    if not rules.accepted:
        return Trial(address, kind, REFUSED)
    others = sorted({end.kind for end in rules.ends if end.kind != "maildir"})
    if others or not rules.ends:
        return Trial(address, kind, NOT_SENT, f"an end is: {', '.join(others) or 'none'}")
    return Trial(address, kind, BOXES, wanted=Counter(end.text for end in rules.ends))
