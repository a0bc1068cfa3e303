"""Which store of the old host is which of the new one: the one that the same login opens.

A store that no old login opens is where `migrate import` puts it (`popboxes/<prefix>/<local>/Maildir`), unless a login
opens that which opened another on the old host; where an import puts none, it is the same only under the same path. So
an address whose mail another login would fetch is a difference, whatever an import thought, and two hosts that no
import joined can be compared.
"""

from __future__ import annotations

from functools import cached_property

from popbox.migrate.oldhost.accounts import OldAccounts
from popbox.migrate.oldhost.dialects.detect import detect, read_old_host
from popbox.migrate.oldhost.dialects.system import SPOOLS
from popbox.migrate.oldhost.dialects.text import text_of
from popbox.migrate.oldhost.model import OldHost
from popbox.migrate.oldhost.to_accounts import to_accounts
from popbox.migrate.oldhost.tree import DIRECTORY, OldHostError, look
from popbox.migrate.routes.openers import Openers, one_box
from popbox.migrate.routes.side import Side

MAILDIR = "/Maildir"
PLACED = "/popboxes/"
BY_POPPASSWD = ("howto", "dtc")


class Boxes:
    """The stores of two hosts. The first look goes by poppasswd as written; what that does not join, by all readers."""

    def __init__(self, old: Side, new: Side, dialect: str | None = None) -> None:
        """Read the logins of both."""
        self._sides, self._dialect = (old, new), dialect
        self._first = self._joined(stores(old), stores(new))
        self._hosts: list[OldHost | None] = [None, None]
        self._read_of: list[dict[str, set[str]] | None] = [None, None]
        self._imported: dict[str, str] = {}
        self._openers: tuple[Openers, Openers] | None = None
        self._all_readers = False

    @staticmethod
    def _joined(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
        """New store -> old store, by login; rows that name one login twice join nothing here."""
        return {store: old[login] for login, store in new.items() if login in old}

    def same(self, old: str, new: str) -> bool:
        """Whether two stores are one mailbox; see `compare.SameBox`."""
        if self._first.get(new) == old:
            return True
        told = self._by_openers(old, new)
        return self._surely(old, new) if told is None else told

    def host(self, which: int) -> OldHost:
        """All that the readers say of the old host (0) or the new one (1).

        Raises:
            OldHostError: it is of no known dialect.
        """
        there = self._hosts[which]
        if there is None:
            side = self._sides[which]
            there = self._hosts[which] = read_old_host(side.tree, None if which else self._dialect, side.home)
        return there

    def _by_openers(self, old: str, new: str) -> bool | None:
        """What the logins alone say: to read all of two large hosts takes a minute."""
        if self._openers is None and not self._all_readers:
            self._all_readers = not all(self._dialect_of(which) in BY_POPPASSWD for which in (0, 1))
            self._openers = None if self._all_readers else (Openers(self._sides[0]), Openers(self._sides[1]))
        if self._openers is None:
            return None
        imported = new.startswith(_text(self._sides[1].home) + PLACED) and new.endswith(MAILDIR)
        olds, news = self._openers
        return one_box(olds, _octets(old), news, _octets(new), imported=imported)

    def _dialect_of(self, which: int) -> str:
        side = self._sides[which]
        try:
            return (None if which else self._dialect) or detect(side.tree, side.home)
        except OldHostError:
            return ""

    def _surely(self, old: str, new: str) -> bool:
        before = self._opened(0).get(old)
        if before:
            return not before.isdisjoint(self._opened(1).get(new, ()))
        if self._imported.get(old) != new and old != new:
            return False
        after = self._opened(1).get(new)
        return not after or (self._imported.get(old) == new and after.isdisjoint(self._old_logins))

    @cached_property
    def _old_logins(self) -> set[str]:
        return set[str]().union(*self._opened(0).values())

    def _opened(self, which: int) -> dict[str, set[str]]:
        there = self._read_of[which]
        if there is None:
            there = self._read_of[which] = self._read(which)
        return there

    def _read(self, which: int) -> dict[str, set[str]]:
        """Store -> the logins that open it; of the old host also where an import puts each store."""
        try:
            host = self.host(which)
        except OldHostError:
            return {}
        accounts = to_accounts(host)
        opened: dict[str, set[str]] = {}
        for login in host.logins:
            if login.opens is not None:
                opened.setdefault(_text(login.opens.path), set()).add(login.name)
        if host.dialect == "system":  # its server may show any of these (see `opened`)
            for login in host.logins:
                name, home = login.name.encode(), login.home or b"/nowhere"
                for place in (home + b"/Maildir", home + b"/Mailbox", *(spool + name for spool in SPOOLS)):
                    opened.setdefault(_text(place), set()).add(login.name)
        for box in accounts.boxes():
            if box.login is not None:
                opened.setdefault(_text(box.store.path), set()).add(box.login.name)
        if which == 0:
            self._import_of(accounts)
        return opened

    def _import_of(self, accounts: OldAccounts) -> None:
        home = _text(self._sides[1].home)
        for name, domain in accounts.domains.items():
            for local, box in domain.boxes.items():
                prefix = accounts.domains[name].prefix
                self._imported[_text(box.store.path)] = f"{home}{PLACED}{prefix}/{local}{MAILDIR}"


def stores(side: Side) -> dict[str, str]:
    """Login -> the store that it opens, by the HOWTO's file as it is written; real paths are looked at only later."""
    found: dict[str, str] = {}
    octets = text_of(side.tree, OldHost(), side.home + b"/users/poppasswd") or b""
    for line in octets.split(b"\n"):
        fields = line.split(b":")
        if len(fields) == 4 and not line.startswith(b"#"):
            found.setdefault(_text(fields[0]), _text(fields[3].rstrip(b"\r").rstrip(b"/")) + MAILDIR)
    return found


def stores_of(side: Side) -> set[str]:
    """The Maildirs that the logins of its poppasswd open, by their real paths on the host."""
    found = (look(side.tree, store.encode("utf-8", "surrogateescape")) for store in stores(side).values())
    return {_text(real) for real, entry in found if entry is not None and entry.kind == DIRECTORY}


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
