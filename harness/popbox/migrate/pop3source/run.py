"""One pass over the mailboxes of an old host that is known by its POP3 alone; it can be repeated."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from popbox.clients.pop3 import Pop3Refused
from popbox.migrate.copy.accounts import accounts as as_table
from popbox.migrate.copy.accounts import as_toml, earlier_hashes, write_private
from popbox.migrate.copy.destination import ACCOUNTS, LEFT, Place
from popbox.migrate.copy.folder import FolderError
from popbox.migrate.copy.journal import Journal
from popbox.migrate.copy.limits import Limit
from popbox.migrate.copy.progress import Meter
from popbox.migrate.copy.work import Tally
from popbox.migrate.oldhost.accounts import Box
from popbox.migrate.pop3.accounts import Account
from popbox.migrate.pop3.attempts import Attempts
from popbox.migrate.pop3.host import BROKEN, Host, Unavailable, for_now
from popbox.migrate.pop3.listing import read_listing
from popbox.migrate.pop3.parallel import in_threads
from popbox.migrate.pop3source.accounts import addresses, declare
from popbox.migrate.pop3source.box import BoxFetch
from popbox.migrate.pop3source.pace import Pace

SLOWEST_OCTETS_S = 4_096
"""No connection gets less of ``Options.octets_per_s``, as a reply has a deadline (clients/bulk_pop3.py)."""

ABSURD_OCTETS = 1 << 36
"""Our choice: a size in LIST from which on it is none; one alone would make the check of space refuse the pass."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to import. ``accounts`` is the file that they came from. Rates None: no limit."""

    accounts: Path
    domain: str | None = None
    final: bool = False
    octets_per_s: int | None = None
    messages_per_s: float | None = None


@dataclass(slots=True)
class Outcome:
    """What a pass did. ``losses``: logins that are not taken; ``unavailable``: boxes that could not be read."""

    tally: Tally = field(default_factory=Tally)
    losses: list[str] = field(default_factory=list)
    unavailable: list[str] = field(default_factory=list)
    seconds: float = 0.0
    applied: str = ""
    measured: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A box as it was before the pass: what LIST says, or why it says nothing."""

    account: Account
    address: tuple[str, str]
    messages: int = 0
    octets: int = 0
    refused: str = ""
    unavailable: str = ""


def run(host: Host, accounts: Sequence[Account], place: Place, options: Options, out: TextIO) -> Outcome:
    """Import, or go on importing. Progress goes to ``out``.

    Raises:
        Unavailable: the old host cannot be reached.
        Unusable: a login makes no address of the new host.
        PopboxError: no space, another import at work, accounts that mailhost refuses, octets that read back wrong.
        OSError: the new host's disk fails. Whatever was placed stays, and the next pass goes on.
    """
    boxes = addresses(options.accounts, accounts, options.domain)
    host.probe()
    with contextlib.ExitStack() as stack:
        stack.enter_context(place.named())
        stack.callback(os.close, place.open())
        return _Pass(host, place, options).run(list(zip(accounts, boxes, strict=True)), out)


class _Pass:
    def __init__(self, host: Host, place: Place, options: Options) -> None:
        self.host, self.place, self.options = host, place, options
        self.outcome = Outcome()
        self._left: list[str] = []

    def run(self, pairs: list[tuple[Account, tuple[str, str]]], out: TextIO) -> Outcome:
        surveyed = {one.address: one for one in in_threads(self._survey, pairs, self.host.jobs)}
        found = [surveyed[address] for _, address in pairs]
        self.outcome.losses = [f"login {one.account.old_login}: {one.refused}" for one in found if one.refused]
        self.outcome.unavailable = [
            f"login {one.account.old_login}: {one.unavailable}" for one in found if one.unavailable
        ]
        found = [one for one in found if not one.refused and not one.unavailable]
        if not found:
            return self.outcome
        work = self._declare(found)
        with Meter(sum(one.messages for one in found), sum(one.octets for one in found), out) as meter:
            self._copy(work, meter)
        self.outcome.seconds = time.monotonic() - meter.began
        self.outcome.measured = self.place.measure()
        self._note_left()
        return self.outcome

    def _survey(self, pair: tuple[Account, tuple[str, str]]) -> Found:
        """Log in and list, before anything is declared or copied."""
        account, address = pair
        attempts = Attempts(self.host)
        try:
            self.host.check()
            while True:
                try:
                    return self._look(account, address)
                except (*BROKEN, Pop3Refused) as error:
                    attempts.wait(error)
        except Unavailable as why:
            self.host.note(reached=False)
            return Found(account, address, unavailable=str(why))

    def _look(self, account: Account, address: tuple[str, str]) -> Found:
        with self.host.session() as stream:
            try:
                stream.login(account.old_login, account.old_password)
            except Pop3Refused as refusal:
                if for_now(refusal):
                    raise
                return Found(account, address, refused=f"the old host refuses it: {refusal.reply}")
            entries = read_listing(stream).entries
        self.host.note(reached=True)
        sizes = (entry.size for entry in entries if entry.size < ABSURD_OCTETS)
        return Found(account, address, len(entries), sum(sizes))

    def _declare(self, found: Sequence[Found]) -> list[tuple[Account, Box, str]]:
        """Write and apply the accounts; each account with its mailbox and the prefix of that."""
        host, made, boxes = declare(
            self.options.accounts, [one.account for one in found], [one.address for one in found]
        )
        write_private(self.place.to / ACCOUNTS, as_toml(as_table(host, made, earlier_hashes(self.place.to / ACCOUNTS))))
        self._left = [str(one) for one in host.left]
        self._note_left()
        self.outcome.applied = self.place.apply()
        work = [(one.account, box, made.domains[box.domain].prefix) for one, box in zip(found, boxes, strict=True)]
        messages = octets = 0
        for one, (_, box, prefix) in zip(found, work, strict=True):
            there = Journal(self.place.journal(box, prefix)).records.values()
            messages += max(0, one.messages - len(there))
            octets += max(0, one.octets - sum(record.size for record in there))
        self.place.check_space(messages, octets)
        return work

    def _note_left(self) -> None:
        lines = [*self._left, *self.outcome.tally.notes]
        write_private(self.place.to / LEFT, "".join(f"{line}\n" for line in lines).encode())

    def _copy(self, work: Sequence[tuple[Account, Box, str]], meter: Meter) -> None:
        rate = self.options.octets_per_s
        pace = Pace(Limit(rate), Limit(self.options.messages_per_s), meter)
        jobs = self.host.jobs if rate is None else max(1, min(self.host.jobs, rate // SLOWEST_OCTETS_S))

        def one_box(item: tuple[Account, Box, str]) -> tuple[Tally, str]:
            return self._box(item, pace)

        for tally, unavailable in in_threads(one_box, work, jobs):
            self.outcome.tally.add(tally)
            self.outcome.unavailable += [unavailable] if unavailable else []

    def _box(self, item: tuple[Account, Box, str], pace: Pace) -> tuple[Tally, str]:
        """One box; what keeps it from being read to its end is told, and the next pass goes on there."""
        account, box, prefix = item
        tally = Tally()
        try:
            self.host.check()
            target = self.place.target(box, prefix)
            fetch = BoxFetch(self.host, account, box.address, target, pace, final=self.options.final)
            tally = fetch.tally
            fetch.run()
        except Unavailable as why:
            self.host.note(reached=False)
            return tally, f"{box.address}: {why}"
        except FolderError as why:  # its owner plays tricks; the others are copied
            tally.problems.append(f"{box.address}: {why}")
        self.host.note(reached=True)
        return tally, ""
