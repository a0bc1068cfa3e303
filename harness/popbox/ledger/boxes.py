"""The boxes of a run, read before its mail is sent and at the end: new messages that are not ours are counted.

A copy whose token was changed or taken out on the way is found so: it is new, no message of the run, and yet has the
lines of one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.errors import ConnectionFailed, HostError, StepTimeout
from popbox.hosts.base import Found, Host
from popbox.ledger import TOKEN_FIELD
from popbox.ledger.pickup import RetrievedMessage, sizes_of

Names = frozenset[str]
MOST_MESSAGES = 200  # our choice: the newest that are new; a scenario's own are among them
LOOK_S = 10.0  # our choice: for each reply
ALIKE = 0.5  # our choice: from this share of a message's lines on, another message is a copy of it


@dataclass(slots=True)
class Login:
    """A box that only POP3 shows. ``before`` are its unique-ids from before the run's mail; None: not looked at."""

    password: str = field(repr=False)
    before: Names | None = None


def lying(host: Host, maildir: str) -> Names | None:
    """The messages of a Maildir, by the part of the name that stays; None where the host does not show files."""
    try:
        return frozenset(map(base, host.find(maildir, "")))
    except HostError:
        return None


def base(one: Found) -> str:
    """The file's name without folder and flags: it stays when a mail program moves the message (maildir(5))."""
    return one.entry.path.rpartition("/")[2].partition(":")[0]


def listed(host: Host, login: str, password: str) -> Names | None:
    """The unique-ids of a box; none where the login is not taken yet, None where they cannot be known."""
    try:
        with Pop3(host.address("pop3"), LOOK_S) as session:
            session.login(login, password)
            there = frozenset(session.listing("UIDL").values())
            session.wire.hang_up()  # the next step's login must not meet our lock
            return there
    except Pop3Refused as error:
        unknown_yet = error.command.startswith("PASS") and "[" not in error.reply
        return frozenset() if unknown_yet else None
    except (ConnectionFailed, StepTimeout, HostError, ValueError):
        return None


def new_in(host: Host, login: str, known: Login) -> list[RetrievedMessage] | str:
    """Log in and retrieve what is new, newest first, without QUIT, so that nothing moves. On failure the reason."""
    got: list[RetrievedMessage] = []
    try:
        with Pop3(host.address("pop3"), LOOK_S) as session:
            session.login(login, known.password)
            sizes = sizes_of(session)
            numbers = sorted(sizes, reverse=True)
            if known.before is not None:
                unique = session.listing("UIDL")
                numbers = [number for number in numbers if unique.get(number) not in known.before]
            for number in numbers[:MOST_MESSAGES]:
                got.append(
                    RetrievedMessage("popbox", login, number, session.body(number), time.time(), listed=sizes[number])
                )
            session.wire.hang_up()
    except (Pop3Refused, ConnectionFailed, StepTimeout, HostError, ValueError) as error:
        return f"{login} over POP3: {error}"
    return got


def is_copy(octets: bytes, sent: bytes) -> bool:
    """Whether a message shares so many lines with another that it must be a copy, whatever its token."""
    mine, theirs = _lines(sent), _lines(octets)
    return bool(mine) and len(mine & theirs) >= ALIKE * len(mine)


def _lines(octets: bytes) -> set[bytes]:
    """The lines with content, without regard to case and blanks, and without the token's."""
    mark = f"{TOKEN_FIELD}:".lower().encode()
    lines = (b" ".join(line.lower().split()) for line in octets.split(b"\n"))
    return {line for line in lines if line and not line.startswith(mark)}
