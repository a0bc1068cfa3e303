"""Clients that no server can choose: they hang up in the middle, guess passwords, read slowly, and talk nonsense."""

from __future__ import annotations

import time

import gevent

from popbox.clients.wire import Wire
from popbox.errors import PopboxError
from popbox.load.users.base import TIMEOUT_S, Scheduled

SLOWLY_S = 2.0  # our choice: how long a slow reader takes for a greeting and its reply


class RudeUser(Scheduled):
    """One bad deed after the other. That the server hangs up on it is no error."""

    abstract = True

    def on_start(self) -> None:
        """Take the first moment."""
        super().on_start()
        self._at = time.monotonic() + self.draw.expovariate(self.plan.rate)

    def next_in(self) -> float:
        """Seconds until the next deed."""
        return self._at - time.monotonic()

    def act(self) -> None:
        """Do one."""
        self._at += self.draw.expovariate(self.plan.rate * self.process.pace())
        manner = self.draw.choice(self.plan.manners)
        address = self.draw.choice([self.smtp, self.pop3])
        login = self.process.spec.box(self.draw.randrange(self.process.spec.boxes)).login
        with self.told("rude", manner):
            try:
                with Wire(self.pop3 if manner == "wrong-password" else address, TIMEOUT_S) as wire:
                    self._do(manner, wire, login)
            except PopboxError:
                pass

    def _do(self, manner: str, wire: Wire, login: str) -> None:
        if manner == "hang-up":
            return
        wire.read_line("the greeting")
        if manner == "wrong-password":
            for line in (f"USER {login}", f"PASS {self.draw.random()}"):
                wire.send_line(line.encode())
                wire.read_line("a reply")
        elif manner == "half-command":
            wire.send_octets(b"HEL")
        elif manner == "slow-reader":
            wire.send_line(b"NOOP")
            gevent.sleep(SLOWLY_S)
            wire.read_line("a reply")
        else:
            wire.send_octets(self.draw.randbytes(512).replace(b"\n", b"") + b"\r\n")
            wire.read_line("a reply")
