"""How often a host is tried again, and how long is waited between."""

from __future__ import annotations

import random
import time

from popbox.errors import PopboxError
from popbox.migrate.pop3.host import Host, Unavailable

LONGEST_WAIT_S = 30.0


class Attempts:
    """Bounded, growing waits between failed tries; progress resets them."""

    def __init__(self, host: Host) -> None:
        """None made yet."""
        self.host, self.failed, self.total = host, 0, 0

    def progress(self) -> None:
        """Something was read: the next failure is a first one."""
        self.failed = 0

    def wait(self, error: PopboxError) -> None:
        """Sleep before the next try.

        Raises:
            Unavailable: no try is left; the text is the last error.
        """
        self.failed, self.total = self.failed + 1, self.total + 1
        if self.failed >= self.host.tries:
            raise Unavailable(f"the {self.host.side} host, after {self.failed} tries: {error}") from error
        wait_s = min(self.host.wait_s * 2 ** (self.failed - 1), LONGEST_WAIT_S)
        time.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries, guards nothing
