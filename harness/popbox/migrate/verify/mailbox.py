"""A box as one host shows it, and how it is read: again where it broke off, each message once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from popbox.clients.bulk_pop3 import BulkPop3
from popbox.clients.pop3 import Pop3Refused
from popbox.errors import PopboxError
from popbox.migrate.pop3.attempts import Attempts
from popbox.migrate.pop3.host import BROKEN, Host, Unavailable, for_now
from popbox.migrate.pop3.listing import read_listing
from popbox.migrate.verify.digest import Content, Digest

MESSAGE_TRIES = 3  # our choice: RETR of one message that ends the session each time


@dataclass(slots=True)
class Message:
    """One message of a listing; ``trouble`` says why its content could not be read.

    ``listed`` is what LIST says in place of a size where that is no number; ``size`` is 0 then.
    """

    number: int
    uidl: str
    size: int
    content: Content | None = None
    trouble: str = ""
    listed: str = ""

    @property
    def key(self) -> bytes | None:
        """What makes two messages the same one: header and body, whatever the line ends and the newlines at the end.

        Fields that servers of mbox files write into the header do not count (digest.SERVERS).
        """
        return None if self.content is None else self.content.bare + self.content.body


@dataclass(slots=True)
class Side:
    """What a host showed of one box. ``refused`` is the reply to a login not taken, ``no_uidl`` that to UIDL.

    ``malformed`` has, by the command, lines of LIST and UIDL that are none.
    """

    messages: list[Message] = field(default_factory=list)
    refused: str = ""
    no_uidl: str = ""
    again: int = 0
    malformed: dict[str, list[str]] = field(default_factory=dict)


def read_box(host: Host, login: str, password: str, content: bool) -> Side:
    """All of one box, without changing it.

    Raises:
        Unavailable: the box cannot be read.
    """
    host.check()
    try:
        side = _Reading(host, login, password, content).run()
    except Unavailable:
        host.note(reached=False)
        raise
    host.note(reached=True)
    return side


class _Reading:
    """One box in the making, over as many sessions as it takes."""

    def __init__(self, host: Host, login: str, password: str, content: bool) -> None:
        self.host, self.login, self.password, self.content = host, login, password, content
        self.side = Side()
        self.attempts = Attempts(host)
        self.broke_at: Counter[str] = Counter()

    def run(self) -> Side:
        while True:
            try:
                with self.host.session() as stream:
                    if self._enter(stream):
                        self._list(stream)
                        self._fetch(stream)
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
        listing = read_listing(stream)
        self.side.no_uidl, self.side.malformed = listing.no_uidl, listing.malformed
        known = {(old.uidl, old.size): old for old in self.side.messages if old.uidl}
        self.side.messages = []
        for entry in listing.entries:
            old = known.get((entry.uidl, entry.size))
            content, trouble = (old.content, old.trouble) if old else (None, "")
            self.side.messages.append(Message(entry.number, entry.uidl, entry.size, content, trouble, entry.listed))

    def _fetch(self, stream: BulkPop3) -> None:
        for message in self.side.messages if self.content else ():
            if message.content is not None or message.trouble:
                continue
            try:
                message.content = _digest(stream, message.number)
            except Pop3Refused as refusal:
                message.trouble = f"RETR {message.number}: {refusal.reply}"
            except BROKEN as error:
                self._broke(message, error)
                raise
            self.attempts.progress()

    def _broke(self, message: Message, error: PopboxError) -> None:
        """A message that ends the session each time is left out in the end, and named."""
        self.broke_at[message.uidl or str(message.number)] += 1
        if self.broke_at[message.uidl or str(message.number)] >= MESSAGE_TRIES:
            message.trouble = f"RETR {message.number}: {error}"
            self.attempts.progress()


def _digest(stream: BulkPop3, number: int) -> Content:
    digest = Digest()
    for piece in stream.retrieve(number):
        digest.feed(piece)
    return digest.done()


def read_fields(host: Host, login: str, password: str, wanted: dict[int, str]) -> dict[int, tuple[bytes, ...]]:
    """Subject, Date and so on by TOP, of numbers whose UIDL is still the given one; none where it does not work.

    For a person to know a message by: what cannot be read is left out, and changes no verdict.
    """
    found: dict[int, tuple[bytes, ...]] = {}
    try:
        with host.session() as stream:
            stream.login(login, password)
            now = dict(stream.lenient_listing("UIDL")[0])
            for number in (number for number, uidl in wanted.items() if now.get(number) == uidl):
                digest = Digest()
                for piece in stream.top(number):
                    digest.feed(piece)
                found[number] = digest.done().fields
    except (*BROKEN, Pop3Refused):
        pass
    return found
