"""vpopmail: ``domains/DOMAIN/vpasswd`` and a directory for each box; users/assign has one line for a domain.

A domain's directory is read by `vpopmail_domain`. Users may be in a SQL database instead, of which a dump is read.
"""

from __future__ import annotations

from popbox.migrate.oldhost.dialects.assign import Assigned, read_assign
from popbox.migrate.oldhost.dialects.control import read_control
from popbox.migrate.oldhost.dialects.dotqmail import home_of
from popbox.migrate.oldhost.dialects.folders import scan
from popbox.migrate.oldhost.dialects.system import leave_accounts, read_aliases
from popbox.migrate.oldhost.dialects.text import domain, file_of
from popbox.migrate.oldhost.dialects.vpopmail_domain import NOT_BOXES, VpopmailDomain
from popbox.migrate.oldhost.dialects.vpopmail_sql import SqlUsers, read_sql
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import Domain, OldHost
from popbox.migrate.oldhost.tree import DIRECTORY, LINK, DirEntry, OldHostTree, look

HOMES = (b"/home/vpopmail", b"/var/vpopmail", b"/usr/local/vpopmail", b"/var/qmail/vpopmail")


def read(tree: OldHostTree, host: OldHost, home: bytes) -> None:
    """Read the domains that users/assign names, and those whose directories it does not."""
    tree.prepare([home + b"/control", home + b"/users", home + b"/alias"])
    control = read_control(tree, host, home)
    rows = read_assign(tree, host, home) if look(tree, home + b"/users")[1] else []
    tree.prepare([top + b"/domains" for top in HOMES if top == tree.base or tree.base == b"/"])
    assigned = _assigned(host, rows)
    tree.prepare([row.home for row in assigned.values()])
    homes = [row.home.partition(b"/domains/")[0] for row in assigned.values() if b"/domains/" in row.home]
    users = read_sql(tree, host, list(dict.fromkeys([*(top for top in HOMES if look(tree, top)[1]), *homes])))
    done: set[bytes] = set()
    for name, row in assigned.items():
        real = home_of(tree, host, row.home, row.where)
        if real is None:
            host.lose(row.where, f"domain {name}", "its directory is not there")
            continue
        VpopmailDomain(tree, host, name, real, users).add()
        done.add(real)
    _unassigned(tree, host, done, users, taken=bool(control.virtual))
    read_aliases(tree, host, control)
    leave_accounts(tree, host, control)


def _assigned(host: OldHost, rows: list[Assigned]) -> dict[str, Assigned]:
    """``+domain-:realdomain:uid:gid:dir:-::`` for each domain; a second name for a directory is its alias."""
    found: dict[str, Assigned] = {}
    first: dict[bytes, str] = {}
    for row in rows:
        name = domain(row.address.removesuffix(b"-"))
        if not row.wild or not row.address.endswith(b"-") or name is None or name not in host.domains:
            host.wrong("assign-no-domain", row.where, f"{shown(row.address)} is no virtual domain's")
            host.lose(row.where, f"line for {shown(row.address)}", "it is not of vpopmail's form")
            continue
        owner = first.setdefault(row.home.rstrip(b"/"), name)
        if owner != name:
            host.domains[name].alias_of = owner
        else:
            found[name] = row
    for name, there in host.domains.items():
        owner = there.alias_of or name
        if owner not in found:
            host.wrong("vpopmail-not-assigned", there.where, f"{name}: no line +{name}-: in users/assign")
    return found


def _unassigned(tree: OldHostTree, host: OldHost, done: set[bytes], users: SqlUsers, *, taken: bool) -> None:
    """Domain directories that no line leads to: reported; taken over where the copy is vpopmail's home alone."""
    for top in HOMES:
        path, entry = look(tree, top + b"/domains")
        if entry is None or entry.kind != DIRECTORY:
            continue
        for name, real, below in _domain_directories(tree, host, path):
            if real in done or below.kind == LINK:
                continue
            where = Where(file_of(real))
            known = domain(name)
            if taken or known is None:
                host.wrong("vpopmail-not-assigned", where, f"{shown(name)} has mailboxes here")
                note = host.leave if taken else host.lose
                note(where, f"domain directory {shown(name)}", "users/assign does not name it, or mailhost refuses it")
                continue
            host.domains.setdefault(known, Domain(known.replace(".", "-"), where))
            VpopmailDomain(tree, host, known, real, users).add()


def _domain_directories(tree: OldHostTree, host: OldHost, path: bytes) -> list[tuple[bytes, bytes, DirEntry]]:
    """Directories of domains, also one level down where vpopmail has hashed them (``0/domain.com``)."""
    found = []
    for name, entry in scan(tree, host, path):
        real = path + b"/" + name
        if entry.kind == DIRECTORY and len(name) == 1:
            found += _domain_directories(tree, host, real)
        elif entry.kind in (DIRECTORY, LINK) and name not in NOT_BOXES:
            found.append((name, real, entry))
    return found
