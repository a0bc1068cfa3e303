"""The route of one address through qmail: every decision with its file and line, and the outcome. No mail is sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from mailhost.qmail.assigntext import ASSIGN_FILE
from mailhost.qmail.control import DEFAULT_DELIVERY, ControlError, Controls, Reader, accepts, load
from mailhost.qmail.controlfile import c_string
from mailhost.qmail.delivery import Inspection, inspect
from mailhost.qmail.dotqmail import Instruction, Kind
from mailhost.qmail.failure import Failure
from mailhost.qmail.lookup import CDB_FILE, Assignment, accounts_of, locate, split
from mailhost.qmail.rewrite import Local, rewrite
from mailhost.qmail.stale_cdb import Comparison, StaleCdb

SMTPD_CONTROLS = Failure(permanent=False, text="421 unable to read controls (#4.3.0)")
SEND_CONTROLS = Failure(permanent=False, text="alert: cannot start: unable to read controls")
LOOPING = Failure(permanent=True, text="This message is looping: it already has my Delivered-To line. (#5.4.6)")
MOST_FORWARDS = 1000  # our choice: enough for any list, and it ends forwards that fan out for ever


class Outcome(Enum):
    """How the route of an address ends on this host."""

    DELIVERED = "delivered"
    DISCARDED = "discarded"  # success for the sender, but no mail is kept
    REMOTE = "remote"  # handed to qmail-remote
    REFUSED = "refused"  # by qmail-smtpd, while the sender waits
    BOUNCED = "bounced"
    DEFERRED = "deferred"  # tried again until queuelifetime ends, then bounced


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: ``stage`` names the rule; ``file`` (below home, or absolute) and ``line`` (0: none) decided."""

    stage: str
    file: str
    line: int
    key: bytes
    result: bytes  # an address or a home; for "dotqmail" the names that do not exist


@dataclass(frozen=True, slots=True)
class Delivery:
    """One instruction that would be carried out; ``onward`` is the route of a forwarded copy."""

    instruction: Instruction
    onward: Route | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A whole route. ``stage`` and ``failure`` say where and why it ends; ``rewritten`` is qmail-send's address."""

    address: bytes
    outcome: Outcome
    stage: str
    steps: tuple[Step, ...]
    failure: Failure | None = None
    rewritten: bytes | None = None
    assignment: Assignment | None = None
    stale_cdb: StaleCdb = field(default_factory=StaleCdb)
    inspection: Inspection | None = None
    deliveries: tuple[Delivery, ...] = ()

    @property
    def arrives(self) -> bool:
        """Whether the mail is kept here or sent on, for this address and for all that it is forwarded to."""
        onward = (delivery.onward for delivery in self.deliveries if delivery.onward is not None)
        return self.outcome is Outcome.DELIVERED and all(one.arrives or one.outcome is Outcome.REMOTE for one in onward)


Inspect = Callable[[Assignment, bytes], Inspection]


class Host(Protocol):
    """What decides about addresses. ``default``: qmail-start's instruction; None: that of control/defaultdelivery."""

    default: bytes | None

    def controls(self, reader: Reader) -> Controls:
        """The control files of one program.

        Raises:
            ControlError: one cannot be read.
        """

    def locate(self, local: bytes) -> Assignment | Failure:
        """Who gets a local part that is not empty."""

    def compare(self, local: bytes, who: Assignment | None) -> StaleCdb:
        """users/assign against users/cdb, which gave ``who``."""

    def inspect(self, who: Assignment, default: bytes) -> Inspection:
        """What qmail-local would do."""


class _Here:
    """A home of this machine, read for each question as qmail's programs read it; users/assign is compared once."""

    def __init__(self, home: Path, default: bytes | None, local: Inspect) -> None:
        self.home, self.default, self._local = home, default, local
        self.comparison = Comparison(home)

    def controls(self, reader: Reader) -> Controls:
        return load(self.home, reader)

    def locate(self, local: bytes) -> Assignment | Failure:
        return locate(self.home, local, accounts_of(self.home))

    def compare(self, local: bytes, who: Assignment | None) -> StaleCdb:
        return self.comparison.of(local, who)

    def inspect(self, who: Assignment, default: bytes) -> Inspection:
        return self._local(who, default)


