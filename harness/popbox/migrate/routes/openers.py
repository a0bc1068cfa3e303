"""Which logins open a store of a host of dialect howto or dtc, by poppasswd and the homes alone.

All readers together (`Boxes`) say the same of each login whose home holds a Maildir. One without it they may give
another store: where that could change a verdict, nothing is said here, and the whole host is read.
"""

from __future__ import annotations

from popbox.migrate.oldhost.dialects.howto import poppasswds
from popbox.migrate.oldhost.dialects.poppasswd import read_poppasswd
from popbox.migrate.oldhost.model import OldHost
from popbox.migrate.oldhost.opened import opened_by
from popbox.migrate.oldhost.tree import DIRECTORY, look
from popbox.migrate.routes.side import Side

NO_ONE: frozenset[str] = frozenset()


class Openers:
    """The logins of one host."""

    def __init__(self, side: Side) -> None:
        """Read the poppasswd files, and look into each home."""
        self._surely: dict[bytes, set[str]] = {}
        self._at_home: dict[bytes, set[str]] = {}
        self._anywhere = set[str]()
        self.logins = set[str]()
        """Those that open some store for certain."""
        host = OldHost()
        for path in poppasswds(side.home):
            read_poppasswd(side.tree, host, path, None)
        for login in host.logins:
            home = None if login.home is None else look(side.tree, login.home)[0].rstrip(b"/")
            store = None if home is None else opened_by(home)
            entry = None if store is None else look(side.tree, store.path)[1]
            if store is not None and entry is not None and entry.kind == DIRECTORY:
                self._surely.setdefault(store.path, set()).add(login.name)
                self.logins.add(login.name)
            elif "@" in login.name:
                self._anywhere.add(login.name)  # the mailbox of that address
            elif home is not None:
                self._at_home.setdefault(home, set()).add(login.name)

    def surely(self, store: bytes) -> set[str] | frozenset[str]:
        """Those that open it."""
        return self._surely.get(store, NO_ONE)

    def perhaps(self, store: bytes) -> set[str]:
        """Those that may open it beside."""
        return self._anywhere | self._at_home.get(store.rpartition(b"/")[0], NO_ONE)


def one_box(olds: Openers, old: bytes, news: Openers, new: bytes, *, imported: bool) -> bool | None:
    """Whether two stores are one mailbox, as `Boxes.same` says it; None where that takes all readers.

    ``imported``: whether ``new`` lies where an import may have put the mail of ``old``.
    """
    before, after = olds.surely(old), news.surely(new)
    if before & after:
        return True
    maybe, also = olds.perhaps(old), news.perhaps(new)
    if before:
        return None if before & also or maybe & after or maybe & also else False
    if maybe:
        return None
    if after & olds.logins or (old != new and not imported) or (after and not imported):
        return False
    return None if also or imported else True
