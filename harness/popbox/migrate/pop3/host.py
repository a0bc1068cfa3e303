"""One of the two hosts: how to reach it, how hard to try, and what is known of it."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from popbox.clients.bulk_pop3 import BulkPop3, Garbled
from popbox.clients.pop3 import Pop3Refused
from popbox.clients.wire import Address
from popbox.errors import ConnectionFailed, HostError, StepTimeout

Tls = Literal["none", "stls", "implicit"]
Profile = Literal["rfc1939", "qmail", "dovecot", "auto"]
AHEAD = 100  # our choice: up to 1,400 octets of commands, one packet, which no server leaves unread
GIVE_UP_AFTER = 5  # our choice: boxes in a row that could not be read although each was tried again
BROKEN = (ConnectionFailed, StepTimeout, Garbled)
# RFC 2449 §8.1.2, RFC 3206 §4; the second line is qmail-popup's words for a machine in need (Q-POPUP-12, Q-POPUP-15).
_FOR_NOW = re.compile(
    r"-ERR \[(IN-USE|SYS/TEMP|LOGIN-DELAY)\]|-ERR (unable to (fork|open pipe|write pipe)|out of memory|aack)", re.I
)
# Servers older than the codes say in words that another session has the box (RFC 1939 §4: "maildrop already locked").
_LOCKED = re.compile(r"-ERR (?!\[AUTH\]).*\b(lock|locked|in use|busy)\b", re.I)
_LOCKED_OUT = re.compile(
    r"\b(account|user|login|password)( \S+)?( is| has been| was| temporarily)* locked|locked[ -]?out", re.I
)
_QMAIL_BANNER = re.compile(r"^<\d+\.\d+@[^ >]*>$")


class Unavailable(HostError):
    """A host that cannot be asked, after all that was tried; the text says what came last."""


@dataclass
class Host:
    """One side. ``jobs`` bounds the connections at a time, ``tries`` those without any progress for one box."""

    side: Literal["old", "new"]
    address: Address
    tls: Tls = "none"
    context: ssl.SSLContext | None = None
    tls_name: str = ""
    profile: Profile = "auto"
    jobs: int = 8
    timeout_s: float = 30.0
    tries: int = 5
    wait_s: float = 1.0
    hint: Profile = "rfc1939"
    ahead: int = 1
    """Commands sent before their replies are read: more than one where the host announces PIPELINING, or is
    qmail-pop3d, which knows no CAPA and answers what it finds, in order."""
    _gate: threading.Semaphore = field(init=False)
    _failed_in_a_row: int = 0

    def __post_init__(self) -> None:
        """Make the gate."""
        self._gate = threading.Semaphore(self.jobs)

    @contextmanager
    def session(self) -> Iterator[BulkPop3]:
        """A connection, secured as asked for; at its end it is dropped, never ended by QUIT (see ``leaving``)."""
        with self._gate, self._connect() as stream:
            if self.tls == "stls" and self.context is not None:
                stream.stls(self.context)
            yield stream

    def _connect(self) -> BulkPop3:
        context = self.context if self.tls == "implicit" else None
        return BulkPop3(self.address, self.timeout_s, context, self.tls_name)

    def probe(self) -> None:
        """Greeting, TLS, PIPELINING, and a guess at the profile, before any box is asked for.

        Raises:
            Unavailable: the host cannot be reached.
        """
        try:
            with self.session() as stream:
                self.hint, known = _guess(stream)
                self.ahead = AHEAD if "PIPELINING" in known or self.hint == "qmail" else 1
        except (*BROKEN, Pop3Refused) as error:
            raise Unavailable(f"the {self.side} host: {error}") from error

    def check(self) -> None:
        """Give up a host that has failed too often in a row.

        Raises:
            Unavailable: it has.
        """
        if self._failed_in_a_row >= GIVE_UP_AFTER:
            raise Unavailable(f"the {self.side} host failed {GIVE_UP_AFTER} boxes in a row: given up")

    def note(self, reached: bool) -> None:
        """Whether a box could be read in the end."""
        self._failed_in_a_row = 0 if reached else self._failed_in_a_row + 1


def for_now(refusal: Pop3Refused) -> bool:
    """Whether a refusal speaks of the moment and not of the login."""
    reply = refusal.reply
    return bool(_FOR_NOW.match(reply) or (_LOCKED.match(reply) and not _LOCKED_OUT.search(reply)))


def _guess(stream: BulkPop3) -> tuple[Profile, list[str]]:
    """What it may be, and what it announces.

    qmail-popup's banner is a timestamp alone and it knows no CAPA (Q-POPUP-2, Q-POPUP-16); Dovecot says its name.
    """
    known: list[str] = []
    refused = False
    try:
        known = stream.capabilities()
    except Pop3Refused:
        refused = True
    except BROKEN:
        pass  # some take any command, with a reply that has no end: nothing is announced
    if stream.greeting.startswith("Dovecot"):
        return "dovecot", known
    return "qmail" if refused and _QMAIL_BANNER.match(stream.greeting) else "rfc1939", known


def leaving(profile: str) -> str:
    """How sessions are left on such a host, and why, in a sentence."""
    why = {
        "qmail": "its QUIT renames what is in new/ to cur/ (Q-POP3-16)",
        "dovecot": "nothing is deleted so (RFC 1939 §6); with or without QUIT Dovecot moves new/ to cur/ at the login "
        "and marks what was read as seen, which only pop3_no_flag_updates = yes on that host prevents",
    }.get(profile, "a session without QUIT has no UPDATE state, so it changes nothing (RFC 1939 §6)")
    return f"connections were dropped without QUIT: {why}"
