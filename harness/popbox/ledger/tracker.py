"""A run's messages on their way through the queue: their journeys, made from the MTA's log while the run goes on.

Each message is told to the store as sent, with what the MTA replied, before the log is read on: the journey joins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from email.parser import BytesHeaderParser
from functools import partial

from popbox.clients.smtp import commands
from popbox.errors import HostError
from popbox.hosts.base import Host
from popbox.hosts.following import LogLine
from popbox.hosts.readiness import wait_until
from popbox.journey.feeds.shown import ShownLog
from popbox.journey.join.filed import decoded
from popbox.journey.join.files import MISSING_S
from popbox.journey.join.maillog import New, parse
from popbox.journey.model import Attempt, Event, Journey, Kind, Message
from popbox.journey.recorder import MAIL, Recorder
from popbox.journey.store import NEW, Filters, Store
from popbox.ledger.sent import Sent

SETTLE_S = MISSING_S + 1.0
LINES = (Kind.QUEUED, Kind.TRYING, Kind.TRIED, Kind.BOUNCED, Kind.ENDED)  # events that stand for a line of the log


class Tracker:
    """Reads on in the log each time that it is asked. Used by one thread."""

    def __init__(self, offered: list[Sent], log: Callable[[], str], kept: tuple[Host, Store] | None = None) -> None:
        """``offered`` grows as messages are sent; ``log`` gives all that the MTA has logged since the run began.

        ``kept`` is a store that outlives the run, and gets all that the host shows.
        """
        self._offered, self._show, self._kept = offered, log, kept
        self._opened: tuple[Store, Recorder] | None = None
        self._ids: dict[str, int] = {}  # token -> message
        self._texts: list[str] = []  # lines of the log
        self._number: dict[str, int] = {}  # place -> which of them

    def _open(self) -> tuple[Store, Recorder]:
        if self._kept is None:
            store = Store.in_memory()
            return store, Recorder(store, partial(ShownLog, self._show), heard=self._hear)
        host, store = self._kept
        return store, Recorder.on(host, store, self._hear)

    def _hear(self, line: LogLine) -> None:
        self._number[line.place] = len(self._texts)
        self._texts.append(line.text)

    def close(self) -> None:
        """Let go of the store; the next look opens it again. One that is kept gets what is still to be seen."""
        if self._opened is None:
            return
        store, recorder = self._opened

        def settled() -> bool:
            """Whether each file that the log tells of was seen, or given up."""
            self.look()
            return not store.owing()

        if self._kept:
            with suppress(HostError, OSError):
                wait_until(settled, time.monotonic() + SETTLE_S)
            recorder.close()
        else:
            store.close()
            self._ids.clear()
        self._opened = None

    def look(self) -> None:
        """Read what is new.

        Raises:
            HostError: the host shows no log.
        """
        self._opened = self._opened or self._open()
        store, recorder = self._opened
        self._note(store)
        recorder.run_pass()

    def _note(self, store: Store) -> None:
        """Tell the store of each message that was answered since."""
        for sent in self._offered:
            if sent.receipt is not None and sent.token not in self._ids:
                subject, message_id = _named(sent.octets)
                said = {"sender": sent.sender, "recipients": sent.recipients, "bytes": len(sent.octets)}
                said |= {"qp": sent.queued_as, "reply": sent.reply, "accepted": sent.accepted, "token": sent.token}
                said |= {"subject": subject, "message_id": message_id, "dialogue": commands(sent.receipt.transcript)}
                (self._ids[sent.token],) = store.append([Event(sent.at, Kind.SENT, NEW, said, "popbox")])

    def family(self, sent: Sent) -> list[Message]:
        """The message and its forwarded copies at any depth, parents first; not its bounce. As of the last look."""
        if sent.token not in self._ids:
            return []
        assert self._opened is not None
        of = self._ids[sent.token]
        journey = self._opened[0].journey(of)
        assert journey is not None
        return _family(journey, of)

    def lines(self, family: list[Message]) -> tuple[str, ...]:
        """What the log says of these messages."""
        found: list[str] = []
        events = (event for one in family if self._opened for event in self._opened[0].events_about(one.id))
        for event in events:
            if event.source == MAIL and event.kind in LINES and event.place:
                number = self._number[event.place]
                found += self._new(number, event.fields["number"]) if event.kind is Kind.QUEUED else []
                found.append(self._texts[number])
        return tuple(found)

    def _new(self, before: int, number: str) -> list[str]:
        """The line ``new msg`` of the message whose ``info msg`` follows; none where the log begins between them."""
        above = (self._texts[at] for at in range(before - 1, -1, -1))
        return next(([text] for text in above if parse(text) == New(number)), [])

    def attempts(self, sent: Sent) -> list[Attempt]:
        """Delivery attempts of a message itself, oldest first."""
        self.look()
        return [one for message in self.family(sent)[:1] for one in message.attempts]

    def ended(self, sent: Sent) -> bool:
        """Whether the MTA is done with the message: its ``end msg`` line is there."""
        self.look()
        return any(message.ended_at is not None for message in self.family(sent)[:1])

    def verdict(self, sent: Sent) -> str:
        """One line that says where the message is, from the MTA's log."""
        tried = self.attempts(sent)
        if not tried:
            queued = "it is in the queue: the log shows no delivery attempt yet"
            return queued if sent.queued_as else "no queue id in the reply"
        last = tried[-1]
        said = f": {last.said}" if last.said else ""
        return f"delivery to {last.recipient} ended in {last.outcome}{said} ({len(tried)} attempt(s))"


def messages(log: str) -> list[Message]:
    """Every message of a log, oldest first, whoever sent it."""
    with Store.in_memory() as store:
        Recorder(store, lambda _position: ShownLog(lambda: log)).run_pass()
        found: dict[int, Message] = {}
        for of in store.search(Filters(), limit=-1, oldest_first=True):
            if of not in found and (journey := store.journey(of)):
                found |= {one.id: one for one in (journey.message, *journey.copies)}
        return [found[of] for of in sorted(found)]


def _named(octets: bytes) -> tuple[str, str]:
    """Subject and Message-ID of a message."""
    head = BytesHeaderParser().parsebytes(octets.partition(b"\n\n")[0])
    return decoded(str(head.get("Subject", ""))), str(head.get("Message-ID", ""))


def _family(journey: Journey, of: int) -> list[Message]:
    found: dict[int, Message] = {}
    for one in (journey.message, *journey.copies):
        if one.id == of or (one.relation == "forward" and one.parent in found):
            found[one.id] = one
    return list(found.values())
