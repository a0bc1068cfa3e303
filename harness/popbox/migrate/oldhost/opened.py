"""A mailbox is what a login opens: ``Maildir`` below its home, whatever the .qmail file there says (Q-POP3-1)."""

from __future__ import annotations

from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.model import MAILDIR, OldHost, Route, Store
from popbox.migrate.oldhost.tree import DIRECTORY, ESCAPES, FILE, OUTSIDE, OldHostError, OldHostTree, hidden, look


def opened_by(home: bytes) -> Store:
    """What a login with this real home opens."""
    return Store(MAILDIR, home + b"/Maildir")


def find_opened(tree: OldHostTree, host: OldHost) -> None:
    """Note what each login opens, and let the mail for its home come there too; homes are real paths.

    What a .qmail file delivers to elsewhere keeps its mail: it becomes a mailbox of its own where it holds any.
    """
    homes: dict[bytes, Store] = {}
    tree.prepare([login.home for login in host.logins if login.home])
    for login in host.logins:
        if login.home is None or host.dialect == "system":  # there the server may be one that reads mbox files
            continue
        store = opened_by(login.home)
        _, entry = look(tree, store.path)
        if entry is not None and entry.kind == DIRECTORY:
            login.opens = homes[login.home] = store
        elif entry is not None and entry.kind in (OUTSIDE, ESCAPES):
            host.lose(login.where, f"mail of login {login.name}", f"{shown(store.path)} is not in the copy")
        elif entry is None and login.home.startswith(b"/") and (why := hidden(tree, store.path)):
            host.lose(login.where, f"mail of login {login.name}", f"{shown(store.path)}: {why}")
    theirs = set(homes.values()) | {Store(MAILDIR, look(tree, store.path)[0]) for store in homes.values()}
    tree.prepare([store.path for route in host.routes for store in route.stores if store not in theirs])
    for route in host.routes:
        if route.home in homes and (route.stores or route.guessed or not route.forwards):
            _join(tree, host, route, homes[route.home], theirs)


def _join(tree: OldHostTree, host: OldHost, route: Route, own: Store, theirs: set[Store]) -> None:
    """Let a route of a login's home come into what the login opens, unless all of it is opened by some login."""
    strange = [store for store in route.stores if store not in theirs]
    if route.stores and not strange:
        return
    for store in strange:
        told = f"{route.local}@{route.domain}: mail goes to {shown(store.path)}"
        host.wrong("delivery-not-opened", route.where, f"{told}, the login opens {shown(own.path)}")
    if not route.stores:
        what = f"address {route.local}@{route.domain}"
        host.leave(
            route.where, what, f"its .qmail delivers nothing that is known here: mail comes to {shown(own.path)}"
        )
    route.stores = [own, *(store for store in route.stores if store != own and _kept(tree, store, theirs))]


def _kept(tree: OldHostTree, store: Store, theirs: set[Store]) -> bool:
    return store in theirs or holds_mail(tree, store)


def holds_mail(tree: OldHostTree, store: Store) -> bool:
    """Whether anything lies in it; yes where that cannot be told."""
    real, entry = look(tree, store.path)
    if entry is None or entry.kind == FILE:
        return entry is not None and entry.size > 0
    if entry.kind != DIRECTORY:
        return True
    try:
        parts = [real + part for part in (b"/new", b"/cur") if tree.lstat(real + part)]
        return any(not name.startswith(b".") for part in parts for name, _ in tree.scan(part))
    except OldHostError:
        return True
