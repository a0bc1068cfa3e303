"""Mail that something else sends: wait until it lies in a box, and say where it is stuck when it does not come."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from popbox.errors import HostError
from popbox.hosts.base import Found, Host
from popbox.hosts.readiness import wait_until
from popbox.journey.join.rules import ask
from popbox.journey.model import Foretold, Message
from popbox.ledger.boxes import base
from popbox.ledger.tracker import messages
from popbox.message.model import Mail
from popbox.message.parse import addresses, normal, parse

MOST_TOLD = 10  # our choice: of other messages, the last ones


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which message is waited for.

    ``subject``: the whole of it, or a pattern to search it with. ``sender``: the From field's address, exactly.
    """

    subject: str | re.Pattern[str] | None = None
    sender: str | None = None

    def takes(self, mail: Mail) -> bool:
        """Whether it is such a message."""
        if isinstance(self.subject, str) and mail.subject != self.subject:
            return False
        if isinstance(self.subject, re.Pattern) and not self.subject.search(mail.subject):
            return False
        return self.sender is None or normal(self.sender) in addresses(mail.header("From"))

    def __str__(self) -> str:
        """In words."""
        subject = self.subject.pattern if isinstance(self.subject, re.Pattern) else self.subject
        kind = "a subject that matches" if isinstance(self.subject, re.Pattern) else "the subject"
        words = [f"{kind} {subject!r}"] if subject is not None else []
        return " and ".join([*words, *([f"From: {self.sender}"] if self.sender is not None else [])])


@dataclass(slots=True)
class Box:
    """Where the mail of one address goes (a mailbox's, an extension, a forward), and what has been read there."""

    host: Host
    route: Foretold
    _read: dict[str, Mail] = field(default_factory=dict)

    @classmethod
    def of(cls, host: Host, address: str) -> Box:
        """The box, by the rules of the host.

        Raises:
            HostError: by these rules mail for that address ends in no Maildir here; says where and why.
        """
        box = cls(host, ask(host, address))
        if not box.route.maildirs:
            raise HostError(f"mail for {address} comes to no box of this host: {box.route.outcome}: {box.route.why}")
        return box

    def names(self) -> frozenset[str]:
        """What lies there, by the part of the file names that stays."""
        return frozenset(base(one) for one in self._files())

    def _files(self) -> list[Found]:
        found = [one for place in self.route.maildirs for one in self.host.find(place, "")]
        return sorted(found, key=lambda one: (one.entry.mtime, one.entry.path))

    def mails(self, known: frozenset[str]) -> list[Mail]:
        """The messages for this address that are not ``known``, oldest first."""
        for one in self._files():
            name = base(one)
            if name not in known and name not in self._read and one.readable:
                self._read[name] = parse(one.octets)
        return self.seen(known)

    def seen(self, known: frozenset[str]) -> list[Mail]:
        """The same as of the last look, without another."""
        return [mail for name, mail in self._read.items() if name not in known and self._is_for_us(mail)]

    def _is_for_us(self, mail: Mail) -> bool:
        """Other addresses may share the box; each delivery notes its own on top (qmail-local(8), Delivered-To)."""
        routed = self.route.routed.lower()
        noted = [value.lower() for name, value in mail.headers if name.lower() == "delivered-to"]
        return not routed or not noted or routed in noted


def wait(box: Box, wanted: Wanted, known: frozenset[str], deadline: float) -> Mail | None:
    """The oldest message of the box that is not ``known`` and is wanted; None where none came, or the MTA has ended.

    There is one look at least, and none after one that has ended past the deadline.
    """
    found: list[Mail] = []

    def over() -> bool:
        ended = bool(box.host.alive("smtp"))  # asked first: the look then shows what it has delivered before it ended
        found.extend([mail for mail in box.mails(known) if wanted.takes(mail)][:1])
        return bool(found) or ended

    wait_until(over, deadline)
    return found[0] if found else None


def where_it_is(box: Box, known: frozenset[str], log: str) -> str:
    """Why no message came, as far as last look and log show it: what came instead, what waits, what was taken."""
    lines = [f"came instead: {_shown(mail)}" for mail in box.seen(known)[-MOST_TOLD:]]
    told = messages(log)
    ours = [line for one in told for line in _of_address(one, box.route.routed)]
    lines += ours[-MOST_TOLD:]
    if not ours:
        lines.append(f"the MTA has taken no message for {box.route.address} since this test began")
        others = [line for one in told for line in _of_any(one)]
        lines += [f"it has taken: {line}" for line in others[-MOST_TOLD:]]
    return "\n".join(lines)


def _shown(mail: Mail) -> str:
    return f"{mail.subject!r} From: {mail.header('From')}, {len(mail.raw)} octets"


def _of_address(message: Message, routed: str) -> Iterator[str]:
    """What the log says of one address's deliveries; of a message that no delivery has begun for, that it waits."""
    if not message.attempts and message.ended_at is None:
        yield f"a message from <{message.sender}> is in the queue: no delivery of it has begun"
    tried = [one for one in message.attempts if one.recipient.lower() == routed.lower()]
    if tried:
        said = f": {tried[-1].said}" if tried[-1].said else ""
        yield f"a message from <{message.sender}>: {tried[-1].outcome}{said} ({len(tried)} attempt(s))"


def _of_any(message: Message) -> Iterator[str]:
    for one in message.attempts[-1:]:
        yield f"from <{message.sender}> for {one.recipient}: {one.outcome}{': ' if one.said else ''}{one.said}"
