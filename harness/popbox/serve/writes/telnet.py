"""Conversations with the mail host's own ports, a line at a time, kept between the requests of a browser.

Only the host that is served is reached, at the address that it gives for SMTP or POP3: no other can be asked for.
A password is masked before anything keeps it (``clients.secret``); what was said is in memory alone, in no event.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from popbox.clients.wire import Wire
from popbox.errors import ConnectionFailed, StepTimeout
from popbox.hosts.base import Ability, Host, Service
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.rules import Caller
from popbox.serve.writes.common import able, noted

MOST_TALKS = 10  # our choice: open at once, of all who have entered
IDLE_S = 120.0  # our choice: without a line from the browser, then it is closed
LONGEST_S = 1_800.0  # our choice: of one conversation
LINE_OCTETS = 998  # RFC 5322 §2.1.1, without its CR LF
MOST_LINES = 2_000  # our choice: of one conversation, both sides
MOST_OCTETS = 1 << 20  # our choice: likewise
ANSWER_S, QUIET_S = 5.0, 0.2  # our choice: until the first line of an answer comes, and until there is no other
AT_ONCE = 500  # our choice: lines of one answer that are waited for; the rest is read with the next line
# The HOWTO's session, as it is typed: on 110, and a message for it on 25.
SAMPLES: dict[Service, tuple[str, ...]] = {
    "smtp": (
        "HELO popbox.invalid",
        "MAIL FROM:<paul@example.org>",
        "RCPT TO:<joe@domain.com>",
        "DATA",
        "From: Paul <paul@example.org>",
        "To: joe@domain.com",
        "Subject: typed by hand",
        "",
        "Hello Joe, this was typed in a browser.",
        ".",
        "QUIT",
    ),
    "pop3": ("USER testid", "PASS testpw", "LIST", "RETR 1", "QUIT"),
}
NEEDS: dict[Service, Ability] = {"smtp": Ability.SEND, "pop3": Ability.DELETE}


@dataclass(eq=False, slots=True)
class Talk:
    """One conversation. ``owner`` is whose it is; ``ended`` is why it is over, empty while it goes on."""

    id: str
    service: Service
    owner: object
    wire: Wire
    began: float
    last: float
    ended: str = ""
    sent: int = 0
    counted: tuple[int, int] = (0, 0)  # lines of the log, and the characters of these
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def lines(self) -> tuple[str, ...]:
        """What was said, ``C:`` and ``S:`` lines; passwords are masked."""
        return self.wire.transcript()


class Talks:
    """The conversations of one server. For any thread."""

    def __init__(self, live: Live, clock: Callable[[], float] = time.monotonic) -> None:
        """None is open. ``clock`` is in seconds."""
        self._live, self._clock = live, clock
        self._lock = threading.Lock()
        self._open: dict[str, Talk] = {}
        self._ending = False
        self._sweeper: threading.Timer | None = None
        live.at_end(self._end)

    def begin(self, service: Service, owner: object, caller: Caller) -> Talk:
        """Connect, and read the greeting.

        Raises:
            ApiError: the host cannot be talked to, or too many talk.
        """
        with noted(self._live, caller, "telnet", on=service):
            able(self._live.host, NEEDS[service])
            with self._lock:
                self._sweep()
                if self._ending or len([one for one in self._open.values() if not one.ended]) >= MOST_TALKS:
                    raise ApiError(429, f"{MOST_TALKS} conversations are open", "end one of them, or wait a while")
            wire = _connected(self._live.host, service)
            now = self._clock()
            talk = Talk(secrets.token_urlsafe(12), service, owner, wire, now, now)
            with self._lock:
                for old in list(self._open)[: max(0, len(self._open) + 1 - 2 * MOST_TALKS)]:
                    self._close(self._open.pop(old), "others were begun")
                self._open[talk.id] = talk
                self._sweeper = self._sweeper or self._timer()
        with talk.lock:
            self._hear(talk)
        return talk

    def of(self, id_: str, owner: object) -> Talk | None:
        """A conversation of that owner, also one that has ended; None where it is not remembered."""
        with self._lock:
            self._sweep()
            talk = self._open.get(id_)
        return talk if talk and talk.owner is owner else None

    def say(self, talk: Talk, line: str) -> None:
        """Send a line, and read what is answered.

        Raises:
            ApiError: it is no line, or the conversation has ended.
        """
        octets = line.encode("utf-8", "replace")
        if "\r" in line or "\n" in line or len(octets) > LINE_OCTETS:
            raise ApiError(422, "that is not one line", f"at most {LINE_OCTETS} octets, without a line end")
        with talk.lock:
            if talk.ended:
                raise ApiError(409, "this conversation has ended", "begin another one", (talk.ended,))
            talk.last, talk.sent = self._clock(), talk.sent + 1
            taken = content(talk) and line != "."
            try:
                talk.wire.send_line(octets)
            except ConnectionFailed as error:
                self._close(talk, str(error))
                return
            if not taken:  # within a message nothing is answered
                self._hear(talk)

    def end(self, talk: Talk) -> None:
        """Hang up; what was said can still be read."""
        self._close(talk, "you hung up")

    def _hear(self, talk: Talk) -> None:
        """Read an answer until nothing more comes."""
        talk.wire.timeout_s = ANSWER_S
        try:
            for _ in range(AT_ONCE):
                talk.wire.read_line()
                talk.wire.timeout_s = QUIET_S
                if _size(talk) > MOST_OCTETS or len(talk.wire.log) > MOST_LINES:
                    self._close(talk, f"more than {MOST_LINES} lines or {MOST_OCTETS} octets were said")
                    return
        except StepTimeout:
            return
        except ConnectionFailed:
            self._close(talk, "the server closed the connection")

    @staticmethod
    def _close(talk: Talk, why: str) -> None:
        talk.ended = talk.ended or why
        talk.wire.close()

    def _sweep(self) -> None:
        """Close what no one has talked on for long."""
        now = self._clock()
        for one in self._open.values():
            if not one.ended and now - one.last > IDLE_S:
                self._close(one, f"nothing was said for {IDLE_S:.0f} s")
            elif not one.ended and now - one.began > LONGEST_S:
                self._close(one, f"it lasted longer than {LONGEST_S:.0f} s")

    def _timer(self) -> threading.Timer:
        timer = threading.Timer(IDLE_S / 4, self._watch)
        timer.daemon = True
        timer.start()
        return timer

    def _watch(self) -> None:
        """Sweep again and again while any is open, though no browser asks."""
        with self._lock:
            self._sweep()
            waits = not self._ending and any(not one.ended for one in self._open.values())
            self._sweeper = self._timer() if waits else None

    def _end(self) -> None:
        with self._lock:
            self._ending = True
            if self._sweeper:
                self._sweeper.cancel()
            for one in self._open.values():
                self._close(one, "popbox serve ends")


def content(talk: Talk) -> bool:
    """Whether the next line is one of a message: SMTP has said 354 and no line with a dot alone came since."""
    for one in reversed(talk.wire.log):
        if one.side == "S":
            return talk.service == "smtp" and one.text.startswith("354")
        if one.text == ".":
            return False
    return False


def _connected(host: Host, service: Service) -> Wire:
    try:
        return Wire(host.address(service), ANSWER_S)
    except ConnectionFailed as error:
        raise ApiError(503, f"{service} cannot be talked to now", "GET /readyz", (str(error),)) from error


def _size(talk: Talk) -> int:
    """Characters of all that was said: only lines that came since the last call are counted."""
    lines, size = talk.counted
    size += sum(len(one.text) for one in talk.wire.log[lines:])
    talk.counted = len(talk.wire.log), size
    return size
