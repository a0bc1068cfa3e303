"""The HOWTO's way, and the DTC panel's, which is the same files with other habits.

DTC: logins are ``login@domain``, the real user is ``nobody`` (65534) or a system user, and a domain's catchall is one
line ``+domain-com`` whose home is the directory above the boxes, where ``.qmail-default`` names one of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from popbox.migrate.oldhost.dialects.assign import Assigned, read_assign
from popbox.migrate.oldhost.dialects.control import Control, read_control
from popbox.migrate.oldhost.dialects.dotqmail import dotqmails, follow, home_of
from popbox.migrate.oldhost.dialects.getpw import virtual_routes
from popbox.migrate.oldhost.dialects.poppasswd import read_poppasswd
from popbox.migrate.oldhost.dialects.system import leave_accounts, read_aliases, user_names
from popbox.migrate.oldhost.dialects.text import file_of, local_part
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import CATCHALL, MBOX, OldHost, Route, Said
from popbox.migrate.oldhost.tree import OldHostTree, look


def read(tree: OldHostTree, host: OldHost, home: bytes) -> None:
    """Read everything; ``home`` is qmail's own, usually /var/qmail."""
    tree.prepare([home + b"/" + part for part in (b"control", b"users", b"alias", b"popboxes")])
    tree.prepare([b"/etc/passwd", b"/etc/poppasswd"])
    control = read_control(tree, host, home)
    rows = read_assign(tree, host, home)
    users = user_names(tree, host)
    files = poppasswds(home)
    for path in files:
        read_poppasswd(tree, host, path, users)
    if rows and not any(look(tree, path)[1] for path in files):
        why = "there is no such file, so who may log in is not in SOURCE; the mailboxes come locked"
        if any(row.home.startswith(home + b"/mailnames/") for row in rows):
            why += ". Plesk has the passwords in its database psa"
        host.lose(Where(file_of(files[0])), "the logins of all mailboxes", why)
    tree.prepare([row.home for row in rows] + [login.home for login in host.logins if login.home])
    add_routes(tree, host, rows, control)
    read_aliases(tree, host, control)
    leave_accounts(tree, host, control)
    if any("@" in login.name for login in host.logins):
        host.dialect = "dtc"


def poppasswds(home: bytes) -> tuple[bytes, bytes]:
    """Where the logins of a host with this qmail home stand."""
    return home + b"/users/poppasswd", b"/etc/poppasswd"


def add_routes(tree: OldHostTree, host: OldHost, rows: Sequence[Assigned], control: Control) -> None:
    """What each line of users/assign does for which address: an exact line first, then the longest (Q-LSP-4)."""
    prefixes = {there.prefix.encode("latin-1"): name for name, there in host.domains.items() if not there.alias_of}
    exact, wild = ({row.address for row in rows if row.wild is kind} for kind in (False, True))
    taken: dict[tuple[str, str], Route] = {}
    lines = _Lines(tree, host, prefixes, exact, wild, taken)
    starts = sorted(p + b"-" for p in prefixes)
    for row in sorted(rows, key=lambda row: (row.wild, -len(row.address))):
        mine = _whole(starts, row.address) if row.wild else []
        mine = mine or [p for p in _cut(row.address) if p in prefixes][:1]
        if not mine:
            host.wrong("assign-no-domain", row.where, f"{shown(row.address)} belongs to no virtual domain")
            host.lose(row.where, f"address {shown(row.address)}", "it belongs to no virtual domain")
            continue
        home = home_of(tree, host, row.home, row.where)
        if home is None:
            note = host.lose if row.home.startswith(b"/") else host.leave  # a relative one bounces (Q-LOCAL-1)
            note(row.where, f"address {shown(row.address)}", "its home cannot be looked into")
            continue
        if row.wild and not row.address and control.local:
            host.lose(row.where, "all addresses of the local domains", "only virtual domains can be declared")
        for prefix in mine:
            _Line(lines, row, prefix, home).add()
    virtual_routes(tree, host, control, rows, taken)
    host.routes += taken.values()
    served = {route.domain for route in host.routes}
    for name, there in host.domains.items():
        if there.alias_of is None and name not in served:
            host.wrong("domain-no-address", there.where, f"{name}: no line for {there.prefix}-...")


def _whole(starts: Sequence[bytes], address: bytes) -> list[bytes]:
    """The prefixes of which a wild line takes every address, longest first; ``starts``: all, each with its dash."""
    first = bisect_left(starts, address)
    taken = takewhile(lambda start: start.startswith(address), islice(starts, first, None))
    return sorted((start[:-1] for start in taken), key=len, reverse=True)


def _cut(address: bytes) -> Iterator[bytes]:
    """What stands before a dash, longest first."""
    while b"-" in address:
        address = address.rpartition(b"-")[0]
        yield address


def _unseen(said: Said) -> bool:
    """Whether there is no .qmail file, and the default is ./Mailbox, which POP3 never shows."""
    return not said.found and any(store.kind == MBOX for store in said.stores)