class _Context:
    """What an address and its forwards share: the host, and how many forwards are left to follow."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.forwards_left = MOST_FORWARDS


class _Walk:
    """Follows one address; ``via`` are the local deliveries that a forwarded message has passed."""

    def __init__(self, context: _Context, address: bytes, via: tuple[bytes, ...] = ()) -> None:
        self.context = context
        self.address = address
        self.via = via
        self.steps: list[Step] = []
        self.default = DEFAULT_DELIVERY
        self.rewritten: bytes | None = None
        self.assignment: Assignment | None = None
        self.stale_cdb = StaleCdb()
        self.inspection: Inspection | None = None
        self.deliveries: tuple[Delivery, ...] = ()

    def end(self, outcome: Outcome, stage: str, failure: Failure | None = None) -> Route:
        return Route(
            self.address,
            outcome,
            stage,
            tuple(self.steps),
            failure,
            self.rewritten,
            self.assignment,
            self.stale_cdb,
            self.inspection,
            self.deliveries,
        )

    def fail(self, stage: str, failure: Failure) -> Route:
        return self.end(Outcome.BOUNCED if failure.permanent else Outcome.DEFERRED, stage, failure)

    def smtp(self) -> Route:
        """qmail-smtpd: is the recipient accepted?"""
        try:
            decision = accepts(self.context.host.controls(Reader.SMTPD), self.address)
        except ControlError as error:
            self.steps.append(Step("rcpthosts", error.file, 0, b"", os.fsencode(error.rule)))
            return self.fail("rcpthosts", SMTPD_CONTROLS)
        self.steps.append(Step("rcpthosts", decision.file, decision.line, decision.key, b""))
        if not decision.accepted:
            return self.end(Outcome.REFUSED, "rcpthosts", Failure(permanent=True, text=decision.reply.decode()))
        return self.send()

    def send(self) -> Route:
        """qmail-send: local, virtual or remote?"""
        try:
            controls = self.context.host.controls(Reader.SEND)
        except ControlError as error:
            self.steps.append(Step("locals", error.file, 0, b"", os.fsencode(error.rule)))
            return self.fail("locals", SEND_CONTROLS)
        if controls.locals is None:
            self.steps.append(Step("locals", "control/me", 0, b"", b"neither it nor control/locals exists"))
            return self.fail("locals", SEND_CONTROLS)
        self.default = controls.defaultdelivery if self.context.host.default is None else self.context.host.default
        rewritten = rewrite(controls, self.address)
        self.rewritten = rewritten.address
        self.steps += [Step(step.rule, step.file, step.line, step.key, step.address) for step in rewritten.steps]
        return self.lspawn(rewritten.address) if isinstance(rewritten, Local) else self.end(Outcome.REMOTE, "remote")

    def lspawn(self, rewritten: bytes) -> Route:
        """qmail-lspawn: whose is the local part?"""
        parts = split(rewritten)
        if isinstance(parts, Failure):
            return self.fail("assign", parts)
        local, _ = parts
        if not local:
            return self.end(Outcome.DISCARDED, "assign")
        who = self.context.host.locate(local)
        of_cdb = isinstance(who, Assignment) and who.source == CDB_FILE
        self.stale_cdb = self.context.host.compare(local, who if isinstance(who, Assignment) and of_cdb else None)
        if isinstance(who, Failure):
            return self.fail("assign", who)
        self.assignment = who
        file = ASSIGN_FILE if self.stale_cdb.line else who.source
        self.steps.append(Step("assign", file, self.stale_cdb.line, who.key, who.home))
        if who.failure is not None:
            return self.fail("assign", who.failure)
        return self.fail("loop", LOOPING) if rewritten in self.via else self.local(rewritten, who)

    def local(self, rewritten: bytes, who: Assignment) -> Route:
        """qmail-local: what do the .qmail lines do?"""
        self.inspection = inspection = self.context.host.inspect(who, self.default)
        if inspection.found is not None:
            name = inspection.found.name
            file = self.default_file() if name is None else os.fsdecode(who.home + b"/" + name)
            self.steps.append(Step("dotqmail", file, 0, name or b"", b", ".join(inspection.found.tried)))
            self.deliveries = tuple(self.delivery(line, rewritten, inspection) for line in inspection.instructions)
        if inspection.failure is not None:
            return self.fail("dotqmail" if inspection.found is None else "delivery", inspection.failure)
        return self.end(Outcome.DELIVERED if inspection.instructions else Outcome.DISCARDED, "delivery")

    def default_file(self) -> str:
        """The file of the delivery for a box without .qmail."""
        by_file = self.context.host.default is None and self.default != DEFAULT_DELIVERY
        return "control/defaultdelivery" if by_file else "default delivery"

    def delivery(self, instruction: Instruction, rewritten: bytes, inspection: Inspection) -> Delivery:
        """One line. A forward is followed unless another line fails, because nothing is forwarded then (Q-FWD-1)."""
        followed = instruction.kind is Kind.FORWARD and inspection.failure is None
        if not followed or self.context.forwards_left == 0:
            return Delivery(instruction)
        self.context.forwards_left -= 1
        return Delivery(instruction, _Walk(self.context, c_string(instruction.argument), (*self.via, rewritten)).send())


def route(home: Path, address: bytes, default: bytes | None = None, local: Inspect = inspect) -> Route:
    """The route of a message for ``address`` that arrives by SMTP.

    ``default`` is qmail-start's delivery instruction; None: that of the qmail image, from control/defaultdelivery.
    ``local`` says what qmail-local would do.

    Raises:
        OSError: users/assign or users/cdb exists and cannot be read.
    """
    return _Walk(_Context(_Here(home, default, local)), address).smtp()


def submitted(host: Host, address: bytes) -> Route:
    """The route of a message that is in the queue already, or comes from a client that may relay: not of rcpthosts.

    Raises:
        OSError: a file that the host reads cannot be read.
    """
    return _Walk(_Context(host), address).send()
