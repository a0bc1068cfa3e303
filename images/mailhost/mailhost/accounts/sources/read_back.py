"""Reading the host back: qmail's files, and nothing else, are the state.

This is the writers' own reader of what they write. `mailhost.qmail` reads the same files by qmail's rules and is not
used here: a fault in writing must not be able to hide in reading.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailhost.accounts.change import journal
from mailhost.accounts.change.edit import VIRTUALDOMAINS
from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.files import box_directories, domain_part, login_numbers
from mailhost.accounts.files.box_directories import DOT_QMAIL, DotQmail
from mailhost.accounts.files.control_lists import VirtualDomains
from mailhost.accounts.files.domain_part import Kind, Part
from mailhost.accounts.layout import Layout, require
from mailhost.accounts.model import Accounts, Delivery, Domain, Foreign, Mailbox
from mailhost.accounts.operations import forwards
from mailhost.poppasswd import file as poppasswd
from mailhost.poppasswd.file import Row
from mailhost.system.beneath import Beneath
from mailhost.system.reading import Refused, read_file

ByHome = dict[bytes, list[Row]]


def read(layout: Layout, *, only: str | None = None, private: bool = True) -> tuple[Accounts, list[Foreign]]:
    """The accounts of a host (or of ``only`` one domain and the names for it), and what is there besides.

    Without ``private`` nothing is read that is root's or popuser's alone: domains with their catchalls, and no boxes.

    Raises:
        InputError: a file cannot be understood; the error names file and line.
        BusyError: a file cannot be read, or there is no host in this home.
    """
    require(layout.home)
    require(layout.control)
    foreign: list[Foreign] = []
    prefixes = virtual_domains(layout).prefixes()
    if only is not None and only not in prefixes:
        raise InputError(f"is not declared; `mailhost domain add {only}` does", field=f"domain {only}")
    if _unfinished(layout):
        foreign.append(
            Foreign(layout.shown(layout.work / journal.NAME), 0, "a change was not finished; any change does")
        )
    homes = by_home(layout) if private else None
    accounts = Accounts()
    owners = owners_of(layout, prefixes)
    with contextlib.ExitStack() as stack:
        tree = stack.enter_context(layout.beneath(layout.popboxes)) if private else None
        for name, prefix in prefixes.items():
            if only is not None and prefix != prefixes[only]:
                continue
            if owners[prefix] != name:
                accounts.domains[name] = Domain(prefix, alias_of=owners[prefix])
            else:
                accounts.domains[name] = _Reader(layout, homes, tree, foreign).domain(name, prefix)
    if only is None and private:
        _read_host(layout, accounts, foreign)
    return accounts, foreign


def _unfinished(layout: Layout) -> bool:
    """Whether a change was interrupted; who may not look into the writers' directory is not told."""
    try:
        return (layout.work / journal.NAME).exists()
    except PermissionError:
        return False


def virtual_domains(layout: Layout) -> VirtualDomains:
    """control/virtualdomains as it is."""
    return VirtualDomains.of(VIRTUALDOMAINS, text_of(layout.home / VIRTUALDOMAINS))


def owners_of(layout: Layout, prefixes: dict[str, str]) -> dict[str, str]:
    """Prefix -> the domain whose part file has its lines; the others of that prefix are names for it."""
    owners: dict[str, str] = {}
    for name, prefix in prefixes.items():
        there = owners.get(prefix)
        if there is None or ((layout.parts / name).exists() and not (layout.parts / there).exists()):
            owners[prefix] = name
    return owners


def by_home(layout: Layout) -> ByHome:
    """Every row of users/poppasswd by its home.

    Raises:
        InputError: a line is not a row.
    """
    found: ByHome = {}
    try:
        for row in poppasswd.parse(text_of(layout.poppasswd) or b"", "users/poppasswd"):
            found.setdefault(row.home, []).append(row)
    except poppasswd.PoppasswdError as why:
        raise InputError(why.rule, file=why.file, line=why.line, field=why.field) from why
    return found


def text_of(path: Path | str) -> bytes | None:
    """The text of a file, None where there is none.

    Raises:
        BusyError: it cannot be read.
    """
    try:
        return read_file(path)
    except FileNotFoundError:
        return None
    except OSError as why:
        raise BusyError(f"{path}: cannot be read: {why.strerror}") from why


