"""Virtual domains without a line in users/assign: .qmail files of a user, an extension, or ~alias (Q-GETPW-1 to -5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from popbox.migrate.oldhost.dialects.assign import Assigned
from popbox.migrate.oldhost.dialects.control import Control
from popbox.migrate.oldhost.dialects.dotqmail import dotqmails, follow, home_of
from popbox.migrate.oldhost.dialects.passwd import PASSWD
from popbox.migrate.oldhost.dialects.text import file_of, local_part, numbered, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import CATCHALL, OldHost, Route
from popbox.migrate.oldhost.tree import DIRECTORY, OldHostTree, look

NAME_OCTETS = 32  # Q-GETPW-1: shorter than this
ANY = b"popbox=audit"  # no address has it


class User(NamedTuple):
    """An account that qmail-getpw may find."""

    home: bytes
    where: Where


def virtual_routes(
    tree: OldHostTree, host: OldHost, control: Control, rows: Iterable[Assigned], taken: dict[tuple[str, str], Route]
) -> None:
    """Add to ``taken`` what the addresses of each virtual domain do that no ``+`` line of users/assign takes."""
    users = accounts(tree, host)
    wild = [row.address for row in rows if row.wild]
    for name, there in host.domains.items():
        prefix = control.virtual.get(name.encode(), (b"", there.where))[0].lower()
        if there.alias_of or not prefix or name.encode() in control.local:
            continue
        if not any((prefix + b"-").startswith(address) for address in wild):
            user, ext = _found(users, prefix, control.home + b"/alias")
            home = _home(tree, host, user)
            if home is not None:
                _add(tree, host, name, home, ext, taken)
            elif user.home != control.home + b"/alias":  # without that one nothing else takes mail: it bounces
                host.lose(user.where, f"addresses of {name}", f"the home {shown(user.home)} of their user is not there")


def accounts(tree: OldHostTree, host: OldHost) -> dict[bytes, User]:
    """All of passwd but those of uid 0, by their names."""
    rows = ((number, line.split(b":")) for number, line in numbered(text_of(tree, host, PASSWD) or b""))
    return {
        fields[0]: User(fields[5], Where(file_of(PASSWD), number))
        for number, fields in rows
        if len(fields) == 7 and fields[2].strip(b"0")
    }


def _found(users: dict[bytes, User], prefix: bytes, alias: bytes) -> tuple[User, bytes]:
    """The account that gets ``prefix-anything``, and what stands before ``anything`` in its extension (Q-GETPW-2)."""
    cuts = [len(prefix), *(end for end in range(len(prefix) - 1, 0, -1) if prefix[end : end + 1] == b"-")]
    for end in cuts:
        if end < NAME_OCTETS and (prefix[:end] in users or prefix[:end] == b"alias"):
            return users.get(prefix[:end], User(alias, Where(file_of(alias)))), (prefix + b"-")[end + 1 :]
    return users.get(b"alias", User(alias, Where(file_of(alias)))), prefix + b"-"


def _home(tree: OldHostTree, host: OldHost, user: User) -> bytes | None:
    tree.prepare([user.home], deep=False)
    _, entry = look(tree, user.home)
    if entry is None or entry.kind != DIRECTORY:
        return None
    return home_of(tree, host, user.home, user.where)


def _add(
    tree: OldHostTree, host: OldHost, name: str, home: bytes, ext: bytes, taken: dict[tuple[str, str], Route]
) -> None:
    """The addresses that have a file, those before a dash that have one, and the one for all others."""
    base = b".qmail-" + ext.replace(b".", b":")
    for file, _, _ in dotqmails(tree, host, home, base):
        rest = file[len(base) :].replace(b":", b".")
        if rest == b"default":
            continue
        wide = rest.endswith(b"-default")
        local = local_part(rest.removesuffix(b"-default") if wide else rest)
        said = follow(tree, host, home, b"-", ext + (rest[:-7] + ANY if wide else rest))
        if said is None:
            continue
        if local is None:
            host.lose(said.where, f"addresses {shown(rest)} of {name}", "mailhost takes no such name")
        elif wide:
            host.extensions.append(Route(name, local, said.where, said.stores, said.forwards))
        else:
            taken.setdefault((name, local), Route(name, local, said.where, said.stores, said.forwards))
    said = follow(tree, host, home, b"-", ext + ANY)
    if said is not None:
        taken.setdefault((name, CATCHALL), Route(name, CATCHALL, said.where, said.stores, said.forwards))
