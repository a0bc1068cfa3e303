"""A made-up run for the ledger: its host, its clock, one message and the log of it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tests.popbox.fakehost import FakeHost

from popbox.clients.smtp import Receipt, Reply
from popbox.errors import HostError
from popbox.hosts.base import DirEntry, Found
from popbox.journey.model import Foretold
from popbox.ledger import reconcile as ledger
from popbox.ledger.proof import Message
from popbox.ledger.reconcile import reconcile
from popbox.ledger.sent import Sent
from popbox.ledger.tracker import Tracker
from popbox.scenario.names import HOWTO_HASH, HOWTO_PASSWORD

NOW = 1_700_000_000.0
BOX = "popboxes/c/joe/Maildir"
SENT = b"X-Popbox-Token: pb-1\nSubject: s\n\none\n"
KEPT = b"Return-Path: <a@b>\n" + SENT
GOOD = Foretold("joe@c", "delivered", "", (BOX,))
BAD = Foretold("joe@c", "bounced", "no mailbox here")
LOG = "new msg 7\ninfo msg 7: bytes 99 from <a@b> qp 9 uid 1\nstarting delivery 1: msg 7 to local joe@c\n"
DONE = f"{LOG}delivery 1: success: did_1+0+0/\nend msg 7\n"
FAILED = f"{LOG}delivery 1: failure: no/\nbounce msg 7 qp 10\nend msg 7\n"
LATER = f"{LOG}delivery 1: deferral: busy/\n"


class Host(FakeHost):
    """``searches`` are what each search finds in turn, the last of them for good; ``lying`` is what a Maildir holds."""

    searches: list[list[Found]]
    lying: list[Found]
    broke = ""

    def search(self, needles: tuple[str, ...]) -> list[Found]:
        assert needles == ("X-Popbox-Token: pb-1\n",)
        if self.broke:
            raise HostError(self.broke, "its log")
        return self.searches.pop(0) if len(self.searches) > 1 else self.searches[0]

    def find(self, maildir: str, needle: str) -> list[Found]:
        assert (maildir, needle) == (BOX, "")
        return self.lying


def entry(path: str = f"{BOX}/new/1.2.mx", mtime: float = NOW - 60, **more: int) -> DirEntry:
    return DirEntry(path, more.get("mode", 0o600), more.get("uid", 888), 888, len(KEPT), mtime)


def found(path: str = f"{BOX}/new/1.2.mx", octets: bytes = KEPT, mtime: float = NOW - 60) -> Found:
    return Found(entry(path, mtime), octets)


class Clock:
    """Wall clock and waits; ``waits`` holds what was waited for."""

    def __init__(self) -> None:
        self.now, self.waits = NOW, list[float]()

    @classmethod
    def of_the_ledger(cls, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """Have the ledger live by it."""
        one = cls()
        monkeypatch.setattr(ledger, "time", one)
        monkeypatch.setattr("popbox.ledger._issued", {"pb-1"})

        def wait_until(reached: Callable[[], bool], deadline: float) -> bool:
            while not (is_so := reached()) and one.now < deadline:
                one.now += 0.5
            return bool(is_so)

        monkeypatch.setattr(ledger, "wait_until", wait_until)
        return one

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 3))
        self.now += seconds


def sent(accepted: bool = True, route: Foretold = GOOD, **more: Any) -> Sent:
    reply = Reply(250, ("ok 1 qp 9",)) if accepted else Reply(553, ("no",))
    receipt = Receipt(accepted, "DATA" if accepted else "RCPT", reply, ())
    said = {"id": "one", "token": "pb-1", "octets": SENT, "receipt": receipt, **more}
    return Sent(sender="a@b", recipients=("joe@c",), routes=(route,), step=1, at=NOW - 90, took_s=0.5, **said)


class Run:
    """A context with what a test says; ``host.logs`` may grow while it waits."""

    def __init__(self, *files: Found, log: str = DONE, message: Sent | None = None) -> None:
        self.host = Host(logs={"smtp": log})
        self.host.searches, self.host.lying = [list(files)], list(files)
        self.said = [log]
        self.context: Any = SimpleNamespace(
            host=self.host,
            offered=[message or sent()],
            played=[],
            before={BOX: frozenset()},
            logins={},
            passwords={HOWTO_HASH: HOWTO_PASSWORD},
            faults={},
            host_goes=False,
        )
        self.context.tracker = Tracker(self.context.offered, lambda: self.log("smtp"))

    def log(self, service: str) -> str:
        assert service == "smtp"
        return self.said.pop(0) if len(self.said) > 1 else self.said[0]

    def proof(self) -> Message:
        (message,) = reconcile(self.context, [])
        return message
