"""The ledger and the report of a run by its messages: each sent, delivered once and found; CPU ms of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from tests.popbox.fakehost import FakeHost
from tests.popbox.ledger.made_up import BOX, found, sent

from popbox.clients.smtp import Receipt, Reply
from popbox.hosts.base import Found
from popbox.ledger import new_token
from popbox.ledger.proof import Disposition
from popbox.ledger.reconcile import reconcile
from popbox.ledger.tracker import Tracker
from popbox.report import html, run_report
from popbox.result import Observation, Result, StepResult, Verdict

T = TypeVar("T")


@dataclass
class Delivered(FakeHost):
    """A host with all of them in one Maildir."""

    kept: list[Found] = field(default_factory=list)

    def search(self, needles: tuple[str, ...]) -> list[Found]:
        return [replace(one, entry=replace(one.entry, path=f"{BOX}/{one.entry.path}")) for one in self.kept]

    def find(self, maildir: str, needle: str) -> list[Found]:
        return self.kept


def text(token: str) -> bytes:
    return f"X-Popbox-Token: {token}\nSubject: one of many\n\nthe text of it\n".encode()


def run_of(messages: int) -> Any:
    """What a run of so many messages hands to the ledger."""
    tokens = {number: new_token() for number in range(1, messages + 1)}
    kept = [found(f"new/{n}.2.mx", b"Return-Path: <a@b>\n" + text(token)) for n, token in tokens.items()]
    receipts = {n: Receipt(True, "DATA", Reply(250, (f"ok 1 qp {n}",)), ()) for n in tokens}
    offered = [sent(id=f"m{n}", token=token, octets=text(token), receipt=receipts[n]) for n, token in tokens.items()]
    log = "".join(
        f"new msg {n}\ninfo msg {n}: bytes 99 from <a@b> qp {n} uid 1\nstarting delivery {n}: msg {n} to local joe@c\n"
        f"delivery {n}: success: did_1+0+0/\nend msg {n}\n"
        for n in tokens
    )
    known: dict[str, Any] = {"played": [], "before": {BOX: frozenset()}, "logins": {}, "passwords": {}}
    known |= {"faults": {}, "host_goes": False}
    return SimpleNamespace(host=Delivered(kept=kept), offered=offered, tracker=Tracker(offered, lambda: log), **known)


def used(costs: dict[str, float], name: str, work: Callable[[], T]) -> T:
    """What ``work`` gives; its CPU is noted."""
    began = time.process_time()
    made = work()
    costs[name] = (time.process_time() - began) * 1000
    return made


def proofs(_: Path, size: int) -> dict[str, float]:
    """All messages of one scenario."""
    costs: dict[str, float] = {}
    run = run_of(size)
    proved = used(costs, "ledger", lambda: reconcile(run, []))
    if {one.ended for one in proved} != {Disposition.ONCE}:
        raise SystemExit(f"growth: the ledger says {proved[0].ended}: {proved[0].why}")
    step = StepResult(number=1, name="send", verb="send", seen=Observation(passed=True, said="sent"), took_s=1.0)
    result = Result(
        scenario="many.toml",
        title="many",
        proves=[],
        host="local",
        mta="stand-in",
        verdict=Verdict.PASSED,
        reason="",
        steps=(step,),
        messages=proved,
        logs={},
        began=datetime.now(UTC),
        took_s=1.0,
    )
    report = run_report.make("local", "stand-in", "", datetime.now(UTC), [result])
    used(costs, "report, JSON", lambda: run_report.as_json(report))
    used(costs, "report, HTML", lambda: html.render(report))
    return costs
