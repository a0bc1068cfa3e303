"""POP3 without I/O: octets in, events out, one transition table for both profiles.

RFC 1939 (states, commands), RFC 2449 (CAPA), RFC 5034 (AUTH), RFC 2595 (STLS), RFC 6856 (UTF8, LANG).
The I/O layer feeds ``Session.receive`` and carries out what ``Session.next_event`` gives, in order; after
``Authenticate``, ``Lookup`` and ``Update`` the session is silent until the I/O layer reports back.
"""

from __future__ import annotations

from mailhost.pop3.protocol import authorization as a
from mailhost.pop3.protocol import transaction as t
from mailhost.pop3.protocol.events import Close, Event, Reply
from mailhost.pop3.protocol.line_reader import LineReader
from mailhost.pop3.protocol.listing import Listing
from mailhost.pop3.protocol.profiles import Profile, err, ok
from mailhost.pop3.protocol.state import Features, Handler, SessionState, State

# The whole protocol: what is not here is an error reply.
TABLE: dict[tuple[State, bytes], Handler] = {
    (State.AUTHORIZATION, b"USER"): a.user,
    (State.AUTHORIZATION, b"PASS"): a.password,
    (State.AUTHORIZATION, b"APOP"): a.apop,
    (State.AUTHORIZATION, b"AUTH"): a.auth,
    (State.AUTHORIZATION, b"STLS"): a.stls,
    (State.AUTHORIZATION, b"CAPA"): a.capa,
    (State.AUTHORIZATION, b"NOOP"): a.noop,
    (State.AUTHORIZATION, b"QUIT"): a.quit_,
    (State.AUTHORIZATION, b"UTF8"): a.utf8,
    (State.AUTHORIZATION, b"LANG"): a.lang,
    (State.TRANSACTION, b"STAT"): t.stat,
    (State.TRANSACTION, b"LIST"): t.list_,
    (State.TRANSACTION, b"UIDL"): t.uidl,
    (State.TRANSACTION, b"RETR"): t.retr,
    (State.TRANSACTION, b"TOP"): t.top,
    (State.TRANSACTION, b"DELE"): t.dele,
    (State.TRANSACTION, b"RSET"): t.rset,
    (State.TRANSACTION, b"NOOP"): t.noop,
    (State.TRANSACTION, b"LAST"): t.last,
    (State.TRANSACTION, b"CAPA"): a.capa,
    (State.TRANSACTION, b"LANG"): a.lang,
    (State.TRANSACTION, b"QUIT"): t.quit_,
}

KNOWN_VERBS = frozenset(verb for _, verb in TABLE)

# Commands without argument (RFC 1939 §5, RFC 2449 §5, RFC 2595 §4). qmail ignores one at those that it has, and so does
# its profile.
NOT_QMAILS = frozenset({b"CAPA", b"STLS"})
ALONE = NOT_QMAILS | {b"NOOP", b"QUIT", b"RSET", b"STAT"}
# What leaves a USER in force: PASS, which it is for, and QUIT, so that the log has the name.
_AFTER_USER = frozenset({b"PASS", b"QUIT"})
_TAKES_NO_ARGUMENT = err(b"syntax: this command takes no argument")


_READY = ok(b"POP3 ready")
Tables = dict[State, dict[bytes, Handler]]


def by_state(profile: Profile, features: Features) -> Tables:
    """One dict for each state (RFC 1939 §3), with the verbs that this profile and set-up answer."""
    verbs = profile.verbs | (NOT_QMAILS if features.tls else set())
    tables: Tables = {state: {} for state in State}
    for (state, verb), handler in TABLE.items():
        if verb in verbs:
            tables[state][verb] = handler
    return tables


