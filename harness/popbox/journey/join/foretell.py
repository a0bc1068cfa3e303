"""What the mail host's rules say of an address, asked in bulk by ``mailhost explain --batch``, and what contradicts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from popbox.errors import HostError
from popbox.hosts.base import Host
from popbox.journey.join.maillog import Did
from popbox.journey.join.rules import ARRIVES, logins
from popbox.journey.model import Event, Foretold, Kind
from popbox.journey.store import Batch

FRESH_S = 60.0  # our choice: an answer is asked for again after that, and at once where what happened contradicts it
JUST_NOW_S = 0.05  # our choice: a domain is not declared, mailed and logged within it
MOST_ASKED = 1000  # our choice: in one pass; more addresses than that at once stay unknown, with the reason
MOST_KEPT = 50_000
AGAIN_S = 3_600.0  # our choice: an answer that stays the same is stored again after that, so that the old one may go
TOO_MANY = "not asked: too many addresses at once"


@dataclass(slots=True)
class Answer:
    """What was said of one routed address: the address of the envelope, and the seq of the event once it is stored."""

    foretold: Foretold
    seq: int | None = None
    stored_at: float = 0.0
    kinds: frozenset[str] = field(default_factory=frozenset)
    stale: bool = False


class Foreteller:
    """Asks one host, and remembers."""

    def __init__(self, host: Host) -> None:
        """``host`` runs ``mailhost explain``; where it cannot, everything is unknown."""
        self._host = host
        self._answers: dict[str, Answer] = {}
        self._virtual: dict[str, str] = {}
        self._boxes: dict[str, str] = {}
        self._read_at = 0.0

    def box_of(self, login: str) -> str:
        """A login's Maildir below the qmail home, by users/poppasswd; empty where it is not known."""
        self._read()
        return self._boxes.get(login, "")

    def _read(self, within_s: float = FRESH_S / 10) -> None:
        """Read which logins and virtual domains there are, where that was not done within so many seconds."""
        if time.time() - self._read_at < within_s:
            return
        self._read_at = time.time()
        with suppress(HostError):
            self._boxes = {one.login: f"{one.box}/Maildir" for one in logins(self._host)}
        with suppress(HostError):
            text = self._host.read("control/virtualdomains").decode("utf-8", "replace")
            self._virtual = virtualdomains(text)

    def ask(self, routed: Iterable[tuple[str, str]]) -> None:
        """Ask what is not known of (channel, routed address); nothing is raised: what cannot be asked is unknown."""
        now = time.time()
        wanted = [
            one
            for one in dict.fromkeys(one for channel, one in routed if channel == "local")
            if not self._knows(one, now)
        ]
        if not wanted:
            return
        self._read()
        if any(unrouted(one, self._virtual) == one for one in wanted):
            self._read(within_s=JUST_NOW_S)  # of a domain that was declared since
        if len(self._answers) > MOST_KEPT:
            self._answers.clear()
        addresses = [unrouted(one, self._virtual) for one in wanted[:MOST_ASKED]]
        said = self._explained(addresses)
        for one, address, ends in zip(wanted, addresses, said, strict=False):
            before = self._answers.get(one)
            self._answers[one] = found = _answer(address, ends, self._host.home(), now)
            if before and _same(before.foretold, found.foretold):
                found.seq, found.stored_at = before.seq, before.stored_at
        for one in wanted[MOST_ASKED:]:
            self._answers[one] = Answer(Foretold(one, "unknown", TOO_MANY, at=0.0))

    def _knows(self, routed: str, now: float) -> bool:
        """Whether what was said of an address still counts."""
        answer = self._answers.get(routed)
        return answer is not None and now - answer.foretold.at < FRESH_S and not answer.stale

    def _explained(self, addresses: list[str]) -> list[list[list[str]] | str]:
        """For each address its ends, or why they are not known."""
        safe = [one for one in addresses if "\n" not in one]
        try:
            ran = self._host.run("explain", "--batch", stdin="".join(f"{one}\n" for one in safe).encode())
            lines = [json.loads(line) for line in ran.stdout.splitlines()]
            if ran.code == 0 and len(lines) == len(addresses) + 1:
                return [line["ends"] for line in lines[1:]]
            why = (ran.stderr or "mailhost explain --batch gave another answer").strip().splitlines()[-1]
        except (HostError, ValueError, KeyError, IndexError) as error:
            why = str(error).splitlines()[0]
        return [why] * len(addresses)

    def told(self, batch: Batch, channel: str, routed: str) -> tuple[str, int | None]:
        """The address of the envelope, and the seq of the event FORETOLD, which is stored when the answer is new."""
        answer = self._answers.get(routed) if channel == "local" else None
        if answer is None:
            return routed, None
        if answer.seq is None or time.time() - answer.stored_at > AGAIN_S:
            one = answer.foretold
            said = {"address": one.address, "outcome": one.outcome, "why": one.why}
            places = {"maildirs": one.maildirs, "mboxes": one.mboxes, "elsewhere": one.elsewhere}
            answer.seq = batch.add(Event(one.at or time.time(), Kind.FORETOLD, None, {**said, **places}, "explain"))
            answer.stored_at = time.time()
        return answer.foretold.address, answer.seq

    def forget_seqs(self) -> None:
        """After a batch that was not stored."""
        self._answers.clear()

    def places(self, routed: str) -> Foretold | None:
        """What was foretold of a routed address."""
        answer = self._answers.get(routed)
        return answer.foretold if answer else None

    def doubt(self, routed: str) -> None:
        """Ask again before the next delivery: this one was put off, and what was in its way may be gone by then."""
        if answer := self._answers.get(routed):
            answer.stale = True

    def contradicts(self, routed: str, did: Did) -> str:
        """Why what happened is not what the rules say now; empty where it is, or where they cannot be asked."""
        answer = self._answers.get(routed)
        if answer is None or not (why := contradiction(answer, did)):
            return ""
        if answer.foretold.at > time.time() - 1.0:
            return why
        del self._answers[routed]
        self.ask([("local", routed)])
        return contradiction(self._answers[routed], did)


