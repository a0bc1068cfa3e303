"""What POP3 handed out: read from the conversations that a scenario had, and fetched by popbox itself afterwards.

A password is known where the scenario itself logged in with it, or where the account has a hash whose
password is known: that of a password that the scenario says, or the HOWTO's own sample.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from popbox.clients.body import Body
from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.clients.secret import MASK
from popbox.clients.wire import Logged, Wire
from popbox.errors import ConnectionFailed, HostError, StepTimeout
from popbox.hosts.base import Host
from popbox.journey.join.rules import logins
from popbox.ledger import tokens_of
from popbox.ledger.proof import Retrieved

MOST_MESSAGES = 200  # our choice: the newest of a maildrop; a scenario's own are among them
FETCH_S = 10.0  # our choice: for each reply
MULTILINE = ("RETR", "TOP", "LIST", "UIDL", "CAPA")


@dataclass(frozen=True, slots=True)
class RetrievedMessage:
    """One RETR. ``listed`` is the size that LIST told; ``deleted`` once DELE and QUIT took the message away."""

    by: str
    login: str
    number: int
    body: Body
    at: float  # wall clock, seconds
    deleted: bool = False
    listed: int | None = None

    @property
    def octets(self) -> bytes:
        """The message with LF line ends, without dot-stuffing."""
        return self.body.text

    def fault(self) -> str:
        """What is wrong with how it came over the wire; empty when nothing is."""
        return next(self.body.faults(self.listed), "")

    def tokens(self) -> set[str]:
        """Those of the message that it is: a bounce has none in its header."""
        return tokens_of(b"\n" + self.octets.partition(b"\n\n")[0] + b"\n")

    def shown(self) -> Retrieved:
        """For the report: octets and digest as they went over the wire."""
        wire = self.body.wire
        digest = hashlib.sha256(wire).hexdigest()
        return Retrieved(by=self.by, login=self.login, number=self.number, octets=len(wire), sha256=digest)


@dataclass(slots=True)
class Heard:
    """One conversation, read reply by reply; commands may have been pipelined."""

    by: str
    login: str = ""
    password: str = field(default="", repr=False)  # once the server accepted it
    got: dict[int, tuple[Body, float]] = field(default_factory=dict)
    listed: dict[int, int] = field(default_factory=dict)
    marked: set[int] = field(default_factory=set)
    quit_: bool = False

    def handed(self) -> Iterator[RetrievedMessage]:
        """Each message that it handed out."""
        for number, (body, at) in self.got.items():
            deleted = self.quit_ and number in self.marked
            yield RetrievedMessage(self.by, self.login, number, body, at, deleted, self.listed.get(number))


def hear(step: int, wire: Wire) -> Heard:
    """Read a conversation's log."""
    heard = Heard(f"step {step}")
    asked: list[list[str]] = [["greeting"]]
    lines = iter(wire.log)
    began = time.time() - (time.monotonic() - wire.began)
    for line in lines:
        if line.side == "C":
            said = line.text.replace(MASK, line.secret) if line.secret else line.text
            asked.append(said.split(" ", 2) or [""])
        elif asked and line.text.startswith("+OK"):
            _accepted(heard, asked.pop(0), line, lines, began)
        elif asked:
            asked.pop(0)
    return heard


def _accepted(heard: Heard, command: list[str], status: Logged, lines: Iterator[Logged], began: float) -> None:
    verb, number = command[0].upper(), int(command[1]) if command[1:] and command[1].isdigit() else 0
    if verb == "USER" and command[1:]:
        heard.login = " ".join(command[1:])
    elif verb == "PASS":
        heard.password = " ".join(command[1:])
    elif verb in MULTILINE and (verb in ("RETR", "TOP", "CAPA") or not number):
        body = Body.read(status, lines)
        if verb == "RETR" and body:
            heard.got[number] = body, began + body.end.at_s
        elif verb == "LIST" and body:
            heard.listed |= dict(filter(None, (_size(line.text) for line in body.lines)))
    elif verb == "LIST" and (one := _size(status.text.removeprefix("+OK "))):
        heard.listed[one[0]] = one[1]
    elif verb == "DELE":
        heard.marked.add(number)
    elif verb == "RSET":
        heard.marked.clear()
    elif verb == "QUIT":
        heard.quit_ = True


def sizes_of(session: Pop3) -> dict[int, int]:
    """LIST: message number -> octets, where what stands there is a number."""
    return {number: int(size) for number, size in session.listing().items() if size.isdecimal()}


def _size(line: str) -> tuple[int, int] | None:
    """A line of LIST: number and octets."""
    words = line.split()
    return (int(words[0]), int(words[1])) if len(words) >= 2 and words[0].isdecimal() and words[1].isdecimal() else None


def known_logins(
    host: Host, boxes: set[str], heard: Iterable[Heard], passwords: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Box below the qmail home -> login and password, for those boxes whose password is known.

    ``passwords`` are those of hashes.
    """
    said = {one.login: one.password for one in heard if one.password and not one.password.startswith("*")}
    try:
        rows = logins(host)
    except HostError:
        return {}
    known: dict[str, tuple[str, str]] = {}
    for one in rows:
        password = said.get(one.login) or passwords.get(one.crypt)
        if one.box in boxes and password:
            known[one.box] = (one.login, password)
    return known


def fetch(host: Host, login: str, password: str, tokens: set[str]) -> list[RetrievedMessage] | str:
    """Log in and retrieve the messages with these tokens, newest first; no QUIT, so that nothing moves or goes.

    Gives the reason in words where that cannot be done.
    """
    got, missing = list[RetrievedMessage](), set(tokens)
    try:
        with Pop3(host.address("pop3"), FETCH_S) as session:
            session.login(login, password)
            count, _octets = session.stat()
            for number in range(count, max(0, count - MOST_MESSAGES), -1):
                got.append(RetrievedMessage("popbox", login, number, session.body(number), time.time()))
                missing -= got[-1].tokens()
                if not missing:
                    break
            with suppress(Pop3Refused, ConnectionFailed, StepTimeout, ValueError):
                sizes = sizes_of(session)
                got = [replace(one, listed=sizes.get(one.number)) for one in got]
    except (Pop3Refused, ConnectionFailed, StepTimeout, HostError, ValueError) as error:
        return f"{login} over POP3: {error}"
    return got
