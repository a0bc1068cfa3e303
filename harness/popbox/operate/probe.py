"""One message from end to end: sent by SMTP, waited for, fetched by POP3, deleted; each leg with its time.

It must arrive once: a second copy, also one that comes a moment later or without its token, fails the probe, and so do
octets, line ends, dots or sizes that break POP3's rules.

It may run every minute for years: it finds its own messages by their header field, deletes those that an earlier run
had to leave, reads no more than the newest ``LOOK_AT`` messages, and ends at its deadline.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal

from popbox import ledger
from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.clients.smtp import Smtp
from popbox.clients.wire import Address
from popbox.errors import ConnectionFailed, PopboxError, StepTimeout
from popbox.ledger.boxes import is_copy
from popbox.ledger.copies import whole
from popbox.printable import counted

PROBE_FIELD = "X-Popbox-Probe"
LOOK_AT = 200  # our choice: the probe's box is its own; newest messages are last (H-35)
PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0  # our choice: soon at first, then easy on a slow host
TOKEN = re.compile(rb"pb-[0-9a-f]{16}")
LATE_S = 1.5  # our choice: the box is looked at again so long after; a copy that comes a second later is seen

Ids = dict[str, int] | None
"""Unique-ids of a box, and the number of each message; None where they are not known."""
LegName = Literal["smtp", "delivery", "pop3"]
Security = Literal["none", "starttls", "implicit"]


@dataclass(frozen=True, slots=True)
class Service:
    """A service to speak to. ``security``: plain, STARTTLS (SMTP) or STLS (POP3), or TLS from the first octet."""

    address: Address
    security: Security = "none"
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send where, and how to fetch it. ``within_s`` bounds the whole probe, in seconds."""

    smtp: Service
    pop3: Service
    sender: str
    to: str
    login: str
    password: str = field(repr=False)
    within_s: float = 60.0


@dataclass(slots=True)
class Probed:
    """What came of it: seconds of each leg that ended, and the leg that failed with the reason."""

    legs: dict[LegName, float] = field(default_factory=dict)
    failed: LegName | None = None
    why: str = ""
    removed: int = 0  # messages of earlier probes that were still there
    began_at: float = field(default_factory=time.time)

    @property
    def total_s(self) -> float:
        """Seconds from the first octet of SMTP to the reply to QUIT."""
        return sum(self.legs.values())


def probe(plan: Plan) -> Probed:
    """Send, wait, fetch, compare, delete. What goes wrong is in the result, with the leg that it befell."""
    seen = Probed()
    deadline = time.monotonic() + plan.within_s
    token = ledger.new_token()
    octets = _message(plan, token)
    before = _lying(plan, deadline)
    try:
        with _leg(seen, "smtp"):
            _send(plan, octets, deadline)
        with _leg(seen, "delivery"):
            session, number = _wait_for(plan, token, deadline)
        with _leg(seen, "pop3"), session:
            more = _fetch(session, number, octets, seen, before)
        seen.failed = "delivery"
        _only_once(more + _late(plan, octets, seen, before, deadline))
        seen.failed = None
    except PopboxError as error:
        seen.why = str(error)
        if seen.failed == "delivery" and not isinstance(error, NotListed | Doubled):
            seen.failed = "pop3"  # the box could not be looked into
    return seen


class NotListed(StepTimeout):
    """The box was looked into to the end, and the message did not come."""


class Doubled(PopboxError):
    """More than one copy came."""


@contextmanager
def _leg(seen: Probed, name: LegName) -> Iterator[None]:
    began = time.monotonic()
    seen.failed = name
    yield
    seen.failed = None
    seen.legs[name] = time.monotonic() - began


def _message(plan: Plan, token: str) -> bytes:
    lines = [
        f"{PROBE_FIELD}: {plan.to}",
        f"From: <{plan.sender}>",
        f"To: <{plan.to}>",
        "Subject: popbox probe",
        f"Date: {formatdate()}",
        f"Message-ID: <{token}@popbox.invalid>",
        "Auto-Submitted: auto-generated",  # RFC 3834 §5: no vacation program answers
        "",
        "Sent by popbox probe, which takes it away again.",
        ".This line begins with a dot,",
        "..this one with two, and the next one is nothing else:",
        ".",
        f"{token} ends it.",
    ]
    return ledger.stamp("\n".join(lines).encode(), token)


def _left(deadline: float) -> float:
    return max(0.1, min(30.0, deadline - time.monotonic()))


def _send(plan: Plan, octets: bytes, deadline: float) -> None:
    service = plan.smtp
    session = Smtp(service.address, _left(deadline), service.tls if service.security == "implicit" else None)
    with session.wire:
        hello = "EHLO popbox.invalid"
        commands = [hello, f"MAIL FROM:<{plan.sender}>", f"RCPT TO:<{plan.to}>", "DATA"]
        if service.security == "starttls" and service.tls:
            for command in (hello, "STARTTLS"):
                _must(session, command)
            session.wire.secure(service.tls, service.address.host)
        for command in commands:
            _must(session, command)
        reply = session.data(octets)
        if not reply.ok:
            raise ConnectionFailed(f"the message was refused: {reply}")
        _must(session, "QUIT")


