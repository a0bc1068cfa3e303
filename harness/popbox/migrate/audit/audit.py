"""The audit: read the old host, list its mail, and say what is there and what is wrong. Nothing is changed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from popbox.migrate.oldhost.accounts import Box, OldAccounts
from popbox.migrate.oldhost.dialects.detect import read_old_host
from popbox.migrate.oldhost.dialects.text import file_of
from popbox.migrate.oldhost.findings import Finding, Left, Where
from popbox.migrate.oldhost.mboxes.index import SUFFIX
from popbox.migrate.oldhost.mboxes.survey import Reading, survey
from popbox.migrate.oldhost.model import MBOX, OldHost
from popbox.migrate.oldhost.stores import contents
from popbox.migrate.oldhost.strays import name_strays
from popbox.migrate.oldhost.to_accounts import to_accounts
from popbox.migrate.oldhost.tree import Local, OldHostError, OldHostTree
from popbox.printable import counted


@dataclass(slots=True)
class Held:
    """What one mailbox holds. ``messages`` None: an mbox on another machine, which is not read for a count.

    ``reading``: how an import will read it, where it is an mbox that was read.
    """

    box: Box
    messages: int | None
    octets: int
    reading: Reading | None = None


@dataclass(slots=True)
class Audit:
    """What an audit found."""

    host: OldHost
    accounts: OldAccounts
    held: list[Held]

    @property
    def findings(self) -> list[Finding]:
        """Errors first, then by file and line."""
        return sorted(set(self.host.findings), key=lambda f: (f.level != "error", f.where, f.rule, f.text))

    @property
    def left(self) -> list[Left]:
        """What an import cannot carry, by file and line."""
        return sorted(set(self.host.left))

    @property
    def lost(self) -> list[Left]:
        """What of it is a loss: mail that a login could open, or an address that took mail."""
        return [one for one in self.left if one.lost]


def audit(tree: OldHostTree, dialect: str | None, home: bytes, *, count: bool = True) -> Audit:
    """Audit an old host; ``count``: read mbox files to count messages.

    Raises:
        OldHostError: the files are of no known host, or cannot be read.
        HostError: the old host cannot be reached.
    """
    host = read_old_host(tree, dialect, home)
    accounts = to_accounts(host)
    tree.prepare([box.store.path for box in accounts.boxes()])
    now_ns = time.time_ns()
    held = [_held(tree, host, box, now_ns, count) for box in accounts.boxes()]
    _name_uidls(tree, host, held)
    name_strays(tree, host)
    for path, why in sorted(tree.denied.items()):
        host.unreadable(Where(file_of(path)), why)
    return Audit(host, accounts, held)


def _held(tree: OldHostTree, host: OldHost, box: Box, now_ns: int, count: bool) -> Held:
    there = contents(tree, host, box.store, now_ns)
    if there.mbox is None:
        return Held(box, len(there.messages), there.octets)
    if not count or not isinstance(tree, Local):
        return Held(box, None, there.octets)
    file = file_of(box.store.path)
    for _, body in tree.bodies([there.mbox]):
        try:
            if isinstance(body, OldHostError):
                raise body
            reading = survey(body)
        except OldHostError as why:
            host.wrong("mbox-not-mbox", Where(file), str(why))
            break
        for line, text in reading.doubts:
            host.wrong("mbox-doubt", Where(file, line), text)
        return Held(box, reading.messages, there.octets, reading)
    return Held(box, 0, there.octets)


def _name_uidls(tree: OldHostTree, host: OldHost, held: list[Held]) -> None:
    """A server of mbox files makes UIDLs of its own, which no file tells: only an export's index beside it does."""
    mboxes = [one.box.store.path for one in held if one.box.store.kind == MBOX and one.octets]
    bare = sorted(path for path in mboxes if tree.lstat(path + SUFFIX) is None)
    if bare:
        where, files = Where(file_of(bare[0])), counted(len(bare), "mbox file")
        host.wrong("uidl-mbox", where, f"{files}, this one first" if bare[1:] else files)
        host.leave(where, f"the UIDLs of {files}", "`import --pop3` has them from the server, while it runs")
