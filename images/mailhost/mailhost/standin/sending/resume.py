"""What an earlier run left in the queue: unfinished files are removed, accepted messages resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from mailhost.standin.delivery.report import because
from mailhost.standin.log import Log
from mailhost.standin.queue.format import Damaged
from mailhost.standin.queue.store import Queue
from mailhost.standin.sending.sender import RETRY_S, Sender


class Resumption:
    """Gives the accepted messages to the sender. What cannot be read now is read again later, until it can be."""

    def __init__(self, queue: Queue, sender: Sender, log: Log) -> None:
        """Create it inside the running loop, after the lock was taken."""
        self._queue, self._sender, self._log = queue, sender, log

    def begin(self) -> None:
        """Sweep, then load.

        Raises:
            OSError: the queue's directories cannot be read.
        """
        try:
            swept = self._queue.sweep()
            if swept:
                self._log.line("status: cleared ", swept, " unfinished files of an earlier run")
        except OSError as error:
            self._log.line(f"warning: unable to clear unfinished files of an earlier run: {because(error)}")
        self._load(self._queue.numbers())

    def _load(self, numbers: Iterable[int]) -> None:
        later = []
        for number, found in self._queue.load(numbers):
            if isinstance(found, Damaged):
                self._log.line("alert: msg ", number, f" cannot be read and stays where it is: {found}")
            elif isinstance(found, OSError):
                self._log.line("alert: msg ", number, f" cannot be read now, trying later: {because(found)}")
                later.append(number)
            else:
                self._sender.resume(*found)
        if later:
            asyncio.get_running_loop().call_later(RETRY_S, self._load, later)
