"""POP3 clients as people have them: one that looks, one that takes all, one that leaves all on the server.

What is done to a box is decided by its class; the users of all reading classes open whatever box is due. So no box
waits because Locust put all users of its class into other processes.
"""

from __future__ import annotations

import time

from popbox.errors import PopboxError
from popbox.load.books.figures import kind_of
from popbox.load.books.journal import FETCH_ENDED
from popbox.load.plan.model import AnyReader
from popbox.load.users.base import TIMEOUT_S, Scheduled
from popbox.load.users.boxes import Mailbox, handle, since
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
            with self.told("POP3", turns.name, turn[2].box.address):
                self._visit(turn[2], turns.plan, time.monotonic())
        finally:
            turns.back(turn)

    def _visit(self, box: Mailbox, plan: AnyReader, began: float) -> None:
        number, address = self.process.session(), box.box.address
        with GreenPop3(self.pop3, TIMEOUT_S) as session:
            session.login(box.box.login, box.box.password)
            self.process.note("login", box=address, session=number, took_us=since(began))
            ended, why = "uncommit", FETCH_ENDED
            try:
                handle(self.process, session, box, plan, number)
                ended, why = "commit", ""
            except PopboxError as error:
                why = kind_of(str(error))
                raise
            finally:
                self.process.note(ended, box=address, session=number, took_us=since(began), note=why)
