"""The HOWTO's way, and the DTC panel's, which is the same files with other habits.

DTC: logins are ``login@domain``, the real user is ``nobody`` (65534) or a system user, and a domain's catchall is one
line ``+domain-com`` whose home is the directory above the boxes, where ``.qmail-default`` names one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from popbox.migrate.oldhost.dialects.assign import Assigned, read_assign
from popbox.migrate.oldhost.dialects.control import Control, read_control
from popbox.migrate.oldhost.dialects.dotqmail import Said, follow, home_of
from popbox.migrate.oldhost.dialects.getpw import virtual_routes
from popbox.migrate.oldhost.dialects.poppasswd import read_poppasswd
from popbox.migrate.oldhost.dialects.system import leave_accounts, read_aliases, user_names
from popbox.migrate.oldhost.dialects.text import file_of, local_part
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import CATCHALL, OldHost, Route
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree


def read(tree: OldHostTree, host: OldHost, home: bytes) -> None:
    """Read everything; ``home`` is qmail's own, usually /var/qmail."""
    tree.prepare([home + b"/" + part for part in (b"control", b"users", b"alias", b"popboxes")])
    tree.prepare([b"/etc/passwd", b"/etc/poppasswd"])
    control = read_control(tree, host, home)
    rows = read_assign(tree, host, home)
    users = user_names(tree, host)
    for path in (home + b"/users/poppasswd", b"/etc/poppasswd"):
        read_poppasswd(tree, host, path, users)
    tree.prepare([row.home for row in rows] + [login.home for login in host.logins if login.home])
    add_routes(tree, host, rows, control)
    read_aliases(tree, host, home)
    leave_accounts(tree, host)
    if any("@" in login.name for login in host.logins):
        host.dialect = "dtc"


def add_routes(tree: OldHostTree, host: OldHost, rows: Sequence[Assigned], control: Control) -> None:
    """What each line of users/assign does for which address; overlapping prefixes go to the longest."""
    prefixes = {there.prefix.encode("latin-1"): name for name, there in host.domains.items() if not there.alias_of}
    longest = sorted(prefixes, key=len, reverse=True)
    exact = {row.address for row in rows if not row.wild}
    taken: dict[tuple[str, str], Route] = {}
    for row in sorted(rows, key=lambda row: (row.wild, not row.address.endswith(b"-"))):  # an exact line wins (Q-LSP-4)
        if row.wild and not row.address:
            host.leave(row.where, "a catchall for the whole host", "mailhost declares one for each domain")
            continue
        prefix = next((p for p in longest if row.address == p or row.address.startswith(p + b"-")), None)
        if prefix is None:
            host.wrong("assign-no-domain", row.where, f"{shown(row.address)} belongs to no virtual domain")
            host.leave(row.where, f"address {shown(row.address)}", "it belongs to no virtual domain")
            continue
        home = home_of(tree, host, row.home, row.where)
        if home is None:
            host.leave(row.where, f"address {shown(row.address)}", "its home is not there")
            continue
        _Line(tree, host, row, prefixes[prefix], row.address[len(prefix) + 1 :], home, taken).add(exact)
    virtual_routes(tree, host, control, rows, taken)
    host.routes += taken.values()
    served = {route.domain for route in host.routes}
    for name, there in host.domains.items():
        if there.alias_of is None and name not in served:
            host.wrong("domain-no-address", there.where, f"{name}: no line for {there.prefix}-...")


class _Line:
    """One line of users/assign, and the part of the address behind the domain's prefix."""

    def __init__(
        self,
        tree: OldHostTree,
        host: OldHost,
        row: Assigned,
        name: str,
        local: bytes,
        home: bytes,
        taken: dict[tuple[str, str], Route],
    ) -> None:
        self.tree, self.host, self.row, self.name, self.local, self.home = tree, host, row, name, local, home
        self.taken = taken

    def add(self, exact: set[bytes]) -> None:
        """Exact, a catchall (``+domain-com-`` or ``+domain-com``), or the extensions of an address."""
        row = self.row
        if not row.wild:
            self._route(self.local, row.dash, row.ext)
        elif not self.local:
            self._catchall(b"" if row.address.endswith(b"-") else b"-")
        else:
            self._extensions(exact)

    def _extensions(self, exact: set[bytes]) -> None:
        row, bounded, local = self.row, self.local.endswith(b"-"), self.local.removesuffix(b"-")
        between = b"" if bounded else b"-"
        if not bounded:
            self.host.wrong("assign-plus-no-boundary", row.where, f"+{shown(row.address)}")
            if row.address not in exact:
                self._route(local, row.dash, row.ext)
        for name in self._files(b".qmail" + row.dash + row.ext.lower() + between):
            self._route(local + b"-" + name, row.dash, row.ext + between + name)
        said = self._wild(between, b"popbox=audit")
        route = self.taken.get((self.name, local.decode("latin-1")))
        if said is None or not (said.stores or said.forwards):
            return
        if route is not None and said.stores == route.stores and said.found:
            route.extensions = True
        elif said.found:
            self.host.leave(row.where, f"addresses {shown(local)}-...@{self.name}", "they go elsewhere than the box")

    def _wild(self, between: bytes, any_text: bytes) -> Said | None:
        """What the line does with an address of which it takes only the beginning."""
        said = follow(self.tree, self.host, self.home, self.row.dash, self.row.ext + between + any_text)
        if said is not None and not said.found:
            rule = "assign-no-dash" if not self.row.dash else "dotqmail-missing"
            self.host.wrong(rule, self.row.where, f"+{shown(self.row.address)}: no .qmail file takes the rest")
        return said

    def _catchall(self, between: bytes) -> None:
        """The names that the home has a .qmail file for, and everything else."""
        base = b".qmail" + self.row.dash + self.row.ext.lower() + between
        for name in self._files(base):
            self._route(name, self.row.dash, self.row.ext + between + name)
        said = self._wild(between, b"popbox=audit")
        if said is not None:
            self._add(CATCHALL, said)

    def _files(self, base: bytes) -> list[bytes]:
        """Local parts that have a file of their own here; ``.qmail-x-default`` is for extensions and is left."""
        try:
            found = [name for name, _ in self.tree.scan(self.home) if name.startswith(base) and len(name) > len(base)]
        except OldHostError as why:
            self.host.wrong("unreadable", Where(file_of(self.home)), str(why))
            return []
        taken = []
        for name in found:
            where, rest = Where(file_of(self.home + b"/" + name)), name[len(base) :].replace(b":", b".")
            if rest.endswith(b"default") and rest != b"default":
                self.host.leave(where, "a .qmail file for extensions", "mailhost's extensions go to the box itself")
            elif rest != b"default" and base != b".qmail":
                taken.append(rest)
        return taken

    def _route(self, local: bytes, dash: bytes, ext: bytes) -> None:
        said = follow(self.tree, self.host, self.home, dash, ext)
        name = local_part(local)
        if name is None:
            self.host.wrong("name-not-usable", self.row.where, f"address {shown(local)}@{self.name}")
            self.host.leave(self.row.where, f"address {shown(local)}@{self.name}", "mailhost takes no such name")
        elif said is not None:
            if not said.found:
                self.host.wrong("dotqmail-missing", self.row.where, f"{name}@{self.name}: no {said.where.file}")
            self._add(name, said)

    def _add(self, local: str, said: Said) -> None:
        own = said.where.file.endswith("/.qmail")  # the home's own file, not one for extensions
        route = Route(self.name, local, self.row.where, list(said.stores), list(said.forwards))
        route.home = self.home if own else None
        self.taken.setdefault((self.name, local), route)
