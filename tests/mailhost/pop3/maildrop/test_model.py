"""A state machine against a model: any sequence of commands, lost connections and deliveries, on a real Maildir."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.mailhost.pop3.support import Box, new_home, remove

from mailhost.pop3.maildrop import size_cache
from mailhost.pop3.maildrop.encoding import Encoder
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.open_maildrops import apply
from mailhost.pop3.maildrop.snapshot import Snapshot
from mailhost.pop3.protocol.events import Close, Event, Reply, Transmit, Update
from mailhost.pop3.protocol.profiles import QMAIL, RFC1939, Profile
from mailhost.pop3.protocol.session import Session

TEXTS = st.lists(st.sampled_from([b"\n", b"a", b".", b"\r\n", b"\xff"]), max_size=6).map(b"".join)


class Maildrops(RuleBasedStateMachine):
    """``mail`` is the model: base name -> (text, where it lies); ``order`` what the open session has to see."""

    profile: Profile

    @initialize()
    def fresh(self) -> None:
        self.box = Box(new_home())
        self.mail: dict[str, tuple[bytes, str]] = {}
        self.snapshot = Snapshot()
        self.serial = 0
        self.session: Session | None = None
        self.order: list[str] = []
        self.marked: set[int] = set()

    def teardown(self) -> None:
        if self.session is not None:
            self.drop.close()
        remove(self.box.home)

    @rule(text=TEXTS, folder=st.sampled_from(["new", "cur"]))
    def deliver(self, text: bytes, folder: str) -> None:
        self.serial += 1
        base = f"{self.serial:04}.h"
        name = base if folder == "new" else base + ":2,S"
        self.box.put(name, text, age_s=1000 - self.serial, folder=folder)
        self.mail[base] = text, folder

    @rule()
    def restart(self) -> None:
        """A server's new life: it knows what the last one has saved, the open session goes on with what it had."""
        self.snapshot = Snapshot()

    @precondition(lambda self: self.session is None)
    @rule(settled=st.booleans())
    def login(self, settled: bool) -> None:
        now = self.box.settle() if settled else None
        path = os.fsencode(self.box.maildir)
        qmail_quirks = self.profile.qmail_quirks
        self.drop = Maildrop(path, qmail_quirks=qmail_quirks, lock=self.profile.locks, snapshot=self.snapshot)
        for _ in self.drop.scan(now):
            pass
        self.session = Session.logged_in(self.profile, self.drop.listing())
        self.drop.remember()
        self.order = sorted(self.mail)
        self.marked = set()

    def say(self, line: bytes) -> bytes:
        assert self.session is not None
        self.session.receive(line + b"\r\n")
        out = b""
        while (event := self.session.next_event()) is not None:
            out += self.take(event)
        return out

    def take(self, event: Event) -> bytes:
        assert self.session is not None
        if isinstance(event, Update):
            event = self.session.updated(failed=apply(self.drop, event))
        if isinstance(event, Close):
            return event.reply.data
        if isinstance(event, Transmit):
            fd = self.drop.open(event.message.path)
            text = os.read(fd, 1000)
            os.close(fd)
            encoder = Encoder(event.message.content_flags, qmail_quirks=self.profile.qmail_quirks, lines=event.lines)
            return event.head + (encoder.feed(text) if text else b"") + encoder.finish()
        assert isinstance(event, Reply)
        return event.data

    def size(self, base: str) -> int:
        text = self.mail_at_login(base)
        if self.profile.qmail_quirks:
            return len(text)
        wire = text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return len(wire) + (2 if wire and not wire.endswith(b"\n") else 0)

    def mail_at_login(self, base: str) -> bytes:
        return self.mail[base][0]

    @precondition(lambda self: self.session is not None)
    @rule()
    def stat_and_list(self) -> None:
        kept = [(n, base) for n, base in enumerate(self.order, 1) if n not in self.marked]
        count = len(self.order) if self.profile.qmail_quirks else len(kept)
        assert self.say(b"STAT") == b"+OK %d %d\r\n" % (count, sum(self.size(base) for _, base in kept))
        lines = b"".join(b"%d %d\r\n" % (n, self.size(base)) for n, base in kept)
        assert self.say(b"LIST").partition(b"\r\n")[2] == lines + b".\r\n"
        ids = b"".join(b"%d %b\r\n" % (n, base.encode()) for n, base in kept)
        assert self.say(b"UIDL").partition(b"\r\n")[2] == ids + b".\r\n"

    @precondition(lambda self: self.session is not None)
    @rule(number=st.integers(0, 8))
    def retr(self, number: int) -> None:
        reply = self.say(b"RETR %d" % number)
        there = 1 <= number <= len(self.order) and number not in self.marked
        assert reply.startswith(b"+OK") == there
        if there and not self.profile.qmail_quirks:
            body = reply.partition(b"\r\n")[2].removesuffix(b".\r\n")
            unstuffed = b"\r\n".join(line.removeprefix(b".") for line in body.split(b"\r\n"))
            assert len(unstuffed) == self.size(self.order[number - 1])

    @precondition(lambda self: self.session is not None)
    @rule(number=st.integers(1, 8))
    def dele(self, number: int) -> None:
        there = number <= len(self.order) and number not in self.marked
        assert self.say(b"DELE %d" % number).startswith(b"+OK") == there
        if there:
            self.marked.add(number)

    @precondition(lambda self: self.session is not None)
    @rule()
    def rset(self) -> None:
        assert self.say(b"RSET").startswith(b"+OK")
        self.marked.clear()

    @precondition(lambda self: self.session is not None)
    @rule()
    def quit(self) -> None:
        assert self.say(b"QUIT").startswith(b"+OK")
        for number, base in enumerate(self.order, 1):
            if number in self.marked:
                del self.mail[base]
            else:
                self.mail[base] = self.mail[base][0], "cur"
        self.hang_up()

    @precondition(lambda self: self.session is not None)
    @rule()
    def hang_up(self) -> None:
        self.drop.close()
        self.session = None

    @invariant()
    def the_disk_is_as_the_model_says(self) -> None:
        if not hasattr(self, "box"):
            return
        found = {name[4:].partition(":")[0]: name[:3] for name in self.box.files()}
        assert found == {base: folder for base, (_, folder) in self.mail.items()}


class Rfc1939(Maildrops):
    profile = RFC1939


class Qmail(Maildrops):
    profile = QMAIL


QUICK = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message makes a large box, of which what was learned is saved."""
    monkeypatch.setattr(size_cache, "SAVED_FROM", 1)


TestRfc1939 = Rfc1939.TestCase
TestRfc1939.settings = QUICK
TestQmail = Qmail.TestCase
TestQmail.settings = QUICK