def _read_host(layout: Layout, accounts: Accounts, foreign: list[Foreign]) -> None:
    """What belongs to no domain: the trio and the numbers."""
    for name in forwards.TRIO:
        try:
            targets = forwards.system(layout, name)
        except Refused as why:
            foreign.append(Foreign(f"alias/{DOT_QMAIL}-{name}", 0, str(why.strerror)))
            continue
        if targets:
            accounts.system[name] = targets
    numbered = login_numbers.parse(text_of(layout.users / login_numbers.FILE), "users/logins")
    accounts.policy, accounts.last = numbered.stored, numbered.last


@dataclass(slots=True)
class _Reader:
    """Reads domains; without ``homes`` and ``tree`` no boxes. What is not of our making goes to ``foreign``."""

    layout: Layout
    homes: ByHome | None
    tree: Beneath | None
    foreign: list[Foreign]

    def domain(self, name: str, prefix: str) -> Domain:
        """One domain that has a part of its own."""
        layout, foreign = self.layout, self.foreign
        directory = str(layout.popboxes / prefix)
        file = layout.shown(layout.parts / name)
        read = domain_part.parse(text_of(layout.parts / name) or b"", prefix, directory, file)
        domain = Domain(prefix)
        for entry in read.foreign():
            foreign.append(Foreign(file, 0, f"{entry.line.decode('latin-1')} is not of mailhost's making"))
        catchall = read.entries.get((Kind.CATCHALL, ""))
        domain.catchall = catchall.box if catchall else None
        if self.homes is None or self.tree is None:
            return domain
        aliases = _aliases(read)
        for box in [
            entry.local for entry in read.entries.values() if entry.kind is Kind.EXACT and entry.box == entry.local
        ]:
            dot, rows = self._dot(self.tree, prefix, box), self.homes.get(layout.home_of(prefix, box), [])
            _box(domain, read, box, tuple(aliases.pop(box, ())), dot, rows, foreign)
        for box, names in aliases.items():
            foreign.append(Foreign(file, 0, f"{', '.join(names)}@{name} lead into {box}, which has no line of its own"))
        return domain

    def _dot(self, tree: Beneath, prefix: str, box: str) -> DotQmail:
        """What a box's .qmail says; without one qmail would deliver into ./Mailbox (Q-DOT-6)."""
        path = f"{prefix}/{box}/{DOT_QMAIL}"
        try:
            text = box_directories.read(tree, path, self.layout.identity.uid)
        except Refused as why:
            self.foreign.append(Foreign(f"popboxes/{path}", 0, str(why.strerror)))
            return DotQmail(Delivery.MAILDIR)
        said = box_directories.parse(text) if text else DotQmail(Delivery.MBOX)
        if isinstance(said, int):
            self.foreign.append(Foreign(f"popboxes/{path}", said, "this line is not of mailhost's making"))
            return DotQmail(Delivery.MAILDIR)
        return said


def _aliases(read: Part) -> dict[str, list[str]]:
    """Box -> the other local parts that lead into it, sorted."""
    found: dict[str, list[str]] = {}
    for entry in read.entries.values():
        if entry.kind is Kind.EXACT and entry.box != entry.local:
            found.setdefault(entry.box, []).append(entry.local)
    return {box: sorted(names) for box, names in found.items()}


def _box(
    domain: Domain,
    read: Part,
    box: str,
    aliases: tuple[str, ...],
    dot: DotQmail,
    rows: list[Row],
    foreign: list[Foreign],
) -> None:
    """One box directory: a mailbox, a forward, or both."""
    if dot.forwards:
        domain.forwards[box] = dot.forwards
    if dot.delivery is None and (dot.forwards or not rows):
        return
    if len(rows) > 1:
        more = ", ".join(row.login.decode("latin-1") for row in rows[1:])
        foreign.append(Foreign("users/poppasswd", rows[1].line, f"more logins for {box} of {read.file}: {more}"))
    domain.mailboxes[box] = Mailbox(
        login=rows[0].login.decode("latin-1") if rows else None,
        crypt=rows[0].crypt.decode("latin-1") if rows else None,
        extensions=(Kind.EXTENSIONS, box) in read.entries,
        delivery=dot.delivery or Delivery.MAILDIR,
        aliases=aliases,
    )


def addresses(accounts: Accounts) -> Iterator[tuple[str, str, Mailbox]]:
    """(domain, local part, mailbox) of every mailbox, in order."""
    for name, domain in accounts.domains.items():
        for local, mailbox in domain.mailboxes.items():
            yield name, local, mailbox