class _Lines(NamedTuple):
    """What all lines have in common; ``exact``, ``wild``: the addresses of the lines of each type."""

    tree: OldHostTree
    host: OldHost
    prefixes: dict[bytes, str]
    exact: set[bytes]
    wild: set[bytes]
    taken: dict[tuple[str, str], Route]


class _Line:
    """One line of users/assign for one domain, and the part of the address behind the domain's prefix."""

    def __init__(self, lines: _Lines, row: Assigned, prefix: bytes, home: bytes) -> None:
        self.tree, self.host, self.row, self.home = lines.tree, lines.host, row, home
        self.name, self.start = lines.prefixes[prefix], prefix + b"-"
        self.taken, self.wild, self.exact = lines.taken, lines.wild, lines.exact

    def add(self) -> None:
        """Exact, a catchall (``+domain-com-``, ``+domain-com``, ``+``), or the extensions of an address."""
        row = self.row
        if not row.wild:
            self._route(row.address[len(self.start) :], row.ext)
        elif not self.start.startswith(row.address):
            self._extensions()
        elif not self._longer(b""):  # else that line takes every address of the domain, also where it refuses them all
            ext = row.ext + self.start[len(row.address) :]
            self._files(b"", ext)
            said = self._wild(ext)
            if said is not None:
                self._add(CATCHALL, said)

    def _extensions(self) -> None:
        row, local = self.row, self.row.address[len(self.start) :]
        bounded, local = local.endswith(b"-"), local.removesuffix(b"-")
        ext = row.ext if bounded else row.ext + b"-"
        if not bounded:
            self.host.wrong("assign-plus-no-boundary", row.where, f"+{shown(row.address)}")
            if row.address not in self.exact:
                self._route(local, row.ext)
            if follow(self.tree, self.host, self.home, row.dash, row.ext + b"popbox=audit") is not None:
                what = f"addresses {shown(local)}...@{self.name} without a dash behind it"
                self.host.lose(row.where, what, "only whole names, and those before a dash, can be declared")
        self._files(local + b"-", ext)
        said = self._wild(ext)
        route = self.taken.get((self.name, local.decode("latin-1").lower()))
        if said is not None and _unseen(said) and route is not None:
            said.stores, said.forwards = list(route.stores), list(route.forwards)
        if said is not None:
            self._extension(local, said, row.where)

    def _wild(self, ext: bytes) -> Said | None:
        """What the line does with an address of which it takes only the beginning."""
        said = follow(self.tree, self.host, self.home, self.row.dash, ext + b"popbox=audit")
        if said is not None and _unseen(said):
            rule = "assign-no-dash" if not self.row.dash else "dotqmail-missing"
            self.host.wrong(rule, self.row.where, f"+{shown(self.row.address)}: no .qmail file takes the rest")
        return said

    def _files(self, start: bytes, ext: bytes) -> None:
        """The addresses ``start`` + NAME for which the home has a file of its own; ``x-default`` is for extensions."""
        base = b".qmail" + self.row.dash + ext.lower().replace(b".", b":")
        for file, _, _ in dotqmails(self.tree, self.host, self.home, base):
            rest = file[len(base) :].replace(b":", b".")
            local = start + rest
            if rest in (b"", b"default") or (base == b".qmail" and rest.startswith(b"-")) or self._longer(local):
                continue
            if rest.endswith(b"-default"):
                said = follow(self.tree, self.host, self.home, self.row.dash, ext + rest[:-7] + b"popbox=audit")
                if said is not None:
                    self._extension(local[:-8], said, said.where)
            else:
                self._route(local, ext + rest)

    def _longer(self, local: bytes) -> bool:
        """Whether a longer line takes this address."""
        whole = self.start + local
        return any(whole[:end] in self.wild for end in range(len(self.row.address) + 1, len(whole) + 1))

    def _route(self, local: bytes, ext: bytes) -> None:
        said = follow(self.tree, self.host, self.home, self.row.dash, ext)
        name = local_part(local)
        if name is None:
            self.host.wrong("name-not-usable", self.row.where, f"address {shown(local)}@{self.name}")
            if said is not None:
                self.host.lose(self.row.where, f"address {shown(local)}@{self.name}", "mailhost takes no such name")
        elif said is not None:
            if _unseen(said):
                self.host.wrong("dotqmail-missing", self.row.where, f"{name}@{self.name}: no {said.where.file}")
            self._add(name, said)

    def _extension(self, local: bytes, said: Said, where: Where) -> None:
        name = local_part(local)
        if name is None:
            self.host.lose(where, f"addresses {shown(local)}-...@{self.name}", "mailhost takes no such name")
        else:
            self.host.extensions.append(Route(self.name, name, where, list(said.stores), list(said.forwards)))

    def _add(self, local: str, said: Said) -> None:
        own = said.where.file.endswith("/.qmail")  # the home's own file, not one for extensions
        route = Route(self.name, local, self.row.where, list(said.stores), list(said.forwards))
        route.home, route.guessed = self.home if own else None, said.guessed
        self.taken.setdefault((self.name, local), route)
