"""An export: the copying of an import into a directory of its own, then what the other server needs beside the mail."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from popbox.errors import UnusableError
from popbox.migrate.copy.accounts import write_private
from popbox.migrate.copy.destination import LEFT
from popbox.migrate.copy.folder import FolderError
from popbox.migrate.copy.run import Options, Outcome
from popbox.migrate.copy.run import run as copy
from popbox.migrate.export import courier, dovecot, mbox_run
from popbox.migrate.export.place import MAIL, Out
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.source import open_source, qmail_of
from popbox.migrate.oldhost.tree import OldHostError
from popbox.migrate.verify.files.maildrop import Maildrops

Kind = Literal["dovecot", "courier", "maildir++", "mbox"]
USERS = {"dovecot": "users", "courier": "userdb"}
FAR_NS = 1 << 62  # qmail-pop3d shows no message of the future, but will
_PLAIN = re.compile(r"[A-Za-z0-9/._+@-]+")
KINDS: tuple[Kind, ...] = ("dovecot", "courier", "maildir++", "mbox")


@dataclass(frozen=True, slots=True)
class Wish:
    """What to export and how. ``profile``: of our POP3 server; ``root``: where ``mail`` of DIR will lie over there.

    ``fields``: messages in an mbox get Status and X-UIDL.
    """

    kind: Kind
    home: Path
    stands_for: str | None = None
    profile: str = "rfc1939"
    owner: tuple[int, int] = (888, 888)
    root: Path | None = None
    fields: bool = False


def run(wish: Wish, to: Path, out: TextIO) -> Outcome:
    """Export, or go on exporting: a later run follows what the home did since. The home is only read.

    Raises:
        OldHostError: the home is none.
        UnusableError: the directory holds something that no export has put there, or lies in the home; a path that
            the file of logins cannot hold.
        PopboxError: no space, another export at work, octets that read back wrong.
        OSError: the disk fails. What was placed stays, and the next run goes on.
    """
    _check(wish, to)
    over = f"an export to {wish.kind}{' with Status fields' if wish.fields else ''}"
    place = Out(to, over=over, owner=wish.owner if os.geteuid() == 0 else None)
    tree = open_source(str(wish.home), wish.stands_for)
    drops = Maildrops(tree, wish.profile, FAR_NS)
    if wish.kind == "mbox":
        outcome = mbox_run.run(tree, place, qmail_of(tree), drops, fields=wish.fields)
    else:
        arrange = {"dovecot": dovecot.renamed, "courier": courier.renamed(drops)}.get(wish.kind)
        outcome = copy(tree, place, Options("howto", qmail_of(tree), final=True, arrange=arrange), out)
    errors = [finding for finding in outcome.audit.findings if finding.level == "error"]
    outcome.tally.problems += [f"{one.where}: {one.text} [{one.rule}]" for one in errors]
    if wish.kind == "dovecot":
        _with_logins(wish, place, drops, outcome)
        _settings(wish, place)
    elif wish.kind == "courier":
        _with_logins(wish, place, drops, outcome)
    elif wish.kind == "maildir++":
        _judge_names(drops, outcome)
    left = [*outcome.audit.left, *outcome.tally.notes]  # with what the files of logins do not hold
    write_private(to / LEFT, "".join(f"{one}\n" for one in left).encode())
    place.ended(len(outcome.tally.problems) + len(outcome.losses))
    return outcome


def _check(wish: Wish, to: Path) -> None:
    """Refuse what would write into the home, and paths that the lines of logins cannot hold."""
    home, out = wish.home.resolve(), to.resolve()
    if wish.fields and wish.kind != "mbox":
        raise UnusableError("--status-fields: is for --to mbox")
    if home == out or home in out.parents or out in home.parents:
        raise UnusableError(f"--out {to}: the home {home} and it lie in one another")
    if wish.kind in USERS:
        root = wish.root or out
        if not root.is_absolute() or not _PLAIN.fullmatch(str(root)):
            raise UnusableError(f"--root {root}: is absolute, of letters, digits and /._+@-, for the file of logins")


def _judge_names(drops: Maildrops, outcome: Outcome) -> None:
    """Files keep their names, which are their UIDLs; say which of them other servers read as something else."""
    for held in outcome.audit.held:
        try:
            for item in drops.items(held.box.store, [], {}):
                name = item.path.rpartition(b"/")[2]
                if dovecot.name_for(name, item.entry.size) != name:
                    told = "says a size that may not be its own, by which other servers cut it"
                    outcome.tally.problems.append(f"{held.box.address}: {shown(name)}: its name {told}")
        except OldHostError as why:
            outcome.tally.problems.append(f"{held.box.address}: {why}")


def _with_logins(wish: Wish, place: Out, drops: Maildrops, outcome: Outcome) -> None:
    """Write what keeps UIDLs beside each Maildir, and the file of the logins."""
    file = USERS[wish.kind]
    root = wish.root or place.popboxes
    write, user = (
        (dovecot.write_uidlist, dovecot.user) if wish.kind == "dovecot" else (courier.write_sizelist, courier.user)
    )
    users = []
    for held in outcome.audit.held:
        try:
            outcome.tally.problems += write(place, held.box, drops)
        except (FolderError, OldHostError) as why:
            outcome.tally.problems.append(f"{held.box.address}: {why}")
        line = user(held.box, str(root / held.box.domain / held.box.local), wish.owner)
        if not line:
            outcome.tally.notes.append(f"{held.box.address}: its login is locked, so it has no line in {file}")
        users.append(line)
    write_private(place.to / file, "".join(users).encode())


def _settings(wish: Wish, place: Out) -> None:
    root = wish.root or place.popboxes
    uid, gid = wish.owner
    users = (root.parent if root.name == MAIL else root) / "users"
    text = dovecot.CONFIGURATION.format(form=dovecot.POP3_UIDL_FORMAT, users=users, uid=uid, gid=gid)
    write_private(place.to / "dovecot.conf.part", text.encode())
