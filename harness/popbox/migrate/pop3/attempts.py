"""How often a host is tried again, and how long is waited between."""

from __future__ import annotations

import random
import time

from popbox.errors import PopboxError
from popbox.migrate.pop3.host import Host, Unavailable

LONGEST_WAIT_S = 30.0
MOST_LEFT_OUT = 20  # our choice: messages in a row that each ended the session again and again; it may be the host


class Attempts:
    """Bounded, growing waits between failed tries; progress resets them."""

    def __init__(self, host: Host) -> None:
        """None made yet."""
        self.host, self.failed, self.total, self.left_out = host, 0, 0, 0

    def progress(self) -> None:
        """Something was read: the next failure is a first one."""
        self.failed = self.left_out = 0

    def leave_out(self) -> None:
        """A message ended the session so often that it is left out: the next failure is a first one, of another."""
        self.failed, self.left_out = 0, self.left_out + 1

    def wait(self, error: PopboxError) -> None:
        """Sleep before the next try.

        Raises:
            Unavailable: no try is left, or too many messages were left out; the text ends with the last error.
        """
        if self.left_out >= MOST_LEFT_OUT:
            why = f"the {self.host.side} host ended the session at each of {self.left_out} messages in a row: {error}"
            raise Unavailable(why) from error
        self.failed, self.total = self.failed + 1, self.total + 1
        if self.failed >= self.host.tries:
            raise Unavailable(f"the {self.host.side} host, after {self.failed} tries: {error}") from error
        wait_s = min(self.host.wait_s * 2 ** (self.failed - 1), LONGEST_WAIT_S)
        time.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries, guards nothing
