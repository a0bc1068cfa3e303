"""What the steps of one run share, and the few ways of waiting and looking that several verbs need."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from popbox.breakage import Break
from popbox.clients.smtp import Receipt
from popbox.clients.wire import Wire
from popbox.errors import HostError, PopboxError
from popbox.hosts.base import Found, Host, Service
from popbox.ledger import TOKEN_FIELD
from popbox.ledger.expect import Route
from popbox.scenario import ScenarioFile
from popbox.transcript import expand


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
    routes: tuple[Route, ...]
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


@dataclass(frozen=True, slots=True)
class Fault:
    """What a break step did, and what it takes to undo it."""

    spec: Break
    modes: dict[str, int] = field(default_factory=dict)  # path -> mode before
    texts: dict[str, bytes] = field(default_factory=dict)  # path -> octets before


@dataclass(slots=True)
class Context:
    """One run of one scenario. ``log_from`` is where each log stood when it began: what was there is another's."""

    host: Host
    file: ScenarioFile
    sent: dict[str, Sent] = field(default_factory=dict)  # accepted messages, by id
    offered: list[Sent] = field(default_factory=list)  # all messages, refused ones too
    played: list[tuple[int, Wire]] = field(default_factory=list)  # conversations with POP3, each with its step's number
    step: int = 0  # number of the step that runs
    variables: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, Wire] = field(default_factory=dict)  # named conversations that stay open over steps
    faults: dict[str, Fault] = field(default_factory=dict)  # what is broken on purpose and not healed, by id
    boxes: dict[str, str] = field(default_factory=dict)  # address -> Maildir, as the host has shown it
    visible_at: float = 0.0  # wall clock: from then on every delivered message is listed (Q-POP3-4)
    log_from: dict[Service, int] = field(default_factory=dict)

    def close(self) -> None:
        """End the conversations that are still open."""
        for wire in self.sessions.values():
            wire.hang_up()

    def log(self, service: Service) -> str:
        """What the service has logged since this run began."""
        return self.host.log(service)[self.log_from.get(service, 0) :]

    def text(self, template: str) -> str:
        """The text with ``${name}`` replaced."""
        return expand(template, self.variables)

    def search(self, pattern: str, text: str) -> re.Match[str] | None:
        """Search a scenario's pattern, its variables taken literally; ``^`` and ``$`` are those of lines."""
        escaped = {name: re.escape(value) for name, value in self.variables.items()}
        return re.search(expand(pattern, escaped), text, re.MULTILINE)

    def maildir(self, address: str) -> str:
        """The Maildir of a mailbox, below the qmail home, as the host itself shows it. Raises HostError."""
        if address in self.boxes:
            return self.boxes[address]
        shown = self.host.run("mailbox", "show", address, "--json")
        if shown.code:
            raise HostError(f"mailhost mailbox show {address} ended with {shown.code}", shown.stderr)
        directory: str = json.loads(shown.stdout)["directory"]
        self.boxes[address] = f"{directory.removeprefix(self.host.home()).lstrip('/')}/Maildir"
        return self.boxes[address]

    def find(self, maildir: str, token: str) -> list[Found]:
        """Messages of a Maildir that hold a token."""
        return self.host.find(maildir, f"{TOKEN_FIELD}: {token}\n")


def left(deadline: float) -> float:
    """Seconds until a monotonic deadline; never less than a moment, so that a look is always possible."""
    return max(0.1, deadline - time.monotonic())


def wait_until(reached: Callable[[], bool], deadline: float) -> bool:
    """Look again and again until it is so, or the deadline has passed; says which."""
    pause_s = 0.02
    while not reached():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.25)
    return True
