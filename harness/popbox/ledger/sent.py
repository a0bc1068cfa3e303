"""A message that a step has sent."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from popbox.clients.smtp import Receipt, queued_as
from popbox.errors import PopboxError
from popbox.journey.model import Foretold


@dataclass(slots=True)
class Sent:
    """A message as it was offered to the MTA: its token, octets with LF line ends, envelope, and what was answered.

    ``routes`` are the answers of ``mailhost explain --json``, one for each recipient, from just before.
    """

    id: str
    token: str
    octets: bytes
    sender: str
    recipients: tuple[str, ...]
    routes: tuple[Foretold, ...]
    step: int
    at: float = field(default_factory=time.time)  # wall clock, seconds
    took_s: float = 0.0
    receipt: Receipt | None = None  # None: the conversation broke; then ``broke`` says how
    broke: PopboxError | None = None

    @property
    def accepted(self) -> bool:
        """Whether the MTA took the responsibility for it."""
        return self.receipt is not None and self.receipt.accepted

    @property
    def reply(self) -> str:
        """The reply that decided; empty when the conversation broke before."""
        return str(self.receipt.reply) if self.receipt else ""

    @property
    def queued_as(self) -> str:
        """The qp of the reply ``250 ok TIME qp PID``; empty where it names none."""
        return queued_as(self.reply)
