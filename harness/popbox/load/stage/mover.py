"""Mailboxes that are made and given other names while the load lasts, each with mail before and after its new name.

qmail decides where a message goes when it delivers it: what waits in the queue for an old name bounces. So a mailbox
gets its new name when its mail has been seen, as an operator would do it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

from popbox.clients.bulk_pop3 import BulkPop3
from popbox.clients.smtp import deliver
from popbox.errors import PopboxError
from popbox.hosts.base import Host
from popbox.load.books.journal import Journal
from popbox.load.books.message import digest_of, make
from popbox.load.plan.spec import Box, Spec
from popbox.load.stage.accounts import crypt_of
from popbox.load.stage.beside import Beside
from popbox.load.users.boxes import Mailbox, fetch, look

SEEN_S = 30.0  # our choice: a message is given so long to be visible, before its mailbox gets another name
LOOK_S = 0.2
TIMEOUT_S = 30.0
OCTETS = 2_048


class Moving(Beside):
    """Makes a mailbox each ``every_s``, with a journal of its own. ``last`` reads them when all faults are healed."""

    def __init__(self, host: Host, spec: Spec, every_s: float, journal: Journal) -> None:
        """``journal`` is this thread's alone until ``end``."""
        super().__init__("mover")
        self._host, self._spec, self._every_s, self._journal = host, spec, every_s, journal
        self._tokens, self._sessions = count(1), count(1)
        self._crypt = crypt_of(spec)
        self._made: list[Mailbox] = []

    def note(self, event: str, **fields: object) -> None:
        """A line of the journal."""
        self._journal.write(event, **fields)

    def last(self) -> None:
        """Read each mailbox once more."""
        for one in self._made:
            self._tried("the last look", lambda one=one: self._visit(one))  # type: ignore[misc]

    def _run(self) -> None:
        for number in count(1):
            if self._over.wait(self._every_s):
                return
            self._tried("a mailbox", lambda number=number: self._one(number))  # type: ignore[misc]

    def _tried(self, what: str, do: Callable[[], object]) -> None:
        try:
            do()
        except PopboxError as error:
            self.note("error", note=f"mover, {what}: {error}")

    def _one(self, number: int) -> None:
        domain, login = self._spec.domain(0), f"{self._spec.run}.moved.{number}"
        old, new = f"old{number}", f"new{number}"
        self._mailhost("mailbox", "add", f"{old}@{domain}", "--login", login, "--crypt", self._crypt)
        box = Mailbox(Box(login, login, self._spec.password))  # in the books it is its login, whatever its address
        self._made.append(box)
        self._send(f"{old}@{domain}", login)
        deadline = time.monotonic() + SEEN_S
        while not box.known and time.monotonic() < deadline and not self._over.wait(LOOK_S):
            self._tried("a look", lambda: self._visit(box))
        if box.known:
            self._mailhost("mailbox", "rename", f"{old}@{domain}", new)
            self._send(f"{new}@{domain}", login)
            self._visit(box)

    def _mailhost(self, *argv: str) -> None:
        ran = self._host.run(*argv)
        if ran.code:
            self.note("error", note=f"mailhost {' '.join(argv[:2])} ended with {ran.code}: {ran.stderr.strip()}")

    def _send(self, to: str, login: str) -> None:
        token = f"{self._spec.run}-m-{next(self._tokens):08x}"
        message = make(token, self._spec.reports_to.address, (to,), OCTETS)
        began, said = time.monotonic(), "unsure"
        try:
            accepted = deliver(self._spec.where()[0], self._spec.reports_to.address, (to,), message, TIMEOUT_S).accepted
            said = "accept" if accepted else "refuse"
        finally:
            took_us = int((time.monotonic() - began) * 1e6)
            common = {"digest": digest_of(message), "octets": len(message), "took_us": took_us, "late_us": 0}
            self.note(said, token=token, box=login, **common)

    def _visit(self, box: Mailbox) -> None:
        number, had = next(self._sessions), set(box.known)
        with BulkPop3(self._spec.where()[1], TIMEOUT_S) as session:
            session.login(box.box.login, box.box.password)
            for at, uidl in look(self, session, box, number):
                if uidl not in had:
                    fetch(self, session, box, at, uidl, number)
            session.command("QUIT")
