"""A lock-step SMTP client: one command, one reply, everything logged (RFC 5321)."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from popbox.clients.wire import LINE_OCTETS, Address, Wire, readable
from popbox.errors import ConnectionFailed, StepTimeout

MOST_LINES = 1_000  # our choice: of one reply; with LINE_OCTETS it bounds memory
MOST_TOLD = 200  # our choice: lines of a dialogue that are told, half of them from its begin
TOLD_CHARACTERS = 500  # our choice: of each of them; a command has at most 512 octets (RFC 5321 §4.5.3.1.4)
QUEUED_AS = re.compile(r"\bqp (\d+)")


def queued_as(reply: str) -> str:
    """The qp of qmail's reply ``250 ok TIME qp PID``; empty where it names none."""
    found = QUEUED_AS.search(reply)
    return found.group(1) if found else ""


def commands(transcript: Iterable[str]) -> list[str]:
    """The dialogue about a message without the message: one remark stands in its place; of a long one the middle goes.

    ``transcript``: the C: and S: lines of one session.
    """
    told: list[str] = []
    content = 0
    taking = False
    for line in transcript:
        if taking and line.startswith("C: ") and line != "C: .":
            content += 1
            continue
        if taking:
            told.append(f"C: ... {content} {'line' if content == 1 else 'lines'} of the message")
        taking = line.startswith("S: 354")
        content = 0
        told.append(line if len(line) <= TOLD_CHARACTERS else f"{line[:TOLD_CHARACTERS]}...")
    return shortened(told)


def shortened(told: Sequence[str]) -> list[str]:
    """Lines of which the middle is left out where there are more than MOST_TOLD; a remark says how many."""
    half, left_out = MOST_TOLD // 2, len(told) - MOST_TOLD
    return [*told[:half], f"... {left_out} lines", *told[-half:]] if left_out > 0 else list(told)


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply: its three-digit code and the text of all its lines."""

    code: int
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the code is 2xx or 3xx."""
        return 200 <= self.code < 400

    def __str__(self) -> str:
        """``250 ok``; further lines are joined with `` / ``."""
        return f"{self.code} {' / '.join(self.lines)}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a server said to one message: the reply that decided, at which command and after how long, and all of it."""

    accepted: bool
    command: str
    reply: Reply
    transcript: tuple[str, ...]
    took_s: float = 0.0


class Smtp:
    """One SMTP session."""

    def __init__(self, address: Address, timeout_s: float = 10.0, tls: ssl.SSLContext | None = None) -> None:
        """Connect and read the greeting; with ``tls`` the connection begins with a handshake.

        Raises:
            ConnectionFailed: the peer closed or broke the connection.
            StepTimeout: a reply did not come in time.
        """
        self.wire = Wire(address, timeout_s)
        try:
            if tls:
                self.wire.secure(tls, address.host)
            self.greeting = self.read_reply("the greeting")
        except BaseException:
            self.wire.close()
            raise

    @classmethod
    def over(cls, wire: Wire) -> Self:
        """A session on a wire that is there; reads the greeting. Who made the wire closes it.

        Raises:
            ConnectionFailed: the peer closed or broke the connection.
            StepTimeout: the greeting did not come in time.
        """
        session = cls.__new__(cls)
        session.wire = wire
        session.greeting = session.read_reply("the greeting")
        return session

    def read_reply(self, awaited: str) -> Reply:
        """Read one reply with all its continuation lines (RFC 5321 §4.2.1).

        Raises:
            ConnectionFailed: what came is no SMTP reply, or the connection has ended.
            StepTimeout: it did not come in time.
        """
        lines: list[str] = []
        while True:
            line = readable(self.wire.read_line(awaited))
            if sum(map(len, lines)) > LINE_OCTETS or len(lines) > MOST_LINES:
                raise ConnectionFailed(f"{self.wire.peer} sent a reply that does not end")
            if len(line) < 3 or not line[:3].isdigit() or line[3:4] not in ("", " ", "-"):
                raise ConnectionFailed(f"{self.wire.peer} sent {line!r}, which is no SMTP reply")
            lines.append(line[4:])
            if line[3:4] != "-":
                return Reply(int(line[:3]), tuple(lines))

    def command(self, line: str) -> Reply:
        """Send one command line and read its reply."""
        self.wire.send_line(line.encode("utf-8"))
        return self.read_reply(f"the reply to {line.split(' ')[0]}")

    def data(self, message: bytes, *, exact: bool = False, logged: bool = True) -> Reply:
        """Send message content with LF line ends after a 354: made CR LF, dot-stuffed, ended (RFC 5321 §4.5.2).

        ``exact``: its line ends go as they are. ``logged``: each line goes into the log; that costs ten times the rest.
        """
        octets = (message if exact else message.replace(b"\n", b"\r\n")).replace(b"\r\n.", b"\r\n..")
        octets = b"." + octets if octets.startswith(b".") else octets
        octets += b"" if octets.endswith(b"\r\n") or not octets else b"\r\n"
        self.wire.send_octets(octets)
        for line in octets.split(b"\r\n")[:-1] if logged else ():
            self.wire.note_sent(line)
        self.wire.send_line(b".")
        return self.read_reply("the reply to the message")


def deliver(
    address: Address, sender: str, recipients: tuple[str, ...], message: bytes, timeout_s: float = 10.0
) -> Receipt:
    """Send one message; stops at the first refusal. A refusal is a Receipt.

    Raises:
        ConnectionFailed: the peer closed or broke the connection; carries the transcript so far.
        StepTimeout: a reply did not come in time; carries the transcript so far.
    """
    session = Smtp(address, timeout_s)
    with session.wire:
        try:
            return _converse(session, sender, recipients, message)
        except (ConnectionFailed, StepTimeout) as error:
            error.transcript = session.wire.transcript()
            raise


def _converse(session: Smtp, sender: str, recipients: tuple[str, ...], message: bytes) -> Receipt:
    decisive = ("connect", session.greeting)
    lines = ["EHLO popbox.invalid", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA"]
    if session.greeting.ok:
        for line in lines:
            decisive = (line, session.command(line))
            if not decisive[1].ok:
                break
        else:
            decisive = ("DATA", session.data(message))
    took_s = session.wire.log[-1].at_s
    with suppress(ConnectionFailed, StepTimeout):  # the verdict is in; a server may hang up after an error
        session.command("QUIT")
    command, reply = decisive
    return Receipt(reply.ok, command, reply, session.wire.transcript(), took_s)
