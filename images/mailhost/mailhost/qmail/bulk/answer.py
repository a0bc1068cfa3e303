"""What an address does, in short: whether it is accepted, and every end that its mail comes to, forwards followed."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mailhost.qmail.bulk.host import TreeHost
from mailhost.qmail.bulk.tree import NotJudgedError
from mailhost.qmail.control import ControlError, Reader, accepts
from mailhost.qmail.controlfile import c_string
from mailhost.qmail.dotqmail import Instruction, Kind
from mailhost.qmail.failure import Failure
from mailhost.qmail.lookup import Assignment
from mailhost.qmail.route import Outcome, Route, submitted

NOT_JUDGED = "not judged"
CODE = re.compile(r"\(#\d\.\d\.\d+\)")


@dataclass(frozen=True, slots=True)
class End:
    """One thing that becomes of the mail.

    ``kind``: ``maildir``, ``mbox`` (``text``: the real path), ``program`` (the command; run in ``home`` with ``ext``),
    ``remote`` (the address), ``discarded``, ``bounced``, ``deferred`` (qmail's words), ``forward`` (an address that is
    not followed: too many), ``not judged`` (why).
    """

    kind: str
    text: bytes
    home: bytes = b""
    ext: bytes = b""
    host: bytes = b""

    @property
    def same_as(self) -> tuple[object, ...]:
        """What two ends must share to be the same; a refusal is known by its code, because its text names paths."""
        code = CODE.search(os.fsdecode(self.text)) if self.kind in ("bounced", "deferred") else None
        return (self.kind, code.group()) if code else (self.kind, self.text, self.home, self.ext)


@dataclass(frozen=True, slots=True)
class Answer:
    """``accepted``: whether qmail-smtpd takes it from a client that may not relay.

    ``where``: the files and lines that decided, all of them where the host tells lines.
    """

    accepted: bool
    ends: tuple[End, ...]
    where: tuple[str, ...]

    @property
    def judged(self) -> bool:
        """Whether everything that it depends on could be seen."""
        return all(end.kind != NOT_JUDGED for end in self.ends)

    def same(self, other: Answer) -> bool:
        """Whether the other does the same: accepted or not, and the same ends, each as often."""
        ends = (Counter(end.same_as for end in one.ends) for one in (self, other))
        return self.accepted == other.accepted and next(ends) == next(ends)


def answer(host: TreeHost, address: bytes) -> Answer:
    """What happens to mail for ``address``.

    Raises:
        OSError: a file of the host can be read no more.
    """
    where: list[str] = []
    accepted = False
    try:
        decision = accepts(host.controls(Reader.SMTPD), address)
        accepted = decision.accepted
        where.append(f"{decision.file}:{decision.line}" if decision.line else decision.file)
        way = submitted(host, address)
        found = tuple(ends_of(host, way))
        if host.lines_wanted:
            where += _where(way)
    except ControlError as error:
        where.append(error.file)
        found = (End("deferred", os.fsencode(str(error))),)
    except NotJudgedError as why:
        found = (End(NOT_JUDGED, os.fsencode(str(why))),)
    return Answer(accepted, found, tuple(dict.fromkeys(where)))


def ends_of(host: TreeHost, way: Route) -> Iterator[End]:
    """Every end of a route, those of its forwards in their places."""
    if way.outcome is Outcome.REMOTE:
        yield End("remote", way.rewritten or way.address)
    elif way.outcome is Outcome.DISCARDED:
        yield End("discarded", b"")
    elif way.outcome in (Outcome.BOUNCED, Outcome.DEFERRED):
        yield _failed(way.outcome.value, way.failure)
    else:
        for delivery in way.deliveries:
            if delivery.onward is not None:
                yield from ends_of(host, delivery.onward)
            elif way.assignment is not None:
                yield _end(host, way, delivery.instruction, way.assignment)


def _failed(kind: str, failure: Failure | None) -> End:
    return End(kind, b"" if failure is None else os.fsencode(failure.text))


def _end(host: TreeHost, way: Route, line: Instruction, who: Assignment) -> End:
    argument = c_string(line.argument)
    if line.kind is Kind.FORWARD:
        return End("forward", argument)
    if line.kind is Kind.PROGRAM:
        return End("program", argument, who.home, who.ext, (way.rewritten or b"").rpartition(b"@")[2])
    return End(line.kind.value, _real(host, os.path.join(who.home, argument)))


def _real(host: TreeHost, path: bytes) -> bytes:
    """The real path of a store; as written, without ``./`` and the like, where that is not in the tree."""
    try:
        return host.tree.look(path)[0]
    except (OSError, NotJudgedError):
        return os.path.normpath(path)


def _where(way: Route) -> Iterator[str]:
    """Each file and line that decided, those of forwards too; a .qmail file once for each line that delivers."""
    for step in way.steps:
        if step.stage != "dotqmail":
            yield f"{step.file}:{step.line}" if step.line else step.file if step.file != "passwd" else "etc/passwd"
        elif not way.deliveries:
            yield step.file
        else:
            yield from (f"{step.file}:{one.instruction.line}" for one in way.deliveries)
    for delivery in way.deliveries:
        if delivery.onward is not None:
            yield from _where(delivery.onward)
