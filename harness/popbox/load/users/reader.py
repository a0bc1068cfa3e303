"""POP3 clients as people have them: one that looks, one that takes all, one that leaves all on the server."""

from __future__ import annotations

import time

from popbox.load.users.base import TIMEOUT_S, Scheduled
from popbox.load.users.boxes import Mailbox, fetch, look
from popbox.load.users.pop3 import GreenPop3


class ReaderUser(Scheduled):
    """One that opens the boxes of its class, whichever is due."""

    abstract = True
    takes = deletes = False

    def next_in(self) -> float:
        """Seconds until a box is due."""
        return self.process.turns[self.named].next_in()

    def act(self) -> None:
        """Open the box that is due first."""
        turns = self.process.turns[self.named]
        turn = turns.take()
        try:
            with self.told("POP3", self.named):
                self._visit(turn[2], time.monotonic())
        finally:
            turns.back(turn)

    def _visit(self, box: Mailbox, began: float) -> None:
        number, address, gone = self.process.session(), box.box.address, set[str]()
        with GreenPop3(self.pop3, TIMEOUT_S) as session:
            session.login(box.box.login, self.process.spec.password)
            self.process.note("login", box=address, session=number, took_us=_since(began))
            known = set(box.known)
            rows = look(self.process, session, box, number)
            for at, uidl in rows:
                if self.takes and (self.deletes or uidl not in known):
                    fetch(self.process, session, box, at, uidl, number)
                if self.deletes:
                    session.command(f"DELE {at}")
                    self.process.note("delete", box=address, uidl=uidl, session=number)
                    gone.add(uidl)
            box.known -= gone
            box.unsure = gone
            ended = "uncommit"
            try:
                session.command("QUIT")
                ended, box.unsure = "commit", set()
            finally:
                self.process.note(ended, box=address, session=number, took_us=_since(began))


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1e6)


class PollerUser(ReaderUser):
    """Looks, and takes nothing."""

    abstract = True


class FetcherUser(ReaderUser):
    """Takes all and deletes it."""

    abstract = True
    takes = deletes = True


class HoarderUser(ReaderUser):
    """Takes what is new and deletes nothing."""

    abstract = True
    takes = True
