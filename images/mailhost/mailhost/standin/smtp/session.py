"""The SMTP conversation as a state table without I/O: octets in, replies and events out. Source: Q-SMTP-1..14.

``Session.feed`` takes input, split at any octet, and returns what to do, in order. After ``Ended`` the owner
stores the message and calls ``stored`` with the reply; input that arrives in between waits here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from mailhost.qmail.controlfile import c_string
from mailhost.qmail.dotqmail import ADDRESS_OCTETS
from mailhost.standin.smtp import address
from mailhost.standin.smtp.data import MOST_HOPS, BareLF, Decoder

LINE_OCTETS = 1 << 20  # our choice: qmail-smtpd takes commands of any length; memory here is shared by all sessions
ENVELOPE_OCTETS = 1 << 21  # our choice: all recipients of a message, some 35,000 of them; qmail-smtpd has no limit
RECIPIENT_OCTETS = 40  # memory for each recipient besides its own octets


class State(Enum):
    """Where a session stands."""

    IDLE = auto()  # no MAIL yet
    MAIL = auto()  # MAIL taken, no recipient
    RCPT = auto()  # at least one recipient
    CONTENT = auto()  # after 354
    STORING = auto()  # content complete, reply not yet known
    TLS = auto()  # 220 to STARTTLS sent, handshake not done
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; ``lines`` without code and CR LF."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def octets(self) -> bytes:
        """The reply as sent (RFC 5321 §4.2.1)."""
        last = len(self.lines) - 1
        return b"".join(
            b"%d%s%s\r\n" % (self.code, b" " if index == last else b"-", line) for index, line in enumerate(self.lines)
        )


@dataclass(frozen=True, slots=True)
class Envelope:
    """Event: DATA was accepted for this envelope. ``helo`` is None when the client sent neither HELO nor EHLO."""

    sender: bytes
    recipients: tuple[bytes, ...]
    helo: bytes | None


@dataclass(frozen=True, slots=True)
class Content:
    """Event: octets to store, lines ending in LF."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """Event: the content is complete; store it and call ``stored``."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Event: discard what was stored of this message; the refusal follows as a Reply."""


@dataclass(frozen=True, slots=True)
class Close:
    """Event: send the replies so far and close; ``status`` is the exit code that qmail-smtpd would have."""

    status: int


@dataclass(frozen=True, slots=True)
class StartTls:
    """Event: after the replies so far, negotiate TLS and call ``secured``."""


Event = Reply | Envelope | Content | Ended | Abandoned | Close | StartTls


class Policy(Protocol):
    """What a session must know of its host; read again for each connection (Q-SMTP-1)."""

    @property
    def greeting(self) -> bytes:
        """The host's name in the 220 reply (RFC 5321 §4.3.1, Q-SMTP-4)."""

    @property
    def databytes(self) -> int:
        """The most octets that a message may have; 0 for no limit (qmail-smtpd(8))."""

    @property
    def relayclient(self) -> bytes | None:
        """RELAYCLIENT: what is added to each recipient; None where rcpthosts decides (qmail-smtpd(8))."""

    @property
    def starttls(self) -> bool:
        """Whether STARTTLS is offered (RFC 3207)."""

    def localize(self, address: bytes) -> bytes:
        """The address, with an IP address of this host in brackets replaced by ``localiphost`` (RFC 5321 §4.1.3)."""

    def refusal(self, sender: bytes, recipient: bytes) -> Reply | None:
        """The reply that refuses a recipient, or None (RFC 5321 §4.1.1.3)."""


def _reply(code: int, text: bytes) -> Reply:
    return Reply(code, (text,))


