"""A box as one host shows it, and how it is read: again where it broke off, each message once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter

from popbox.clients.bulk_pop3 import BulkPop3, Garbled, Retrieved
from popbox.clients.pop3 import Pop3Refused
from popbox.errors import ConnectionFailed, PopboxError
from popbox.migrate.pop3.attempts import Attempts
from popbox.migrate.pop3.host import BROKEN, Host, Unavailable, for_now
from popbox.migrate.pop3.listing import Listing, bounded, read_listing
from popbox.migrate.verify.digest import digest
from popbox.migrate.verify.message import Message

MESSAGE_TRIES = 3  # our choice: RETR of one message that ends the session each time


@dataclass(slots=True)
class Side:
    """What a host showed of one box: its messages by number, and the listing that they come from.

    ``refused`` is the reply to a login not taken; ``odd`` are replies that not every client reads.
    """

    messages: list[Message] = field(default_factory=list)
    refused: str = ""
    again: int = 0
    listing: Listing = field(default_factory=Listing)
    odd: list[str] = field(default_factory=list)


def read_box(host: Host, login: str, password: str, content: bool, room: int = 0) -> Side:
    """All of one box, without changing it; ``room``: octets of messages that are kept as they came.

    Raises:
        Unavailable: the box cannot be read.
    """
    host.check()
    try:
        side = _Reading(host, login, password, content, room).run()
    except Unavailable:
        host.note(reached=False)
        raise
    host.note(reached=True)
    return side


class _Reading:
    """One box in the making, over as many sessions as it takes."""

    def __init__(self, host: Host, login: str, password: str, content: bool, room: int) -> None:
        self.host, self.login, self.password, self.content, self.room = host, login, password, content, room
        self.side = Side()
        self.attempts = Attempts(host)
        self.broke_at: Counter[tuple[int, str]] = Counter()
        self.given_up: dict[tuple[int, str], str] = {}
        self.most = 0

    def run(self) -> Side:
        while True:
            try:
                with self.host.session() as stream:
                    if self._enter(stream):
                        self._list(stream)
                        self._fetch(stream)
                    self.side.odd = stream.odd
                    self.side.again = self.attempts.total
                    return self.side
            except BROKEN as error:
                self.attempts.wait(error)
            except Pop3Refused as error:  # of the greeting, STLS, or for now
                self.attempts.wait(error)

    def _enter(self, stream: BulkPop3) -> bool:
        try:
            stream.login(self.login, self.password)
        except Pop3Refused as refusal:
            if for_now(refusal):
                raise
            self.side.refused = refusal.reply
            return False
        return True

    def _list(self, stream: BulkPop3) -> None:
        """The listing of this session; contents of an earlier one are kept where UIDL and size say it is the same."""
        self.side.listing = found = read_listing(stream)
        known = self._known()
        self.side.messages = []
        for number, uidl, size, listed in sorted(found.entries, key=itemgetter(0)):
            message = Message(number, uidl, size, None, self.given_up.get((number, uidl), ""), listed)
            if (old := known.get((uidl, size))) is not None:
                message.take(old)
            self.side.messages.append(message)

    def _known(self) -> dict[tuple[str, int], Message]:
        """What was read already; an id that stands for two messages says nothing."""
        often = Counter(old.uidl for old in self.side.messages)
        return {(old.uidl, old.size): old for old in self.side.messages if old.uidl and often[old.uidl] == 1}

    def _fetch(self, stream: BulkPop3) -> None:
        """Read what is not read yet; a second session waits for each reply, so that the message at fault is known."""
        wanted = [m for m in self.side.messages if self.content and not (m.read or m.trouble)]
        ahead = 1 if self.attempts.total else self.host.ahead
        replies = stream.retrieve_all([message.number for message in wanted], ahead)
        for done, message in enumerate(wanted, len(self.side.messages) - len(wanted) + 1):
            try:
                self._take(message, next(replies))
                if ahead == 1 and stream.left:
                    message.forget()
                    raise Garbled(f"{self.host.address} sent {stream.left} octets behind the end of the message")
            except BROKEN as error:
                if ahead > 1 and not isinstance(error, ConnectionFailed):
                    self.host.ahead = 1  # it announces PIPELINING and cannot do it: no other box pays for that
                    self._distrust(wanted)
                self._broke(message, error)
                raise
            if done > self.most:  # without UIDL each session reads all again: that is none
                self.most = done
                self.attempts.progress()

    def _take(self, message: Message, reply: Retrieved) -> None:
        """The reply to RETR: kept while there is room, as most boxes are then compared without a digest."""
        if isinstance(reply, tuple) and len(reply[0]) <= self.room:
            message.keep(reply[0])
            self.room -= len(reply[0])
        elif isinstance(reply, Pop3Refused):
            message.trouble = f"RETR {message.number}: {reply.reply}"
        else:
            size = None if message.listed else message.size
            message.content = digest(bounded(reply, size, self.host.address))

    def _distrust(self, asked: list[Message]) -> None:
        """Forget what one session gave: where replies are missing, which command each was for is not known."""
        for message in asked:
            self.room += len(message.sent or b"")
            message.forget()
            message.trouble = ""

    def _broke(self, message: Message, error: PopboxError) -> None:
        """A message that ends the session each time is left out in the end, and named."""
        key = (message.number, message.uidl)
        self.broke_at[key] += 1
        if self.broke_at[key] >= MESSAGE_TRIES:
            self.given_up[key] = message.trouble = f"RETR {message.number}: {error}"
            self.attempts.leave_out()


Fields = dict[int, tuple[bytes, ...]]


def read_fields(host: Host, login: str, password: str, wanted: dict[int, str]) -> tuple[Fields, str]:
    """Subject, Date and so on by TOP, of numbers whose UIDL is still the given one; and the reply that refused TOP.

    For a person to know a message by: what cannot be read is left out, and changes no verdict.
    """
    found: Fields = {}
    try:
        with host.session() as stream:
            stream.login(login, password)
            now = dict(stream.lenient_listing("UIDL")[0])
            for number in (number for number, uidl in wanted.items() if now.get(number) == uidl):
                found[number] = digest(bounded(stream.top(number), 0, host.address)).fields
    except Pop3Refused as refusal:
        return found, f"{refusal.reply} to {refusal.command}" if not found else ""
    except BROKEN:
        pass
    return found, ""
