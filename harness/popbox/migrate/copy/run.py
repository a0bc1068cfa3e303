"""An import: accounts.toml, the list of what is left, and the mail, box by box, in a pass that can be repeated."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

from popbox.errors import PopboxError
from popbox.migrate.audit.audit import Audit
from popbox.migrate.audit.audit import audit as run_audit
from popbox.migrate.copy.accounts import accounts, as_toml, earlier_hashes, write_private
from popbox.migrate.copy.batch import Batch
from popbox.migrate.copy.box import BoxCopy
from popbox.migrate.copy.destination import ACCOUNTS, LEFT, Place
from popbox.migrate.copy.folder import FolderError
from popbox.migrate.copy.journal import Journal
from popbox.migrate.copy.limits import Limit
from popbox.migrate.copy.mbox import beside
from popbox.migrate.copy.progress import Meter
from popbox.migrate.copy.work import Job, Pace, Tally
from popbox.migrate.oldhost.accounts import Box
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.mboxes.survey import BY_THE_FILE, Choice
from popbox.migrate.oldhost.model import MBOX, OldHost, Store
from popbox.migrate.oldhost.stores import Contents, contents
from popbox.migrate.oldhost.tree import FileRequest, OldHostError, OldHostTree, Vanished

Arrange = Callable[[OldHostTree, OldHost, Store, Contents], Contents]


@dataclass(frozen=True, slots=True)
class Options:
    """How to import. Rates None: no limit."""

    dialect: str | None
    qmail_home: bytes
    final: bool = False
    mbox: Choice = BY_THE_FILE
    octets_per_s: int | None = None
    files_per_s: float | None = None
    arrange: Arrange | None = None
    """What makes other names and dates of what a store holds; the journal knows messages by these."""


@dataclass(slots=True)
class Outcome:
    """What an import did."""

    audit: Audit
    tally: Tally
    seconds: float = 0.0
    applied: str = ""
    measured: str = ""
    unavailable: list[str] = field(default_factory=list)  # a box alone cannot be: the source is one

    @property
    def losses(self) -> list[str]:
        """What the new host lacks of what the old one had, a line for each."""
        return [str(one) for one in self.audit.lost]


def declared(tree: OldHostTree, place: Place, options: Options) -> Audit:
    """What the old host has, with its accounts written to accounts.toml; the place is open.

    Raises:
        OldHostError: the source is no old host.
        PopboxError: the accounts.toml of an earlier run cannot be read.
        OSError: the disk refuses a write.
    """
    found = run_audit(tree, options.dialect, options.qmail_home, count=False)
    table = accounts(found.host, found.accounts, earlier_hashes(place.to / ACCOUNTS))
    write_private(place.to / ACCOUNTS, as_toml(table))
    return found


def run(tree: OldHostTree, place: Place, options: Options, out: TextIO) -> Outcome:
    """Import, or go on importing. Progress goes to ``out``.

    Raises:
        OldHostError: the source is no old host.
        PopboxError: no space, another import at work, accounts that mailhost refuses, octets that read back wrong.
        OSError: the new host's disk fails. Whatever was placed stays, and the next run goes on.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(place.named())
        stack.callback(os.close, place.open())
        found = declared(tree, place, options)
        write_private(place.to / LEFT, "".join(f"{one}\n" for one in found.left).encode())
        outcome = Outcome(found, Tally(), applied=place.apply())
        messages, octets = sum(held.messages or 0 for held in found.held), sum(held.octets for held in found.held)
        work = _Run(tree, place, options, found, outcome.tally)
        place.check_space(*work.missing())
        with Meter(messages, octets, out) as meter:
            work.copy(meter)
        outcome.seconds = time.monotonic() - meter.began
        outcome.measured = place.measure()
        write_private(place.to / LEFT, "".join(f"{one}\n" for one in [*found.left, *outcome.tally.notes]).encode())
    return outcome


class _Run:
    """One pass over all boxes."""

    def __init__(self, tree: OldHostTree, place: Place, options: Options, found: Audit, tally: Tally) -> None:
        self.tree, self.place, self.options, self.found, self.tally = tree, place, options, found, tally

    def _prefix(self, box: Box) -> str:
        return self.found.accounts.domains[box.domain].prefix

    def missing(self) -> tuple[int, int]:
        """Messages and octets that are not there yet, for the check of space; by size, without looking at each."""
        messages = octets = 0
        largest = max((held.octets for held in self.found.held if held.box.store.kind == MBOX), default=0)
        for held in self.found.held:
            there = Journal(self.place.journal(held.box, self._prefix(held.box))).records.values()
            messages += max(0, (held.messages or held.octets // 4_096) - len(there))
            octets += max(0, held.octets - sum(record.size for record in there))
        return messages, octets + largest  # of one mbox a copy is made

    def copy(self, meter: Meter) -> None:
        """Read what is to be read, one file after the other, and put it into its box.

        Raises:
            PopboxError: octets read back are not those that were written.
        """
        pace = Pace(Limit(self.options.octets_per_s), Limit(self.options.files_per_s), meter)
        with Batch() as batch:
            asked: deque[Job] = deque()

            def wanted() -> Iterator[FileRequest]:
                for job in self._jobs(batch, pace):
                    asked.append(job)
                    yield job.wanted

            for one, body in self.tree.bodies(wanted()):
                job = asked.popleft()
                if job.wanted is not one:
                    raise PopboxError(f"{self.tree.name}: answered with another file than {shown(job.wanted.path)}")
                self._take(job, body)
            batch.commit()
            for target, record in batch.conflicts:
                told = f"{os.fsdecode(target.maildir)}: {shown(record.place)} is another message's; not copied"
                self.tally.problems.append(told)
            self.tally.problems += [f"{why}; not copied" for why in batch.refused]

    def _take(self, job: Job, body: Iterator[bytes] | OldHostError) -> None:
        """One file; what cannot be read is reported as a problem, and the next pass tries it again."""
        try:
            if isinstance(body, Vanished) and not self.options.final:
                self.tally.later += 1
                return
            if isinstance(body, OldHostError):
                raise body
            job.take(body)
        except (OldHostError, FolderError) as why:
            self.tally.problems.append(f"{shown(job.wanted.path)}: {why}")

    def _jobs(self, batch: Batch, pace: Pace) -> Iterator[Job]:
        now_ns = time.time_ns()
        for held in self.found.held:
            there = contents(self.tree, self.found.host, held.box.store, now_ns)
            if self.options.arrange is not None:
                there = self.options.arrange(self.tree, self.found.host, held.box.store, there)
            try:
                target = self.place.target(held.box, self._prefix(held.box))
                box = BoxCopy(held.box.address, target, batch, pace, self.tally, final=self.options.final)
                yield from box.jobs(there, self.options.mbox, there.mbox and beside(self.tree, there.mbox))
            except FolderError as why:  # one box whose owner plays tricks; the others are copied
                self.tally.problems.append(f"{held.box.address}: {why}")
