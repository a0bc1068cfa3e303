"""One local delivery: the assignment, the checks, the instructions in order. Source: Q-LSP-*, Q-LOCAL-*.

``mailhost.qmail`` decides what happens; this module does it. Every delivery runs as the uid of this process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mailhost.qmail import assign, dotqmail
from mailhost.qmail.control import DEFAULT_DELIVERY
from mailhost.qmail.controlfile import c_string
from mailhost.qmail.dotqmail import ADDRESS_OCTETS, TOO_LONG, Found, Instruction, Kind
from mailhost.qmail.failure import Failure
from mailhost.qmail.lookup import Assignment
from mailhost.qmail.route import LOOPING
from mailhost.standin import header_fields
from mailhost.standin.delivery import maildir, mbox, program
from mailhost.standin.delivery.assignment_cache import AssignmentCache
from mailhost.standin.delivery.environment import Variables, environment
from mailhost.standin.delivery.report import Outcome, Report, Stopped
from mailhost.standin.queue.message_reader import Stored

DOUBLE_BOUNCE = b"#@[]"

Value = TypeVar("Value")

# Queues a new message and returns its number. Arguments: sender, recipients, text before the copy, message to copy.
Forward = Callable[[bytes, tuple[bytes, ...], bytes, Stored], int]


@dataclass(frozen=True, slots=True)
class Place:
    """What deliveries share: the assignments, how forwards are sent, whether programs may run."""

    forward: Forward
    assignments: AssignmentCache
    programs: bool = False
    default: bytes = DEFAULT_DELIVERY


def deliver(place: Place, sender: bytes, address: bytes, message: Stored) -> Report:
    """Deliver to one routed local address; a delivery that fails is a Report, never an exception."""
    try:
        parts = _must(assign.split(address))
        if not parts[0]:
            return Report(Outcome.SUCCESS)  # the trash address (Q-LSP-2, E-19)
        owner = _must(place.assignments.find(parts[0]))
        return _Delivery(place, owner, parts, sender, message).run()
    except Stopped as stopped:
        return stopped.report()


def _must(value: Value | Failure) -> Value:
    if isinstance(value, Failure):
        raise Stopped.by(value)
    return value


class _Delivery:
    """What qmail-local does, once the assignment is known."""

    def __init__(
        self, place: Place, owner: Assignment, parts: tuple[bytes, bytes], sender: bytes, message: Stored
    ) -> None:
        self._place, self._owner, self._sender, self._message = place, owner, sender, message
        self._local, self._host = parts
        self._dtline = header_fields.delivered_to(*parts)
        self._rpline = header_fields.return_path(sender)
        self._said = b""
        self._forwards: list[bytes] = []

    def run(self) -> Report:
        """Check and deliver in the order of Q-LOCAL-6."""
        # Unassigned mail belongs to the alias user; this process delivers it even where passwd has that user.
        if self._owner.uid != os.geteuid() and self._owner.source != "alias":
            raise Stopped(f"This host delivers as uid {os.geteuid()} only, not as {self._owner.uid}. (#4.3.0)")
        failure = dotqmail.check_home(self._owner.home)
        if failure is not None:
            raise Stopped.by(failure)
        if self._message.has_header_line(self._dtline):
            raise Stopped(LOOPING.text, permanent=LOOPING.permanent)
        found = _must(dotqmail.find(self._owner.home, self._owner.dash, self._owner.ext))
        try:
            return self._follow(found)
        except Stopped as stopped:
            return stopped.report(self._said)

    def _follow(self, found: Found) -> Report:
        done = {Kind.MAILDIR: 0, Kind.MBOX: 0, Kind.PROGRAM: 0, Kind.FORWARD: 0}
        for instruction in dotqmail.parse(found.text, found.executable, self._place.default):
            skip_rest = self._one(instruction, found)
            done[instruction.kind] += 1
            if skip_rest:
                break
        files = done[Kind.MAILDIR] + done[Kind.MBOX]
        did = b"did %d+%d+%d\n" % (files, done[Kind.FORWARD], done[Kind.PROGRAM])
        return Report.of(Outcome.SUCCESS, self._said + did + self._send_forwards())

    def _one(self, instruction: Instruction, found: Found) -> bool:
        """Do one line; whether the lines after it are to be skipped."""
        if instruction.failure is not None:
            raise Stopped.by(instruction.failure)
        argument = c_string(instruction.argument)
        if instruction.kind is Kind.MAILDIR:
            maildir.deliver(self._path(argument), self._rpline + self._dtline, self._message)
        elif instruction.kind is Kind.MBOX:
            head = header_fields.mbox_from(self._sender, time.time()) + self._rpline + self._dtline
            mbox.deliver(self._path(argument), argument, head, self._message)
        elif instruction.kind is Kind.FORWARD:
            self._forwards.append(argument)
        else:
            return self._program(argument, found)
        return False

    def _path(self, argument: bytes) -> bytes:
        """The path, relative to the owner's home; a thread has no working directory of its own."""
        return os.path.join(self._owner.home, argument)

    def _program(self, command: bytes, found: Found) -> bool:
        if not self._place.programs:
            raise Stopped(program.OFF)
        variables = Variables(
            self._owner.user, self._owner.home, self._local, self._host, self._owner.ext, found.default, self._sender,
            self._newsender(), self._dtline, self._rpline, header_fields.mbox_from(self._sender, time.time()),
        )  # fmt: skip
        ended = program.run(command, self._owner.home, environment(variables), self._message)
        self._said += ended.output
        return ended.skip_rest

    def _send_forwards(self) -> bytes:
        """Send all forwards as one message, after everything else (Q-FWD-1, -2)."""
        if not self._forwards:
            return b""
        sender = self._newsender()
        if max(map(len, (sender, *self._forwards))) > ADDRESS_OCTETS:
            raise Stopped.by(TOO_LONG)
        try:
            number = self._place.forward(sender, tuple(self._forwards), self._dtline, self._message)
        except OSError as error:
            text = "Unable to forward message: qq write error or disk full (#4.3.0)."
            raise Stopped(text) from error
        return b"qp %d\n" % number

    def _newsender(self) -> bytes:
        """Who gets the bounce of a forward: the owner of the list, where there is one (Q-FWD-3)."""
        if self._sender in (b"", DOUBLE_BOUNCE):
            return self._sender
        base = os.path.join(self._owner.home, b".qmail" + self._owner.dash + dotqmail.safe(self._owner.ext) + b"-owner")
        if not os.path.exists(base):
            return self._sender
        if os.path.exists(base + b"-default"):
            return self._local + b"-owner-@" + self._host + b"-@[]"
        return self._local + b"-owner@" + self._host