OK = _reply(250, b"ok")
FLUSHED = _reply(250, b"flushed")
GO_AHEAD = _reply(354, b"go ahead")
HELP = _reply(214, b"popbox stand-in: see mailhost/standin/README.md")
VRFY = _reply(252, b"send some mail, i'll try my best")
READY_FOR_TLS = _reply(220, b"ready for tls")
UNIMPLEMENTED = _reply(502, b"unimplemented (#5.5.1)")
MAIL_FIRST = _reply(503, b"MAIL first (#5.5.1)")
RCPT_FIRST = _reply(503, b"RCPT first (#5.5.1)")
SYNTAX = _reply(555, b"syntax error (#5.5.4)")
NO_CONTROLS = _reply(421, b"unable to read controls (#4.3.0)")
TIMEOUT = _reply(451, b"timeout (#4.4.2)")
BARE_LF = _reply(451, b"See https://cr.yp.to/docs/smtplf.html.")
TOO_LONG = _reply(500, b"line too long (#5.5.2)")
TOO_BIG = _reply(552, b"sorry, that message size exceeds my databytes limit (#5.3.4)")
LOOPING = _reply(554, b"too many hops, this message is looping (#5.4.6)")
TOO_MANY = _reply(452, b"too many recipients (#4.5.3)")  # RFC 5321 §4.5.3.1.10
ADDRESS_TOO_LONG = _reply(554, b"envelope address too long for qq (#5.1.3)")


class Session:
    """One connection's conversation."""

    def __init__(self, policy: Policy) -> None:
        """``policy`` decides; ``banner`` is the first reply."""
        self.state = State.IDLE
        self._policy = policy
        self._input = bytearray()
        self._scanned = 0
        self._helo: bytes | None = None
        self._sender = b""
        self._recipients: list[bytes] = []
        self._envelope_octets = 0
        self._decoder = Decoder()
        self._octets = 0
        self._secure = False

    @property
    def banner(self) -> Reply:
        """The greeting; it names the stand-in (RFC 5321 §3.1)."""
        return _reply(220, self._policy.greeting + b" ESMTP popbox stand-in")

    def feed(self, data: bytes) -> list[Event]:
        """Take input and return the events that follow from it, in order (RFC 5321 §4.1, RFC 2920 §3.1)."""
        self._input += data
        events: list[Event] = []
        while self._input and self.state in _READING:
            if self.state is State.CONTENT:
                events += self._content()
                continue
            line = self._line()
            if line is None:
                break
            events += self._command(line)
        if len(self._input) > LINE_OCTETS and self.state in _TABLE_STATES:
            self.state = State.CLOSED
            events += (TOO_LONG, Close(1))
        return events

    def stored(self, reply: Reply) -> list[Event]:
        """The message was stored or refused: reply, then go on with the input that waited (RFC 5321 §4.1.1.4)."""
        self.state = State.IDLE
        return [reply, *self.feed(b"")]

    def secured(self) -> None:
        """TLS is established: discard the state, and all input sent in the clear (RFC 3207 §4.2)."""
        self.state, self._secure, self._helo, self._input = State.IDLE, True, None, bytearray()

    def _line(self) -> bytes | None:
        """The next command without its line end; LF alone ends a command too (Q-SMTP-5)."""
        end = self._input.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._input)
            return None
        line, self._scanned = bytes(self._input[:end]).removesuffix(b"\r"), 0
        del self._input[: end + 1]  # a bytearray drops its front without moving the rest
        return line.partition(b"\0")[0] if b"\0" in line else line

    def _command(self, line: bytes) -> tuple[Event, ...]:
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        handler = TABLE.get((self.state, verb))
        if handler is None:
            return (MISSING.get((self.state, verb), UNIMPLEMENTED),)
        return handler(self, argument.lstrip(b" "))

    def _helo_reply(self, argument: bytes) -> tuple[Event, ...]:
        self._helo = argument
        self.state = State.IDLE
        return (_reply(250, self._policy.greeting),)

    def _ehlo(self, argument: bytes) -> tuple[Event, ...]:
        self._helo_reply(argument)
        tls = (b"STARTTLS",) if self._offers_tls else ()
        return (Reply(250, (self._policy.greeting, b"PIPELINING", *tls, b"8BITMIME")),)

    @property
    def _offers_tls(self) -> bool:
        return self._policy.starttls and not self._secure

    def _mail(self, argument: bytes) -> tuple[Event, ...]:
        sender = self._policy.localize(address.parse(argument))
        if len(sender) > address.LONGEST:
            return (SYNTAX,)
        self._sender, self._recipients, self.state = sender, [], State.MAIL
        self._envelope_octets = 0
        return (OK,)

    def _rcpt(self, argument: bytes) -> tuple[Event, ...]:
        recipient = self._policy.localize(address.parse(argument))
        if len(recipient) > address.LONGEST:
            return (SYNTAX,)
        refusal = self._policy.refusal(self._sender, c_string(recipient))
        if refusal is None:  # localiphost can hold a NUL: it ends a recipient after the suffix was added
            return (self._take(c_string(recipient + (self._policy.relayclient or b""))),)
        if refusal.code != NO_CONTROLS.code:
            return (refusal,)
        self.state = State.CLOSED
        return (refusal, Close(1))

    def _take(self, recipient: bytes) -> Reply:
        self._envelope_octets += len(recipient) + RECIPIENT_OCTETS
        if self._envelope_octets > ENVELOPE_OCTETS:
            return TOO_MANY
        self._recipients.append(recipient)
        self.state = State.RCPT
        return OK

    def _data(self, _argument: bytes) -> tuple[Event, ...]:
        self.state, self._decoder, self._octets = State.CONTENT, Decoder(), 0
        return (Envelope(c_string(self._sender), tuple(self._recipients), self._helo), GO_AHEAD)

    def _rset(self, _argument: bytes) -> tuple[Event, ...]:
        self.state = State.IDLE
        return (FLUSHED,)

    def _quit(self, _argument: bytes) -> tuple[Event, ...]:
        self.state = State.CLOSED
        return (_reply(221, self._policy.greeting), Close(0))

    def _starttls(self, _argument: bytes) -> tuple[Event, ...]:
        if not self._offers_tls:
            return (UNIMPLEMENTED,)
        self.state = State.TLS
        return (READY_FOR_TLS, StartTls())

    def _content(self) -> tuple[Event, ...]:
        data = bytes(self._input)
        self._input.clear()
        try:
            piece = self._decoder.feed(data)
        except BareLF:
            self.state = State.CLOSED
            return (Abandoned(), BARE_LF, Close(1))
        self._octets += len(piece.octets)
        kept: tuple[Event, ...] = (Content(piece.octets),) if piece.octets and not self._too_big else ()
        if piece.rest is None:
            return kept
        self._input += piece.rest
        refusal = self._content_refusal()
        if refusal is not None:
            self.state = State.IDLE
            return (Abandoned(), refusal)
        self.state = State.STORING
        return (*kept, Ended())

    @property
    def _too_big(self) -> bool:
        return 0 < self._policy.databytes < self._octets

    def _content_refusal(self) -> Reply | None:
        """Hops are checked before size (Q-DATA-8), addresses last, because the queue would refuse those."""
        if self._decoder.hops >= MOST_HOPS:
            return LOOPING
        if self._too_big:
            return TOO_BIG
        longest = max(len(self._sender), *map(len, self._recipients))
        return ADDRESS_TOO_LONG if longest > ADDRESS_OCTETS else None


