"""`mailhost init`: what a host needs before its first domain; made where it is missing, kept where it is."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from mailhost.accounts import names
from mailhost.accounts.change import assign, journal
from mailhost.accounts.change.journal import HostEffects
from mailhost.accounts.change.transaction import Transaction
from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.files import durable, login_numbers
from mailhost.accounts.layout import Layout
from mailhost.system.durable import write_all

FILES = ("control/me", "control/rcpthosts", "control/locals", "users/poppasswd", "users/scramkey")
DIRECTORIES = ("control", "users", "users/domains", "alias", "popboxes", "queue", "queue/lock")


def init(hands: HostEffects, me: str | None, policy: str | None = None, *, dry_run: bool = False) -> list[str]:
    """Make what is missing; returns the paths made (with ``dry_run``, to be made), relative to the home.

    rcpthosts is made empty: without it qmail accepts mail for every domain (Q-RCPT-1). locals names the host itself.

    Raises:
        InputError: ``me`` is no host name, or another than control/me says; ``policy`` is unknown.
        BusyError: a directory cannot be made.
    """
    layout = hands.layout
    made = _directories(layout, dry_run=dry_run)
    if not layout.users.is_dir():  # a dry run, and nothing there to take a lock on
        return made + _files(layout, me, policy)
    with Transaction(hands) as transaction:
        name = _me(transaction, me)
        texts = {  # in this order: a qmail that starts with a name and without rcpthosts is an open relay
            layout.control / "rcpthosts": "",
            layout.control / "locals": f"{name}\n",
            layout.control / "me": f"{name}\n",
        }
        missing = {path: text for path, text in texts.items() if transaction.read(path) is None}
        for path, text in missing.items():
            transaction.put(path, text.encode())
        if transaction.read_mark(layout.poppasswd) is None:
            missing[layout.poppasswd] = ""
            transaction.put(layout.poppasswd, b"", 0o600)
        if transaction.read_mark(layout.scramkey) is None:
            missing[layout.scramkey] = ""
            shared = layout.poppasswd.exists() and layout.poppasswd.stat().st_mode & 0o040
            transaction.put(layout.scramkey, partial(_fill_key, layout), 0o600 | shared)
        if policy is not None:
            numbered = login_numbers.parse(transaction.read(layout.users / login_numbers.FILE), "users/logins")
            numbered.choose(policy)
            if numbered.changed:
                missing[layout.users / login_numbers.FILE] = policy
                transaction.put(layout.users / login_numbers.FILE, numbered.render(), 0o600)
        tables = [path for path in (layout.users / "assign", layout.users / "cdb") if not path.exists()]
        if not dry_run:
            if tables:
                assign.stage(transaction, {}, set())
            transaction.commit()
    return made + [layout.shown(path) for path in [*missing, *tables]]


def _fill_key(layout: Layout, descriptor: int) -> None:
    """Random octets for the POP3 side, readable for those who may read users/poppasswd."""
    write_all(descriptor, os.urandom(32).hex().encode() + b"\n")
    if layout.poppasswd.exists():
        os.fchown(descriptor, -1, layout.poppasswd.stat().st_gid)


def _files(layout: Layout, me: str | None, policy: str | None) -> list[str]:
    """The files that `init` makes where there is no users/ yet."""
    if not (layout.control / "me").exists():
        names.domain(me or os.uname().nodename)
    numbers = [f"users/{login_numbers.FILE}"] if policy else []
    paths = [*FILES, *numbers, "users/assign", "users/cdb"]
    return [path for path in paths if not (layout.home / path).exists()]


def _directories(layout: Layout, *, dry_run: bool = False) -> list[str]:
    """Make the directories that are missing, 0755."""
    made = []
    try:
        # The directories above the home too: popuser must pass them (Q-PERM-6), whatever the umask.
        above = [path for path in reversed(layout.home.parents) if not path.exists()]
        for path in (*above, layout.home, *(layout.home / name for name in DIRECTORIES)):
            if not path.is_dir() and dry_run:
                made.append(layout.shown(path))
            elif not path.is_dir():
                # The owner of alias/ is who delivers there (Q-GETPW-3, Q-LSP-9): root never does, so that unknown
                # addresses would wait instead of bouncing. Where qmail is installed, alias/ is there already.
                alias = path == layout.alias and os.geteuid() == 0
                durable.make_directory(path, (layout.identity.uid, layout.identity.gid) if alias else None)
                made.append(layout.shown(path))
    except OSError as why:
        raise BusyError(f"{why.filename}: cannot be made: {why.strerror}") from why
    return made


def _me(transaction: Transaction, me: str | None) -> str:
    """The host's own name: as control/me has it, else as asked for, else as the system says."""
    there = transaction.read(transaction.layout.control / "me")
    if there is not None:
        known = there.split(b"\n")[0].decode("latin-1").strip()
        if me is not None and names.domain(me) != known.lower():
            raise InputError(f"says {known!r} already; change it by hand", file="control/me", line=1, field="--me")
        return known
    return names.domain(me or os.uname().nodename)


def rebuild(hands: HostEffects, *, force: bool = False, dry_run: bool = False) -> tuple[int, int, list[int]]:
    """Join the parts into users/assign and make users/cdb (or only see whether they can be).

    Returns the numbers of parts and of entries, and the lines of the old users/assign that ``force`` took out.

    Raises:
        InputError: a part would break users/assign.
        HostError: users/assign has lines that are not ours (``force`` removes them), or users/cdb cannot be made.
    """
    layout = hands.layout
    with Transaction(hands) as transaction:
        gone = assign.stage(transaction, {}, set(), force=force)
        parts = assign.part_files(layout)
        entries = sum(map(_lines, parts))
        if not dry_run:
            transaction.commit()
    return len(parts), entries, gone


def newu(hands: HostEffects) -> int:
    """Make users/cdb from users/assign as it stands, which is not touched; returns its number of lines.

    Not by the journal: a users/assign that cannot be made into one would stand in the way of every later change.

    Raises:
        HostError: it cannot be made; the old one still counts.
    """
    with Transaction(hands):
        journal.newu(hands)
    return _lines(hands.layout.users / "assign")


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
