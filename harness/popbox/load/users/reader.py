"""POP3 clients as people have them: one that looks, one that takes all, one that leaves all on the server.

What is done to a box is decided by its class; the users of all reading classes open whatever box is due. So no box
waits because Locust put all users of its class into other processes.
"""

from __future__ import annotations

import time

from popbox.load.users.base import TIMEOUT_S, Scheduled
from popbox.load.users.boxes import Mailbox, fetch, look, since
from popbox.load.users.pop3 import GreenPop3
from popbox.load.users.process import Turns


class ReaderUser(Scheduled):
    """One that opens boxes, whichever is due."""

    abstract = True

    def next_in(self) -> float:
        """Seconds until a box is due."""
        return min(one.next_in() for one in self.process.turns)

    def act(self) -> None:
        """Open the box that is due first."""
        turns = min(self.process.turns, key=Turns.next_in)
        turn = turns.take()
        try:
            with self.told("POP3", turns.name):
                self._visit(turn[2], turns.plan.kind, time.monotonic())
        finally:
            turns.back(turn)

    def _visit(self, box: Mailbox, kind: str, began: float) -> None:
        number, address = self.process.session(), box.box.address
        with GreenPop3(self.pop3, TIMEOUT_S) as session:
            session.login(box.box.login, box.box.password)
            self.process.note("login", box=address, session=number, took_us=since(began))
            known = set(box.known)
            rows = look(self.process, session, box, number)
            for at, uidl in rows:
                if kind == "fetcher" or (kind == "hoarder" and uidl not in known):
                    fetch(self.process, session, box, at, uidl, number)
                if kind == "fetcher":
                    asked = time.monotonic()
                    session.command(f"DELE {at}")
                    self.process.note("delete", box=address, uidl=uidl, session=number, took_us=since(asked))
                    box.known.discard(uidl)
                    box.unsure.add(uidl)  # until QUIT is answered
            ended, asked = "uncommit", time.monotonic()
            try:
                session.command("QUIT")
                self.process.note("verb", note="QUIT", box=address, session=number, took_us=since(asked))
                ended = "commit"
                box.unsure.clear()
            finally:
                self.process.note(ended, box=address, session=number, took_us=since(began))
