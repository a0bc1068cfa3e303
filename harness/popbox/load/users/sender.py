"""Mail handed over by SMTP, by a schedule of its own: a slow host does not make the mail come later (open arrivals)."""

from __future__ import annotations

import time
from contextlib import suppress

from popbox.clients.smtp import Reply, Smtp
from popbox.errors import ConnectionFailed, PopboxError, StepTimeout
from popbox.load.books.message import digest_of, make
from popbox.load.users.base import TIMEOUT_S, Scheduled


class SenderUser(Scheduled):
    """One that sends; latency counts from the moment that was intended."""

    abstract = True

    def on_start(self) -> None:
        """Take the first moment."""
        super().on_start()
        self._at = time.monotonic() + self._gap()
        self._open: Smtp | None = None
        self._left = 0

    def on_stop(self) -> None:
        """Close what is open."""
        self._hang_up()

    def next_in(self) -> float:
        """Seconds until the next burst."""
        return self._at - time.monotonic()

    def _gap(self) -> float:
        rate = self.plan.rate * self.process.pace()
        return self.draw.expovariate(rate) if self.plan.arrivals == "poisson" else 1.0 / rate

    def act(self) -> None:
        """Send one burst. What was due in the meantime comes at once, and its latency shows that."""
        intended, self._at = self._at, self._at + self._gap()
        for _ in range(self.plan.burst):
            with self.told("SMTP", "message"):
                self._send(intended)

    def _send(self, intended: float) -> None:
        spec = self.process.spec
        many = min(self.draw.choice(self.plan.recipients), spec.boxes)
        to = tuple(spec.box(number).address for number in self.draw.sample(range(spec.boxes), many))
        token, sender = self.process.token(), spec.reports_to.address
        message = make(token, sender, to, self.draw.choice(self.plan.sizes))
        late_us = int((time.monotonic() - intended) * 1e6)
        common = {"token": token, "digest": digest_of(message), "octets": len(message), "late_us": late_us}
        said, taken = "unsure", to
        note = "the connection ended before the reply to the message"
        try:
            session = self._session()
            taken, reply = self._envelope(session, sender, to)
            if taken and reply.ok:
                reply = session.data(message, logged=False)
            said, note = ("accept" if taken and reply.ok else "refuse"), str(reply)
        except (ConnectionFailed, StepTimeout) as error:
            said, note = ("unsure" if self._begun else "refuse"), str(error)
            self._hang_up()
            raise
        finally:
            took_us = int((time.monotonic() - intended) * 1e6)
            for one in taken or to:
                self.process.note(said, box=one, took_us=took_us, note=note, **common)
        if said == "refuse":
            self._hang_up()
            raise SmtpRefused(note)
        self._left -= 1
        if self._left <= 0:
            self._hang_up()

    _begun = False  # whether DATA was begun, so that an error leaves open what the host did

    def _envelope(self, session: Smtp, sender: str, to: tuple[str, ...]) -> tuple[tuple[str, ...], Reply]:
        """The recipients that were taken, and the last reply."""
        self._begun = False
        reply = session.command(f"MAIL FROM:<{sender}>")
        taken: list[str] = []
        for one in to if reply.ok else ():
            answer = session.command(f"RCPT TO:<{one}>")
            if answer.ok:
                taken.append(one)
            else:
                reply = answer
        if taken:
            reply = session.command("DATA")
            self._begun = reply.ok
        return tuple(taken), reply

    def _session(self) -> Smtp:
        if self._open is None:
            self._begun = False
            self._open = session = Smtp(self.smtp, TIMEOUT_S)
            if not session.greeting.ok or not session.command("EHLO load.popbox.invalid").ok:
                raise ConnectionFailed(f"{self.smtp} greets with {session.greeting}")
            self._left = self.plan.connection
        self._open.wire.log.clear()
        return self._open

    def _hang_up(self) -> None:
        session, self._open = self._open, None
        if session:
            with suppress(PopboxError):
                session.command("QUIT")
            session.wire.close()


class SmtpRefused(PopboxError):
    """The host said 4xx or 5xx."""