class Session:
    """One connection's protocol state. Feed octets, take events, report back; no input makes it raise."""

    __slots__ = ("_lines", "_tables", "context", "greeted", "needs_data")

    def __init__(self, profile: Profile, features: Features, stamp: bytes = b"", tables: Tables | None = None) -> None:
        """``stamp`` is the banner's ``<...>`` timestamp, unique for every connection (RFC 1939 §7, APOP).

        ``tables`` is ``by_state(profile, features)``; a server makes it once for all its sessions.
        """
        self.context = SessionState(profile, features, stamp)
        self.greeted = False
        self._lines = LineReader(profile.line_octets)
        self.needs_data = self._lines.empty
        """``needs_data()``: no input is left, so ``next_event`` would give None; spares the call."""
        self._tables = by_state(profile, features) if tables is None else tables

    @classmethod
    def logged_in(cls, profile: Profile, listing: Listing) -> Session:
        """A session that begins in TRANSACTION, as pop3d serves it behind popup (qmail-pop3d(8))."""
        session = cls(profile, Features(behind_popup=True))
        session.context.open(listing)
        return session

    @property
    def state(self) -> State:
        """The state of the session (RFC 1939 §3)."""
        return self.context.state

    def greeting(self) -> Reply:
        """The banner (RFC 1939 §4); ``greeted`` says that it has been sent."""
        self.greeted = True
        if self.context.profile.qmail_quirks:
            return Reply(b"+OK " + self.context.stamp + b"\r\n")
        if self.context.features.apop:
            return Reply(b"+OK POP3 ready " + self.context.stamp + b"\r\n")
        return _READY  # a timestamp says that APOP is available (RFC 1939 §7), and some clients then try nothing else

    def farewell(self, why: str) -> Reply:
        """What a client is told that the server leaves by itself; later is another try (RFC 3206 §4)."""
        return err((b"" if self.context.profile.qmail_quirks else b"[SYS/TEMP] ") + why.encode("ascii"))

    def receive(self, data: bytes) -> None:
        """Take octets from the peer: commands in lines (RFC 1939 §3)."""
        self._lines.feed(data)

    def take(self, data: bytes) -> Event | None:
        """``receive`` and ``next_event`` in one, quick where ``data`` is one whole line (RFC 1939 §3)."""
        context = self.context
        line = self._lines.only(data) if context.state in _LISTENING else None
        if line is not None:
            return self._answer(context, line)
        self._lines.feed(data)
        return self.next_event()

    def next_event(self) -> Event | None:
        """The next thing to do (RFC 1939 §3); None when more input or a report from the I/O layer is needed."""
        context = self.context
        while context.state in _LISTENING:
            line = self._lines.next()
            if line is None:
                return None
            event = self._answer(context, line)
            if event is not None:
                return event
        return None

    def _answer(self, context: SessionState, line: bytes | bool) -> Event | None:
        """One line, one event: find the handler, let it work, count what was wrong."""
        if isinstance(line, bool):
            context.interrupt()
            return self._wrong(context.profile.texts.too_long)
        if context.sasl is not None:
            event = a.continued(context, line)
            self._lines.limit = context.line_octets()
        else:
            verb, _, argument = line.partition(b" ")
            verb = verb.upper()
            handler = self._tables[context.state].get(verb)
            if context.login is not None and context.state is _AUTHORIZATION and verb not in _AFTER_USER:
                context.interrupt()
            if handler is None:
                return self._wrong(self._no_handler(context, verb))
            if argument and verb in ALONE and argument.strip(b" ") and self._is_strict(verb):
                return self._wrong(_TAKES_NO_ARGUMENT)
            event = handler(context, argument)
            if context.sasl is not None:
                self._lines.limit = context.line_octets()
        if context.forget_input:
            context.forget_input = False
            self._lines.forget()
        return event

    def _is_strict(self, verb: bytes) -> bool:
        """Whether this profile refuses an argument that ``verb`` does not take."""
        return verb in NOT_QMAILS or not self.context.profile.qmail_quirks

    @staticmethod
    def _no_handler(context: SessionState, verb: bytes) -> Reply:
        """The reply to a verb that the table does not have here."""
        texts = context.profile.texts
        if context.profile.qmail_quirks:  # popup and pop3d were two programs, each with one answer to every other verb
            return texts.not_now if context.state is State.AUTHORIZATION else texts.unknown
        return texts.not_now if verb in KNOWN_VERBS and verb in context.profile.verbs else texts.unknown

    def _wrong(self, reply: Reply) -> Event:
        """Count an unusable line; a peer that sends only such lines is no POP3 client."""
        context = self.context
        context.errors += 1
        if context.errors >= context.features.max_errors:
            context.state = State.CLOSED
            return Close(context.profile.texts.too_many, "too many errors")  # one line for each command, here too
        return reply

    # Reports from the I/O layer.

    def opened(self, listing: Listing) -> Reply:
        """The login was good and its maildrop is open: on to TRANSACTION (RFC 1939 §4)."""
        return self.context.open(listing)

    def refused(self, reply: Reply) -> Event:
        """The login was not good, or its maildrop cannot be opened (RFC 1939 §4); ``reply`` is the profile's text."""
        return self.context.refuse(reply)

    def found(self, stored: bytes) -> Event:
        """The answer to a ``Lookup`` (RFC 5802 §5.1): what is stored for that login, or made up if nothing is."""
        self.context.state = State.AUTHORIZATION
        return a.looked_up(self.context, stored)

    def proves(self) -> bool:
        """After ``Authenticate`` by SCRAM: whether the proof is right (RFC 5802 §3). Ask only when an answer is due."""
        return a.proves(self.context)

    def signature(self) -> Event:
        """The proof was right: the exchange ends with the signature (RFC 5802 §5), and then claims to be ``proven``."""
        self.context.state = State.AUTHORIZATION
        return a.signature(self.context)

    def updated(self, *, failed: int) -> Event:
        """QUIT's changes have been made, except for ``failed`` messages that could not be removed (RFC 1939 §6)."""
        return t.updated(self.context, failed=failed)

    def secured(self) -> None:
        """The TLS handshake is done: forget everything said in the clear (RFC 2595 §4)."""
        self._lines.forget()
        self.context.secure()


_AUTHORIZATION = State.AUTHORIZATION  # looked up once: a member of an Enum costs 0.08 us each time
_LISTENING = frozenset({_AUTHORIZATION, State.TRANSACTION})