def _must(session: Smtp, command: str) -> None:
    reply = session.command(command)
    if not reply.ok:
        raise ConnectionFailed(f"{command} was refused: {reply}")


def _wait_for(plan: Plan, token: str, deadline: float) -> tuple[Pop3, int]:
    """A session in which the message is listed, and its number. Between looks the box is left alone."""
    pause_s, seen = PAUSE_S, "no login yet"
    while True:
        session = _login(plan, deadline)
        if session is not None:
            numbers = _own(session, token)
            if numbers:
                return session, numbers[0]
            seen = f"the box holds {counted(session.stat()[0], 'message')}, not this one"
            session.quit()
            session.wire.close()
        if time.monotonic() + pause_s >= deadline:
            raise NotListed(f"the message in the box of {plan.login}", seen, plan.within_s)
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def _login(plan: Plan, deadline: float) -> Pop3 | None:
    """A session, or None where the server asks for patience (RFC 2449 §8.1.1, RFC 3206 §4)."""
    service = plan.pop3
    session = Pop3(service.address, _left(deadline), service.tls if service.security == "implicit" else None)
    try:
        if service.security == "starttls" and service.tls:
            session.command("STLS")
            session.wire.secure(service.tls, service.address.host)
        session.login(plan.login, plan.password)
    except Pop3Refused as error:
        session.wire.close()
        if any(code in error.reply for code in ("[IN-USE]", "[LOGIN-DELAY]", "[SYS/TEMP]")):
            return None
        raise
    except BaseException:
        session.wire.close()
        raise
    return session


def _newest(session: Pop3) -> range:
    count = session.stat()[0]
    return range(count, max(0, count - LOOK_AT), -1)


def _lying(plan: Plan, deadline: float) -> Ids:
    """What is in the box before the probe."""
    try:
        session = _login(plan, deadline)
        if session is None:
            return None
        with session:
            return _ids(session)
    except PopboxError:
        return None  # the legs will say what is wrong


def _ids(session: Pop3) -> Ids:
    """Unique-id -> message number; None where the server has no UIDL."""
    try:
        return {unique: number for number, unique in session.listing("UIDL").items()}
    except (Pop3Refused, ValueError):
        return None


def _header(session: Pop3, number: int) -> list[bytes]:
    return session.multiline(f"TOP {number} 0")


def _own(session: Pop3, token: str) -> list[int]:
    """The number of the message with the token, where it is listed."""
    wanted = f"{ledger.TOKEN_FIELD}: {token}".encode()
    return next(([number] for number in _newest(session) if wanted in _header(session, number)), [])


def _fetch(session: Pop3, number: int, octets: bytes, seen: Probed, before: Ids) -> list[str]:
    """Compare, delete it and what earlier probes left, end the session so that the deletion counts; gives copies."""
    listed = _size(session, number)
    text = session.retrieve(number)
    forms = session.received.forms(listed) if session.received else (text,)
    if not any(whole(form, octets) for form in forms):
        raise ConnectionFailed(f"message {number} does not end with the octets that were sent")
    for wrong in session.received.faults(listed) if session.received else ():
        raise ConnectionFailed(f"message {number}: {wrong}")
    copies = _clear(session, octets, seen, before, number)
    session.command(f"DELE {number}")
    session.quit()
    return copies


def _size(session: Pop3, number: int) -> int | None:
    """What ``LIST n`` tells."""
    words = session.command(f"LIST {number}").split()
    return int(words[1]) if len(words) >= 2 and words[1].isdecimal() else None


def _clear(session: Pop3, octets: bytes, seen: Probed, before: Ids, own: int = 0) -> list[str]:
    """Delete what probes left there, but for message ``own``; gives what of it is a copy of that one, in words."""
    now, mine = _ids(session), f"{PROBE_FIELD}: ".encode()
    known = before is not None and now is not None
    old = {number for unique, number in (now or {}).items() if unique in (before or {})}
    copies = []
    for other in _newest(session):
        if other == own:
            continue
        probes = any(line.startswith(mine) for line in _header(session, other))
        if (probes or known) and other not in old and _is_second(session.retrieve(other), octets):
            copies.append(f"message {other}, {'with' if probes else 'without'} the probe's header field")
        else:
            seen.removed += probes
        if probes:
            session.command(f"DELE {other}")
    return copies


def _is_second(message: bytes, octets: bytes) -> bool:
    """Whether it is a copy of this probe's message, and not an earlier probe's that comes late, with its own token."""
    token = TOKEN.findall(octets)[0]
    theirs = TOKEN.findall(message)
    others = len(set(theirs)) == 1 and len(theirs) == len(TOKEN.findall(octets))
    return token in theirs or (is_copy(message, octets) and not others)


def _late(plan: Plan, octets: bytes, seen: Probed, before: Ids, deadline: float) -> list[str]:
    """Look again a moment later, where the deadline allows that."""
    if time.monotonic() + LATE_S >= deadline:
        return []
    time.sleep(LATE_S)
    session = _login(plan, deadline)
    if session is None:
        return []
    with session:
        copies = _clear(session, octets, seen, before)
        session.quit()
    return copies


def _only_once(copies: list[str]) -> None:
    if copies:
        raise Doubled(f"it came {len(copies) + 1} times: {'; '.join(copies)}")
