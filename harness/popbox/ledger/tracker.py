"""A run's messages on their way through the queue: their journeys, made from the MTA's log while the run goes on.

Each message is told to the store as sent, with what the MTA replied, before the log is read on: the journey joins.
"""

from __future__ import annotations

from collections.abc import Callable

from popbox.journey.feeds.shown import ShownLog
from popbox.journey.join.maillog import New, parse
from popbox.journey.model import Attempt, Event, Journey, Kind, Message
from popbox.journey.recorder import MAIL, Recorder
from popbox.journey.store import NEW, Filters, Store
from popbox.ledger.sent import Sent

LINES = (Kind.QUEUED, Kind.TRYING, Kind.TRIED, Kind.BOUNCED, Kind.ENDED)  # events that stand for a line of the log


class Tracker:
    """Reads on in the log each time that it is asked. Used by one thread."""

    def __init__(self, offered: list[Sent], log: Callable[[], str]) -> None:
        """``offered`` grows as messages are sent; ``log`` gives all that the MTA has logged since the run began."""
        self._offered, self._show, self._log = offered, log, ShownLog(log)
        self._opened: tuple[Store, Recorder] | None = None
        self._ids: dict[str, int] = {}  # token -> message

    def _follow(self, position: str) -> ShownLog:
        self._log = ShownLog(self._show, position)
        return self._log

    def close(self) -> None:
        """Let go of the store; the next look makes another."""
        if self._opened:
            self._opened[0].close()
        self._opened = None
        self._ids.clear()

    def look(self) -> None:
        """Read what is new.

        Raises:
            HostError: the host shows no log.
        """
        if self._opened is None:
            store = Store.in_memory()
            self._opened = store, Recorder(store, self._follow)
        store, recorder = self._opened
        self._note(store)
        recorder.run_pass()

    def _note(self, store: Store) -> None:
        """Tell the store of each message that was answered since."""
        for sent in self._offered:
            if sent.receipt is not None and sent.token not in self._ids:
                said = {"sender": sent.sender, "recipients": sent.recipients, "bytes": len(sent.octets)}
                said |= {"qp": sent.queued_as, "reply": sent.reply, "accepted": sent.accepted, "token": sent.token}
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
        shown, found = self._log.shown, list[str]()
        events = (event for one in family if self._opened for event in self._opened[0].events_about(one.id))
        for event in events:
            if event.source == MAIL and event.kind in LINES and event.place:
                number = int(event.place) - 1
                found += _new(shown[:number], event.fields["number"]) if event.kind is Kind.QUEUED else []
                found.append(shown[number])
        return tuple(found)

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


def _family(journey: Journey, of: int) -> list[Message]:
    found: dict[int, Message] = {}
    for one in (journey.message, *journey.copies):
        if one.id == of or (one.relation == "forward" and one.parent in found):
            found[one.id] = one
    return list(found.values())


def _new(before: list[str], number: str) -> list[str]:
    """The line ``new msg`` of the message whose ``info msg`` follows; none where the log begins between them."""
    return next(([text] for text in reversed(before) if parse(text) == New(number)), [])
