"""What each Locust process of a run must know: the plan, where the host is, and which boxes there are. A JSON file."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from popbox.clients.wire import Address
from popbox.errors import UnusableError
from popbox.load.plan.model import Plan
from popbox.load.plan.noted import read_back
from popbox.load.plan.read import from_table

SPEC = "spec.json"  # a run, in the folder of its journals
MOVED = "where.json"  # in the folder of the journals
STOPPED = 4  # the exit code of Locust's master where the load was stopped before its time
BOUNCES = "bounces"  # the local part that reports go to, in the first domain


@dataclass(frozen=True, slots=True)
class Box:
    """A mailbox of the run."""

    address: str
    login: str
    password: str


@dataclass(frozen=True)
class Spec:
    """One run: ``table`` is the load file with what the command line changed, ``journals`` a folder.

    ``processes`` is how many Locust workers there are, ``smtp`` and ``pop3`` are where the host listens.
    """

    run: str
    table: dict[str, Any]
    smtp: Address
    pop3: Address
    password: str
    journals: str
    processes: int = 1
    given: tuple[tuple[str, str, str], ...] = ()  # address, login, password: where the run does not make its own

    @classmethod
    def read(cls, path: Path) -> Spec:
        """The spec as ``write`` left it.

        Raises:
            UnusableError: it is not there, or no spec.
        """
        if (spec := read_back(path, TypeAdapter(cls).validate_json)) is None:
            raise UnusableError(f"{path}: {os.strerror(errno.ENOENT)}: this is no folder of `popbox load run`")
        return spec

    def write(self, path: Path) -> None:
        """Make a new file, for this user's processes alone: it has the boxes' password."""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)

    def moved(self, smtp: Address, pop3: Address) -> None:
        """Tell the processes of this machine where the host listens now: after a start it may be another port."""
        kept = Path(self.journals) / MOVED
        beside = kept.with_suffix(".new")
        beside.write_text(json.dumps([smtp, pop3]), "utf-8")
        beside.replace(kept)

    def where(self) -> tuple[Address, Address]:
        """Where SMTP and POP3 listen now, as far as it is known here."""
        try:
            smtp, pop3 = json.loads((Path(self.journals) / MOVED).read_text("utf-8"))
        except FileNotFoundError:
            return self.smtp, self.pop3
        return Address(*smtp), Address(*pop3)

    @cached_property
    def plan(self) -> Plan:
        """The load file."""
        return from_table(self.table, "the load file")

    @property
    def reports_to(self) -> Box:
        """The sender of all mail of the run: bounces come there. Of given mailboxes it is the first."""
        if self.given:
            return Box(*self.given[0])
        return Box(f"{BOUNCES}@{self.domain(0)}", f"{self.run}.{BOUNCES}", self.password)

    def domain(self, number: int) -> str:
        """A domain of the run."""
        return self.plan.accounts.domain.format(number)

    @property
    def boxes(self) -> int:
        """How many mailboxes there are, without that of the reports."""
        if self.given:
            return len(self.given) - 1
        return self.plan.accounts.domains * self.plan.accounts.mailboxes

    def box(self, number: int) -> Box:
        """The mailbox of that number, 0 to ``boxes`` - 1."""
        if self.given:
            return Box(*self.given[number + 1])
        local, domain = divmod(number, self.plan.accounts.domains)
        return Box(f"b{local}@{self.domain(domain)}", f"{self.run}.{domain}.{local}", self.password)
