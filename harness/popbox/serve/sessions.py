"""Who has entered the console: sessions in memory, which end with the server, and the tickets of their forms.

A browser holds a random value in a cookie, never the token. Browsers send cookies to every port of a host name, so the
value is of no use but here; and it opens no path below ``/v1/``.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from popbox.serve.errors import ApiError
from popbox.serve.keys import Keys, Tries

Clock = Callable[[], float]

SESSION_S = 12 * 3_600.0  # our choice: a working day, then one enters again
INVITE_S = 3_600.0  # our choice: a link that was printed and not used is worth nothing after that
TICKET_S = 4 * 3_600.0  # our choice: a form that is open for so long was forgotten
MOST_SESSIONS = 20  # our choice; the oldest ends when one more begins, as only who has the token begins one
MOST_TICKETS = 5_000  # our choice: forms that one session sends in TICKET_S
MOST_KEPT = 20  # our choice: answers of forms that a session can look at again
BURST, EVERY_S = 10, 3.0  # our choice: wrong tokens at once, and the time for one more
TICKET = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9]{1,9})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Jar:
    """How a browser is to keep a session: with it the cookie goes to the path alone, and by TLS where there is any."""

    name: str
    path: str
    secure: bool

    @classmethod
    def of(cls, host: str, root: str, *, secure: bool) -> Jar:
        """For a Host header. Servers at other ports have cookies of other names; a prefix keeps other sites' away.

        RFC 6265bis §4.1.3: ``__Host-`` is for the path ``/`` alone, and both prefixes for https.
        """
        if secure:
            return cls("__Secure-popbox" if root else "__Host-popbox", root or "/", True)
        found = re.search(r":([0-9]{1,5})$", host)
        return cls(f"popbox-{found[1] if found else 80}", root or "/", False)

    def values(self, cookies: list[str]) -> list[str]:
        """What a browser says under the name: another site of the host may have set more, so not only the first."""
        pairs = (one.strip().partition("=") for header in cookies for one in header.split(";"))
        return [value for name, _, value in pairs if name == self.name]

    def set(self, value: str) -> str:
        """A Set-Cookie header; an empty value takes it away."""
        ends = "" if value else "; Max-Age=0"
        return f"{self.name}={value}; Path={self.path}; HttpOnly; SameSite=Strict{'; Secure' * self.secure}{ends}"


@dataclass(slots=True)
class Turn:
    """A form that was sent: where its answer is, once there is one."""

    until: float
    location: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Session:
    """One browser that has entered. Its tickets are of no use in another session or at another path."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` is monotonic, in seconds."""
        self._clock, self._began, self._key = clock, clock(), secrets.token_bytes(32)
        self._turns: dict[str, Turn] = {}
        self._kept: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def left_s(self) -> float:
        """Seconds until it ends by itself."""
        return self._began + SESSION_S - self._clock()

    def ticket(self, path: str) -> str:
        """A new ticket, for one form that is sent to ``path``, which is without what a proxy puts before it."""
        nonce, until = secrets.token_urlsafe(16), int(self._age() + TICKET_S)
        return f"{nonce}.{until}.{self._made(nonce, until, path)}"

    def turn(self, ticket: str, path: str) -> tuple[Turn, bool]:
        """The turn of a form that was sent; True where it is the first of its ticket, which is then used.

        Raises:
            ApiError: 403, it is no ticket for that, or too old. 429, too many forms.
        """
        found = TICKET.fullmatch(ticket)
        if not found or not hmac.compare_digest(self._made(found[1], int(found[2]), path), found[3]):
            raise ApiError(403, "this form is not of your session", "open the page again; nothing was done")
        if (until := int(found[2])) < self._age():
            raise ApiError(403, "this form is too old", "open the page again; nothing was done")
        if turn := self._turns.get(found[1]):
            return turn, False
        if len(self._turns) >= MOST_TICKETS:  # only then: each look at all of them takes a millisecond
            now = self._age()
            self._turns = {nonce: one for nonce, one in self._turns.items() if one.until >= now}
        if len(self._turns) >= MOST_TICKETS:
            raise ApiError(429, "this session has sent too many forms", "leave, and enter again")
        turn = self._turns[found[1]] = Turn(until)
        return turn, True

    def settle(self, turn: Turn, status: int, location: str) -> None:
        """How a turn has ended. After a refusal nothing was done, and the form may be sent again."""
        turn.location = location
        turn.over.set()
        if 400 <= status < 500:
            self._turns = {nonce: one for nonce, one in self._turns.items() if one is not turn}

    def keep(self, answer: Any) -> str:
        """Keep what a form was answered, so that a page shows it; returns its name. The oldest go."""
        name = secrets.token_urlsafe(9)
        with self._lock:
            self._kept[name] = answer
            for old in list(self._kept)[:-MOST_KEPT]:
                del self._kept[old]
        return name

    def kept(self, name: str) -> Any:
        """That answer; None where it is no longer there."""
        return self._kept.get(name)

    def _age(self) -> float:
        return self._clock() - self._began

    def _made(self, nonce: str, until: int, path: str) -> str:
        return hmac.new(self._key, f"{nonce} {until} {path}".encode(), hashlib.sha256).hexdigest()


class Sessions:
    """All of a server's. Used in its event loop alone."""

    def __init__(self, keys: Keys, clock: Clock = time.monotonic) -> None:
        """No one has entered."""
        self._keys, self._clock = keys, clock
        self._open: dict[bytes, Session] = {}
        self._invited: dict[bytes, float] = {}
        self._tries = Tries(BURST, EVERY_S, clock)

    def invite(self) -> str:
        """A word that lets one browser in, once, within INVITE_S: for a link, so that the token is in none."""
        word = secrets.token_urlsafe(24)
        self._invited[_digest(word)] = self._clock() + INVITE_S
        return word

    def enter(self, said: str) -> str:
        """Begin a session; returns the value for its cookie, always a new one. ``said``: the token, or an invitation.

        Raises:
            ApiError: 403, it is neither. 429, there were too many wrong ones: a right token is refused too.
        """
        until = self._invited.pop(_digest(said), None)
        if until is None or until < self._clock():
            self._guessed(said)
        value = secrets.token_urlsafe(32)
        self._sweep()
        self._open[_digest(value)] = Session(self._clock)
        for old in list(self._open)[:-MOST_SESSIONS]:
            del self._open[old]
        return value

    def of(self, values: list[str]) -> Session | None:
        """The session that one of these values of a cookie belongs to, while it has not ended."""
        found = (self._open.get(_digest(one)) for one in values)
        return next((one for one in found if one and one.left_s > 0), None)

    def leave(self, session: Session | None) -> None:
        """End a session."""
        self._open = {key: one for key, one in self._open.items() if one is not session}

    def _sweep(self) -> None:
        self._open = {key: one for key, one in self._open.items() if one.left_s > 0}
        self._invited = {key: until for key, until in self._invited.items() if until >= self._clock()}

    def _guessed(self, said: str) -> None:
        """Let the token pass; whatever else is said costs a try."""
        if not self._tries.any():
            raise ApiError(429, "too many wrong tokens", f"try again in {EVERY_S:.0f} s")
        if not self._keys.fits(said):
            self._tries.wrong()
            hint = "the token is in the file that `popbox serve` names; a link is good once, for an hour"
            raise ApiError(403, "this is neither the token nor a link that is still good", hint)


def _digest(value: str) -> bytes:
    """What is looked up in place of a secret: how long that takes tells nothing of it."""
    return hashlib.sha256(value.encode("utf-8", "replace")).digest()
