"""A sample of addresses tried on the new host: one message to each, the reply, and the copies in its Maildirs."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from popbox.clients.smtp import Reply, Smtp
from popbox.clients.wire import Address
from popbox.errors import ConnectionFailed, HostError, StepTimeout
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.routes.boxes import stores_of
from popbox.migrate.routes.maildirs import FIELD, Finder
from popbox.migrate.routes.sample import BOXES, NOT_SENT, REFUSED, Trial, candidates, chosen, trial
from popbox.migrate.routes.side import Side
from popbox.migrate.routes.work import answer_of

LOOK_S = 0.2
SETTLE_S = 1.0  # our choice: after the last copy that must come, for one too many
BODY = "A test of popbox migrate routes. It is removed by itself; it can be deleted.\n"


@dataclass(frozen=True, slots=True)
class Sample:
    """How many addresses, drawn by which seed, sent to where, and how many seconds the copies may take."""

    count: int
    seed: int
    smtp: Address
    within_s: float = 30.0


@dataclass(slots=True)
class Proved:
    """What came of the sample. ``left``: messages of ours that could not be removed, and why."""

    seed: int
    trials: list[Trial]
    left: list[str]

    @property
    def ok(self) -> bool:
        """Whether all was as the rules say, and nothing of ours is left."""
        return not self.left and not any(one.faults for one in self.trials)

    def as_json(self) -> dict[str, Any]:
        """For the report; the README describes it."""
        tried = [
            {"address": shown(one.address), "kind": one.kind, "tried": one.fate, "why": one.why, "reply": one.reply}
            | {"token": one.token, "faults": one.faults}
            for one in self.trials
        ]
        return {"seed": self.seed, "tried": tried, "not_removed": self.left}

    def as_text(self) -> Iterable[str]:
        """Lines for a person."""
        for one in self.trials:
            yield from (f"sample: {shown(one.address)} [{one.kind}]: {fault}" for fault in one.faults)
        yield from (f"sample: not removed: {shown(one.encode(errors='surrogateescape'))}" for one in self.left)
        fates, bad = Counter(one.fate for one in self.trials), sum(bool(one.faults) for one in self.trials)
        yield (
            f"sample of {len(self.trials)}, seed {self.seed}: {fates[BOXES]} sent, {fates[REFUSED]} tried for their "
            f"refusal, {fates[NOT_SENT]} not sent; {bad} not as the rules say"
        )


def prove(new: Side, asked: Mapping[bytes, str], sample: Sample) -> Proved:
    """Send to the sample, look for the copies, and remove them.

    Raises:
        UnusableError: mailhost cannot use the new host's files.
        HostError: mailhost does not run, or nothing takes SMTP there.
    """
    drawn = candidates(asked, sample.count, sample.seed)
    rules = [answer_of(one) for one in new.ask(drawn)]
    trials = [trial(address, asked[address], rule) for address, rule in zip(drawn, rules, strict=True)]
    trials = chosen(trials, sample.count)
    if _relays(sample):
        for one in trials:
            if one.fate == REFUSED:
                one.fate, one.why = NOT_SENT, "this machine may relay there, so nothing would be refused"
    sent = [one for one in trials if one.fate == BOXES]
    for one in sent:
        one.token = secrets.token_hex(16)
    finder = Finder(new.tree, (one.token for one in sent), time.time_ns())
    try:
        for one in trials:
            if one.fate != NOT_SENT:
                _try(one, sample)
        _await(sent, finder, sample.within_s, (*stores_of(new),))
        _compare(sent, finder)
    finally:
        left = finder.remove()
    return Proved(sample.seed, trials, left)


def _relays(sample: Sample) -> bool:
    try:
        return say(sample.smtp, f"{secrets.token_hex(8)}@relay.popbox.invalid", None, sample.within_s).ok
    except (ConnectionFailed, StepTimeout) as why:
        raise HostError(f"{sample.smtp} takes no SMTP: {why}") from why


def _try(one: Trial, sample: Sample) -> None:
    to = one.address.decode("ascii")
    try:
        reply = say(sample.smtp, to, message(to, one.token) if one.fate == BOXES else None, sample.within_s)
    except (ConnectionFailed, StepTimeout) as why:
        one.faults.append(str(why))
        return
    one.reply = str(reply)
    if one.fate == BOXES and not reply.ok:
        one.faults.append(f"the rules say that it is taken; the server said: {reply}")
        one.wanted.clear()
    if one.fate == REFUSED and not 500 <= reply.code < 600:
        one.faults.append(f"the rules say that it is refused; the server said: {reply}")


def message(to: str, token: str) -> bytes:
    """One that no program answers."""
    lines = (
        f"Date: {formatdate()}",
        "From: <popbox@popbox.invalid>",
        f"To: <{to}>",
        f"Message-ID: <{token}@popbox.invalid>",
        "Subject: popbox migrate routes",
        "Auto-Submitted: auto-generated",
        "Precedence: bulk",
        f"{FIELD}: {token}",
    )
    return ("\n".join(lines) + f"\n\n{BODY}").encode()


def say(where: Address, to: str, octets: bytes | None, timeout_s: float) -> Reply:
    """The reply that decides; without a message that to RCPT. The sender is empty, so that no bounce leaves.

    Raises:
        ConnectionFailed: the peer closed or broke the connection.
        StepTimeout: a reply did not come in time.
    """
    session = Smtp(where, timeout_s)
    with session.wire:
        steps: list[Callable[[], Reply]] = [
            lambda: session.command("EHLO popbox.invalid"),
            lambda: session.command("MAIL FROM:<>"),
            lambda: session.command(f"RCPT TO:<{to}>"),
        ]
        if octets is not None:
            steps += [lambda: session.command("DATA"), lambda: session.data(octets)]
        reply = session.greeting
        for step in steps:
            if not reply.ok:
                break
            reply = step()
        return reply  # an open transaction without DATA ends with the connection (RFC 5321, 4.1.1.10)


def _await(sent: list[Trial], finder: Finder, within_s: float, others: tuple[str, ...]) -> None:
    """Look until all that must come is there, or time is up; then once more, in all boxes."""
    stores = {store for one in sent for store in one.wanted}
    until = time.monotonic() + within_s
    while stores:
        for store in stores:
            finder.look(store)
        come = Counter((copy.token, copy.store) for copy in finder.found)
        if all(come[one.token, store] >= count for one in sent for store, count in one.wanted.items()):
            break
        if time.monotonic() >= until:
            break
        time.sleep(LOOK_S)
    if sent:
        time.sleep(SETTLE_S)
        for store in stores.union(others):
            finder.look(store)


def _compare(sent: list[Trial], finder: Finder) -> None:
    come: dict[str, Counter[str]] = {one.token: Counter() for one in sent}
    for copy in finder.found:
        come[copy.token][copy.store] += 1
    for one in sent:
        for store in sorted({*one.wanted, *come[one.token]}):
            wanted, found = one.wanted[store], come[one.token][store]
            if wanted != found:
                seen = finder.unseen.get(store)
                late = ", and may be in the queue yet" if found < wanted else ""
                one.faults.append(
                    f"{found} of {wanted} copies came into {shown(store.encode(errors='surrogateescape'))}{late}"
                    + (f" ({seen})" if seen else "")
                )