def _same(one: Foretold, other: Foretold) -> bool:
    return (one.address, one.outcome, one.why, one.maildirs, one.mboxes, one.elsewhere) == (
        other.address,
        other.outcome,
        other.why,
        other.maildirs,
        other.mboxes,
        other.elsewhere,
    )


def _answer(address: str, ends: list[list[str]] | str, home: str, now: float) -> Answer:
    if isinstance(ends, str):
        return Answer(Foretold(address, "unknown", ends, at=now))
    kinds = frozenset(end[0] for end in ends)
    top = home.rstrip("/") + "/"
    places = {kind: tuple(end[1].removeprefix(top) for end in ends if end[0] == kind) for kind in ARRIVES}
    others = [end for end in ends if end[0] not in ARRIVES]
    if "not judged" in kinds:
        outcome = "unknown"
    else:
        outcome = "delivered" if kinds & set(ARRIVES) else next(iter(sorted(kinds)), "discarded")
    why = "; ".join(f"{end[0]}: {end[1]}" for end in others)
    elsewhere = tuple(f"{end[0]}: {end[1]}" for end in others)
    foretold = Foretold(address, outcome, why, places["maildir"], places["mbox"], elsewhere, now)
    return Answer(foretold, kinds=kinds)


def contradiction(answer: Answer, did: Did) -> str:
    """Why the end of a delivery cannot come from the rules as they were said; empty where it can."""
    kinds, foretold = answer.kinds, answer.foretold
    if not kinds or foretold.outcome == "unknown":
        return ""
    wanted = {"failure": {"bounced"}, "deferral": {"deferred"}}.get(did.outcome)
    if wanted is not None:
        differs = not kinds & wanted
    elif did.kept:
        differs = not kinds & set(ARRIVES)
    elif did.forwards:
        differs = False
    else:
        differs = bool(kinds <= {*ARRIVES, "bounced", "deferred"}) and did.kept == 0
    rules = foretold.why or ", ".join((*foretold.maildirs, *foretold.mboxes)) or foretold.outcome
    return (
        f"the rules foretold {foretold.outcome} ({rules}), and it ended in {did.outcome}: {did.said}" if differs else ""
    )


def virtualdomains(text: str) -> dict[str, str]:
    """Key -> prefix of control/virtualdomains; the last line of a key counts (Q-VDOM-5, Q-VDOM-6)."""
    lines = (line.rstrip(" \t") for line in text.split("\n"))
    rows = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
    return {key.lower(): prefix for key, _, prefix in rows}


def unrouted(routed: str, virtual: dict[str, str]) -> str:
    """The envelope's address that qmail-send routed so: the domain's own prefix is taken off (Q-VDOM-1, Q-VDOM-2)."""
    local, _, domain = routed.rpartition("@")
    folded = domain.lower()
    for key, prefix in virtual.items():
        user, _, host = key.rpartition("@")
        if user and prefix and host == folded and local.lower() == f"{prefix.lower()}-{user}":
            return f"{local[len(prefix) + 1 :]}@{domain}"
    keys = [folded, *(folded[at:] for at, char in enumerate(folded) if at and char == "."), ""]
    prefix = next((virtual[key] for key in keys if key in virtual), "")
    return f"{local[len(prefix) + 1 :]}@{domain}" if prefix and local.startswith(f"{prefix}-") else routed
