"""Which mailbox of the new host stands for which one of the old host: by login, and by address where there is none."""

from __future__ import annotations

from dataclasses import dataclass

from popbox.migrate.oldhost.accounts import OldAccounts
from popbox.migrate.oldhost.dialects.detect import read_old_host
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.model import Login, OldHost, Store
from popbox.migrate.oldhost.to_accounts import to_accounts
from popbox.migrate.oldhost.tree import ESCAPES, OUTSIDE, OldHostError, OldHostTree, hidden, look


@dataclass(frozen=True, slots=True)
class Pair:
    """One mailbox. ``old`` None: the login opens none there. ``refused``: why the new host would not let it in.

    ``outside``: why it cannot be told what the old login opens; ``hashes``: what the two hashes say.
    """

    old_login: str
    new_login: str
    old: Store | None
    new: Store | None
    refused: str = ""
    outside: str = ""
    hashes: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """One host as its files describe it."""

    tree: OldHostTree
    host: OldHost
    accounts: OldAccounts

    @property
    def logins(self) -> dict[str, Login]:
        """By name; the first of two rows counts."""
        return {login.name: login for login in reversed(self.host.logins)}

    def opens(self, login: Login) -> Store | None:
        """What a login opens."""
        owned = (box.store for box in self.accounts.boxes() if box.login is login)
        return login.opens or next(owned, None)


def known(tree: OldHostTree, dialect: str | None, home: bytes) -> Known:
    """Read a host.

    Raises:
        OldHostError: the files are of no known host, or cannot be read.
    """
    host = read_old_host(tree, dialect, home)
    return Known(tree, host, to_accounts(host))


def pairs(old: Known, new: Known) -> list[Pair]:
    """Every login of the old host, then every mailbox with no login of its own."""
    there, boxes = new.logins, {box.address: box for box in new.accounts.boxes()}
    found = [_of_login(old, new, login, there.get(name)) for name, login in sorted(old.logins.items())]
    covered = {pair.old for pair in found}
    for box in old.accounts.boxes():
        if box.store not in covered:
            twin = boxes.get(box.address)
            refused = "" if twin else f"the new host has no mailbox {box.address}"
            name = box.address + " (mailbox)" * (box.address in old.logins)  # that login opens another one
            found.append(Pair(name, name, box.store, twin.store if twin else None, refused))
    return found


def _of_login(old: Known, new: Known, login: Login, there: Login | None) -> Pair:
    store = old.opens(login)
    outside = "" if store else _outside(old.tree, login)
    if there is None:
        return Pair(login.name, login.name, store, None, "the new host has no such login", outside)
    opened = new.opens(there)
    refused = "" if opened else f"the login opens no Maildir on the new host ({shown(there.home or b'no home')})"
    if _locked(there) and not _locked(login):
        refused = "the login is locked on the new host, and not on the old one"
    same = bool(login.crypt) and login.crypt == there.crypt
    hashes = "the hash is the same on both hosts" if same else "the hashes differ"
    return Pair(login.name, login.name, store, opened, refused, outside, hashes)


def _locked(login: Login) -> bool:
    return login.plain is None and not login.has_hash


def _outside(tree: OldHostTree, login: Login) -> str:
    if not login.home or not login.home.startswith(b"/"):
        return ""
    path = login.home + b"/Maildir"
    entry = look(tree, path)[1]
    why = hidden(tree, path) if entry is None else "is not in the copy" if entry.kind in (OUTSIDE, ESCAPES) else ""
    return f"{shown(path)}: {why}" if why else ""


def check(new: Known) -> None:
    """See that it is a host of logins.

    Raises:
        OldHostError: it has none.
    """
    if not new.host.logins:
        raise OldHostError(f"{new.tree.name}: is no mailhost home: its users/poppasswd has no login")
