"""What `Logins` needs, made up: a clock for a test to move, and a throttle, boxes and clients that do as it says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.mailhost.pop3.support import HOWTO_HASH

from mailhost.pop3.auth.passdb import Passdb
from mailhost.pop3.auth.password_check import Credentials
from mailhost.pop3.maildrop.errors import MaildropError
from mailhost.pop3.protocol.events import Authenticate, Lookup, Reply
from mailhost.pop3.protocol.listing import Listing
from mailhost.pop3.protocol.profiles import RFC1939
from mailhost.pop3.server import login as logins
from mailhost.pop3.server.login import Logins
from mailhost.pop3.server.metrics import Count, Counters
from mailhost.pop3.server.threads import Work

PEER = "192.0.2.7"
TEXTS = RFC1939.texts
LISTING = Listing(())
RIGHT = Authenticate("plain", b"joe", b"testpw")
WRONG = Authenticate("plain", b"joe", b"no")
STAMP = b"<1.2@mx>"
DELAY_S = 2.0


class Clock:
    """In the place of the loop."""

    def __init__(self) -> None:
        self.now, self.due = 100.0, list[tuple[float, Work]]()

    def at(self, when: float, action: Work) -> None:
        self.due.append((when, action))

    def pass_to(self, now: float) -> None:
        """What is due by then happens at its time."""
        while ready := sorted((one for one in self.due if one[0] <= now), key=lambda one: one[0]):
            self.due.remove(ready[0])
            self.now = max(self.now, ready[0][0])
            ready[0][1]()
        self.now = now


class Throttle:
    """In the place of the throttle: ``waits`` are its next answers, then no login waits; ``told`` is what it heard."""

    def __init__(self) -> None:
        self.waits, self.told = list[float | None](), list[tuple[str, str, bytes, float]]()
        self.is_free, self.early = True, False

    def free(self, _peer: str, _login: bytes, _now: float) -> bool:
        return self.is_free

    def turns(self, _peer: str, login: bytes, _now: float) -> tuple[tuple[bytes, int], ...]:
        return ((login, 1),)

    def wait(self, _peer: str, _login: bytes, _now: float) -> float | None:
        return self.waits.pop(0) if self.waits else 0.0

    def too_soon(self, _login: bytes, _now: float) -> bool:
        return self.early

    def failed(self, peer: str, login: bytes, now: float) -> None:
        self.told.append(("failed", peer, login, now))

    def refused(self, peer: str, login: bytes, now: float) -> None:
        self.told.append(("refused", peer, login, now))

    def succeeded(self, peer: str, login: bytes, now: float) -> None:
        self.told.append(("succeeded", peer, login, now))


class Boxes:
    """In the place of the maildrops."""

    def __init__(self) -> None:
        self.failure = ""
        self.answer: Listing | Reply | None = LISTING
        self.opened = list[bytes]()
        self.closed = 0
        self.scanned: Callable[[Listing | Reply], None]

    def open(self, home: bytes) -> SimpleNamespace:
        if self.failure:
            raise MaildropError(self.failure, home)
        self.opened.append(home)
        return SimpleNamespace(close=self._close)

    def _close(self) -> None:
        self.closed += 1

    def scan(self, _drop: object, done: Callable[[Listing | Reply], None]) -> Listing | Reply | None:
        self.scanned = done
        return self.answer

    def reply(self, kind: str) -> Reply:
        return TEXTS.maildrop(kind)


class Session:
    """In the place of the protocol: its answers tell what it was told."""

    def __init__(self) -> None:
        self.context = SimpleNamespace(login=b"joe")
        self.proof = True

    def refused(self, reply: Reply) -> tuple[str, Reply]:
        return "refused", reply

    def found(self, stored: bytes) -> tuple[str, bytes]:
        return "found", stored

    def opened(self, listing: Listing) -> tuple[str, Listing]:
        return "opened", listing

    def signature(self) -> str:
        return "signature"

    def proves(self) -> bool:
        return self.proof


class Client:
    """In the place of a connection: what its claim gave at once, and with what it was resumed."""

    def __init__(self) -> None:
        self.fd, self.peer, self.session = 0, PEER, Session()  # 0 is a descriptor like any other
        self.drop: object = None
        self.at_once: object = None
        self.resumed = list[Any]()
        self.entered = 0

    def resume(self, event: object) -> None:
        assert event is not None
        self.resumed.append(event)

    def enter(self) -> None:
        self.entered += 1


IN = ("opened", LISTING)
REFUSED = ("refused", TEXTS.refused)
LATER = ("refused", TEXTS.temporary)


class Bench:
    """Logins with all that stands around them; ``work`` is what threads would do, done by ``do``."""

    def __init__(self, users: Path, fail_delay_s: float = DELAY_S) -> None:
        self.users, self.lines, self.work = users, list[dict[str, object]](), list[Work]()
        (users / "poppasswd").write_text(f"joe:{HOWTO_HASH}:popuser:/box/joe\noff:!{HOWTO_HASH}:popuser:/box/off\n")
        (users / "popsecrets").write_bytes(b"joe:apop:tanstaaf\noff:apop:tanstaaf\n")
        self.clock, self.throttle, self.boxes, self.counts = Clock(), Throttle(), Boxes(), Counters().mine
        options = SimpleNamespace(profile=RFC1939, limits=SimpleNamespace(fail_delay_s=fail_delay_s))
        log = SimpleNamespace(line=lambda event, **fields: self.lines.append({"event": event, **fields}))
        rows = Passdb(users, run=self.work.append)
        credentials = Credentials(self.work.append, lambda work: work())
        parts: list[Any] = [options, self.clock, log, rows, credentials, self.boxes, self.throttle, self.counts]
        self.logins = Logins(*parts)

    def do(self) -> None:
        while self.work:
            self.work.pop(0)()

    def begin(self, claim: Authenticate | Lookup, client: Client | None = None) -> Client:
        """Have it claimed, with nothing done yet that a thread does."""
        client = client or Client()
        fake: Any = client
        client.at_once = self.logins.claim(fake, claim)
        return client

    def claim(self, claim: Authenticate | Lookup, client: Client | None = None) -> Client:
        """Have it claimed and looked at."""
        client = self.begin(claim, client)
        self.do()
        return client

    def remembered(self) -> Bench:
        """The right password was here before."""
        assert self.claim(RIGHT).resumed == [IN]
        self.throttle.told.clear()
        return self

    def count(self) -> dict[str, int]:
        return {count.name: self.counts[count] for count in Count if self.counts[count]}


def made(users: Path, monkeypatch: pytest.MonkeyPatch, fail_delay_s: float = DELAY_S) -> Bench:
    one = Bench(users, fail_delay_s)
    monkeypatch.setattr(logins, "time", SimpleNamespace(monotonic=lambda: one.clock.now))
    return one


def digest(secret: bytes) -> bytes:
    return hashlib.md5(STAMP + secret, usedforsecurity=False).hexdigest().encode()
