"""One mbox under several names, by links of either kind, is one mailbox: it is counted and imported once."""

from __future__ import annotations

from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.model import MBOX, OldHost, Store
from popbox.migrate.oldhost.tree import FILE, OldHostTree, look

Identity = bytes | tuple[int, int]


def identity(tree: OldHostTree, path: bytes) -> Identity:
    """What two names of one file have in common: the real path, or the inode where it has more than one name."""
    real, entry = look(tree, path)
    return entry.inode if entry is not None and entry.kind == FILE and entry.links > 1 else real


def one_of_each(tree: OldHostTree, paths: list[bytes]) -> list[bytes]:
    """The paths without those that lead to a file that an earlier one leads to."""
    found: dict[Identity, bytes] = {}
    for path in paths:
        found.setdefault(identity(tree, path), path)
    return list(found.values())


def join_same_files(tree: OldHostTree, host: OldHost) -> None:
    """Let all that lead to one mbox name it alike: routes, and logins, which then open the same mailbox."""
    names: dict[Identity, Store] = {}

    def same(store: Store) -> Store:
        return names.setdefault(identity(tree, store.path), store) if store.kind == MBOX else store

    for route in [*host.routes, *host.extensions]:
        for store in route.stores:
            if same(store) != store and look(tree, store.path)[0] != look(tree, same(store).path)[0]:
                told = f"{route.local}@{route.domain}: {shown(store.path)} is {shown(same(store).path)} too"
                host.wrong("mbox-shared", route.where, told)
        route.stores = list(dict.fromkeys(map(same, route.stores)))
    for login in host.logins:
        login.opens = None if login.opens is None else same(login.opens)
    host.kept = [kept for kept in host.kept if same(kept.store) == kept.store]
