"""A box as one host shows it, and how it is read: again where it broke off, each message once."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from popbox.clients.bulk_pop3 import BulkPop3, is_number
from popbox.clients.pop3 import Pop3Refused
from popbox.errors import PopboxError
from popbox.migrate.verify.digest import Content, Digest
from popbox.migrate.verify.host import BROKEN, Host, Unavailable, for_now

LONGEST_WAIT_S = 30.0
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


class Attempts:
    """Bounded, growing waits between failed tries; progress resets them."""

    def __init__(self, host: Host) -> None:
        """None made yet."""
        self.host, self.failed, self.total = host, 0, 0

    def progress(self) -> None:
        """Something was read: the next failure is a first one."""
        self.failed = 0

    def wait(self, error: PopboxError) -> None:
        """Sleep before the next try.

        Raises:
            Unavailable: no try is left; the text is the last error.
        """
        self.failed, self.total = self.failed + 1, self.total + 1
        if self.failed >= self.host.tries:
            raise Unavailable(f"the {self.host.side} host, after {self.failed} tries: {error}") from error
        wait_s = min(self.host.wait_s * 2 ** (self.failed - 1), LONGEST_WAIT_S)
        time.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries, guards nothing


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
        sizes, malformed = stream.lenient_listing("LIST")
        self.side.malformed = {"LIST": malformed} if malformed else {}
        uidls = self._unique_ids(stream) if sizes else {}
        known = {(old.uidl, old.size): old for old in self.side.messages if old.uidl}
        self.side.messages = []
        for number, text in sizes:
            uidl, word = uidls.get(number, ""), text.split()[0]
            size, listed = (int(word), "") if is_number(word.encode()) else (0, word)
            old = known.get((uidl, size))
            content, trouble = (old.content, old.trouble) if old else (None, "")
            self.side.messages.append(Message(number, uidl, size, content, trouble, listed))

    def _unique_ids(self, stream: BulkPop3) -> dict[int, str]:
        """By number; an empty box is not asked for them."""
        try:
            rows, malformed = stream.lenient_listing("UIDL")
        except Pop3Refused as refusal:
            self.side.no_uidl = refusal.reply
            return {}
        if malformed:
            self.side.malformed["UIDL"] = malformed
        return dict(rows)

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