Handler = Callable[[Session, bytes], tuple[Event, ...]]
_TABLE_STATES = (State.IDLE, State.MAIL, State.RCPT)
_READING = (*_TABLE_STATES, State.CONTENT)

_ANYWHERE: dict[bytes, Handler] = {
    b"HELO": Session._helo_reply,
    b"EHLO": Session._ehlo,
    b"MAIL": Session._mail,
    b"RSET": Session._rset,
    b"NOOP": lambda _session, _argument: (OK,),
    b"HELP": lambda _session, _argument: (HELP,),
    b"VRFY": lambda _session, _argument: (VRFY,),
    b"QUIT": Session._quit,
    b"STARTTLS": Session._starttls,
}
TABLE: dict[tuple[State, bytes], Handler] = {
    **{(state, verb): handler for state in _TABLE_STATES for verb, handler in _ANYWHERE.items()},
    (State.MAIL, b"RCPT"): Session._rcpt,
    (State.RCPT, b"RCPT"): Session._rcpt,
    (State.RCPT, b"DATA"): Session._data,
}
# What a missing key means, where it is not "502 unimplemented".
MISSING: dict[tuple[State, bytes], Reply] = {
    (State.IDLE, b"RCPT"): MAIL_FIRST,
    (State.IDLE, b"DATA"): MAIL_FIRST,
    (State.MAIL, b"DATA"): RCPT_FIRST,
}
