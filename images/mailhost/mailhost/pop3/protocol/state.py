"""What a session remembers between two lines: the state, the features on offer, the marks."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from mailhost.pop3.protocol.events import Close, Event, Reply
from mailhost.pop3.protocol.listing import Listing
from mailhost.pop3.protocol.profiles import Profile
from mailhost.pop3.protocol.sasl import Exchange

SASL_LINE_OCTETS = 12_288
"""One line of a SASL exchange; RFC 4954 §4 names this figure for SMTP, RFC 5034 names none."""


class State(enum.Enum):
    """RFC 1939's states (§3), and CHECKING: the I/O layer checks a login and the session waits for its report."""

    AUTHORIZATION = "authorization"
    CHECKING = "checking"
    TRANSACTION = "transaction"
    UPDATE = "update"
    CLOSED = "closed"

    __hash__ = object.__hash__  # Enum's own is a Python call, and every line looks its state up


@dataclass(frozen=True, slots=True)
class Features:
    """What the operator has switched on. ``tls`` means STLS is offered, ``secure`` that TLS is on already.

    ``behind_popup``: another program did the login, and that one knows neither AUTH nor UTF8.

    ``utf8_asked``: messages with 8-bit headers are for clients that have said UTF8 (RFC 6856 §2.1).
    ``max_errors`` unusable lines and ``max_logins`` failed logins end the session (our choice: no client needs more).
    """

    tls: bool = False
    secure: bool = False
    plaintext: bool = True
    apop: bool = False
    scram: bool = False
    behind_popup: bool = False
    utf8_asked: bool = False
    login_delay_s: int = 0
    max_errors: int = 50
    max_logins: int = 3


class SessionState:
    """The mutable part of one session. Handlers read and change it; nothing else does."""

    __slots__ = (
        "deleted",
        "deleted_octets",
        "errors",
        "failures",
        "features",
        "forget_input",
        "highest",
        "listing",
        "login",
        "profile",
        "sasl",
        "stamp",
        "state",
        "utf8",
    )

    def __init__(self, profile: Profile, features: Features, stamp: bytes) -> None:
        self.profile = profile
        self.features = features
        self.stamp = stamp
        self.state = State.AUTHORIZATION
        self.login: bytes | None = None
        self.listing = NOTHING
        self.deleted: set[int] = set()
        self.highest = self.deleted_octets = 0
        self.errors = 0
        self.failures = 0
        self.sasl: Exchange | None = None
        self.forget_input = self.utf8 = False

    def interrupt(self) -> None:
        """PASS is valid immediately after USER only (RFC 1939 §7); qmail-popup remembers the name."""
        if self.state is State.AUTHORIZATION and not self.profile.qmail_quirks:
            self.login = None

    def line_octets(self) -> int:
        """How long the next line may be, in octets (RFC 2449 §4, RFC 4954 §4)."""
        return SASL_LINE_OCTETS if self.sasl is not None else self.profile.line_octets

    def open(self, listing: Listing) -> Reply:
        """Enter TRANSACTION with ``listing`` (RFC 1939 §5)."""
        self.listing = listing
        self.state = State.TRANSACTION
        return self.profile.texts.logged_in

    def refuse(self, reply: Reply) -> Event:
        """Back to AUTHORIZATION; the connection ends at once where it may try one login only, otherwise after a few.

        RFC 1939 §4.
        """
        self.failures += 1
        self.login = self.sasl = None
        if self.profile.single_login or self.failures >= self.features.max_logins:
            self.state = State.CLOSED
            return Close(reply, "login refused")
        self.state = State.AUTHORIZATION
        return reply

    def secure(self) -> None:
        """What was learned before TLS is void (RFC 2595 §4)."""
        self.login = None
        self.utf8 = False
        self.errors = 0
        self.features = _secured(self.features)


NOTHING = Listing(())
"""The maildrop before there is one."""


def _secured(features: Features) -> Features:
    """The same features with TLS on."""
    values = {name: getattr(features, name) for name in Features.__slots__}
    return Features(**{**values, "secure": True, "plaintext": True})


Handler = Callable[[SessionState, bytes], Event]
