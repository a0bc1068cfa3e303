"""What the steps of one run share, and how several verbs wait and look."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from popbox.clients.wire import Wire
from popbox.errors import HostError
from popbox.hosts.base import Ability, Found, Host, Service
from popbox.journey.model import Foretold
from popbox.journey.store import Store
from popbox.ledger import TOKEN_FIELD
from popbox.ledger.boxes import Login, Names, listed, lying
from popbox.ledger.sent import Sent
from popbox.ledger.tracker import Tracker
from popbox.scenario.faults import Break
from popbox.scenario.load import ScenarioFile
from popbox.scenario.names import HOWTO_HASH, HOWTO_PASSWORD
from popbox.scenario.steps import ExpectRetrieved, Telnet
from popbox.scenario.transcript import TranscriptError, expand, logins_in


@dataclass(frozen=True, slots=True)
class Fault:
    """What a break step did, and what it takes to undo it."""

    spec: Break
    modes: dict[str, int] = field(default_factory=dict)  # path -> mode before
    texts: dict[str, bytes] = field(default_factory=dict)  # path -> octets before


@dataclass(slots=True)
class Context:
    """One run of one scenario. ``log_from`` is the length of each log at its begin: what is before is not ours."""

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
    before: dict[str, Names] = field(default_factory=dict)  # Maildir -> what lay there before a message was sent
    logins: dict[str, Login] = field(default_factory=dict)  # the same of boxes that only POP3 shows, by login
    passwords: dict[str, str] = field(default_factory=lambda: {HOWTO_HASH: HOWTO_PASSWORD})  # by their hashes
    store: Store | None = None  # that is kept: journeys of all that the host shows
    host_goes: bool = False  # it is taken away as soon as the run has ended
    tracker: Tracker = field(init=False)  # of the messages offered

    def __post_init__(self) -> None:
        """The log is followed from now on. One variable is there from the start: where the qmail home is."""
        self.variables.setdefault("qmail-home", self.host.home())
        self.tracker = Tracker(self.offered, lambda: self.log("smtp"), (self.host, self.store) if self.store else None)

    def close(self) -> None:
        """End the conversations that are still open."""
        for wire in self.sessions.values():
            wire.hang_up()

    def look_first(self, routes: tuple[Foretold, ...]) -> None:
        """Note what the boxes hold before a message goes there, so that at the end new messages can be recognised."""
        for place in {place for route in routes for place in route.maildirs}:
            if place not in self.before and (names := lying(self.host, place)) is not None:
                self.before[place] = names
        if self.host.cannot(Ability.FILES):
            for login, password in self._to_be_retrieved():
                if login not in self.logins:
                    self.logins[login] = Login(password, listed(self.host, login, password))

    def _to_be_retrieved(self) -> Iterator[tuple[str, str]]:
        """Login and password of each step that fetches by POP3, where its variables are known already."""
        for step in self.file.scenario.step:
            pairs: list[tuple[str, str]] = []
            if isinstance(step.spec, ExpectRetrieved):
                pairs = [(step.spec.login, step.spec.password.get_secret_value())]
            elif isinstance(step.spec, Telnet) and step.spec.service == "pop3":
                pairs = logins_in(step.spec.transcript)
            with suppress(TranscriptError):
                yield from [(self.text(login), self.text(password)) for login, password in pairs]

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
        """The Maildir of a mailbox, below the qmail home, as the host itself shows it.

        Raises:
            HostError: the host does not answer, or has no such mailbox.
        """
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
