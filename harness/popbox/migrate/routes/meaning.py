"""What a program line of a .qmail file does, where that is known: vdelivermail, deliverquota, spamc, ...

Which programs, and how they decide, is known by the old host's readers. Any other program stays what it is, and is the
same on both hosts when its command is.
"""

from __future__ import annotations

import re

from popbox.migrate.oldhost.dialects.dotqmail import read_dotqmail
from popbox.migrate.oldhost.dialects.programs import meaning
from popbox.migrate.oldhost.dialects.vpopmail import HOMES
from popbox.migrate.oldhost.dialects.vpopmail_domain import DELIVER, VpopmailDomain
from popbox.migrate.oldhost.dialects.vpopmail_sql import SqlUsers, read_sql
from popbox.migrate.oldhost.findings import Where
from popbox.migrate.oldhost.model import OldHost, Store
from popbox.migrate.oldhost.tree import FILE, OldHostError, OldHostTree, look
from popbox.migrate.routes.compare import Answer, End

DELIVERS = re.compile(rb"vdelivermail")  # which decides by the address, not by its line alone
FOLLOW = "follow"
"""The kind of an end that is an address of which the same host must be asked."""
STOPS = "stops"
"""The kind of an end that is a program by which other lines of its file do not count: see `Programs.whole`."""
REFUSED = End("bounced", "refused by a program (#5.1.1)")
HELD = End("deferred", "held by a program")


class Programs:
    """The program lines of one host."""

    def __init__(self, tree: OldHostTree) -> None:
        """``tree``: the host's files."""
        self._tree = tree
        self._domains: dict[bytes, VpopmailDomain] = {}
        self._sql: SqlUsers | None = None

    def meant(self, answer: Answer) -> Answer:
        """The answer with every program that is known replaced by what it does."""
        if all(end.kind != "program" for end in answer.ends):
            return answer
        ends = [one for end in answer.ends for one in (self._end(end) if end.kind == "program" else [end])]
        return answer._replace(ends=tuple(ends))

    def _end(self, end: End) -> list[End]:
        command, home = _octets(end.text), look(self._tree, _octets(end.home))[0]
        called = DELIVER.fullmatch(b"|" + command)
        if called is not None:
            return self._vdelivermail(home, end, called["rest"])
        found = meaning(self._tree, home, command.strip())
        if found is None:
            return [end]
        if found.ends or found.refuses or found.defers:
            return [end._replace(kind=STOPS)]
        return [self._store(store) for store in found.stores] + [End(FOLLOW, target) for target in found.forwards]

    def whole(self, file: bytes) -> list[End] | None:
        """What a .qmail file does that has a program by which other lines do not count; None where not all is known.

        One that refuses or defers (E-52) cancels the forwards and, like one that ends with 99, the lines below it
        (Q-PROG-2).
        """
        real, entry = look(self._tree, file)
        host = OldHost()
        try:
            if entry is None or entry.kind != FILE or DELIVERS.search(self._tree.read(real)):
                return None
            said = read_dotqmail(self._tree, host, file.rpartition(b"/")[0], real, entry)
        except OldHostError:
            return None
        if said.guessed or any(one.lost for one in host.left):
            return None
        stores, forwards = said.held or (said.stores, said.forwards)
        ends = [self._store(store) for store in stores] + [End(FOLLOW, target) for target in forwards]
        if said.held is not None:
            return [*ends, HELD]
        return ends + [REFUSED] * said.bounced or [End("discarded", "")]

    def _store(self, store: Store) -> End:
        return End(store.kind, _text(look(self._tree, store.path)[0]))

    def _vdelivermail(self, home: bytes, end: End, last: bytes) -> list[End]:
        domain = self._domains.get(home)
        if domain is None:
            name = home.rpartition(b"/")[2].decode("latin-1").lower()
            domain = self._domains[home] = VpopmailDomain(self._tree, OldHost(), name, home, self._users(home))
        said = domain.called(end.ext.lower(), last, Where(_text(home)))
        if said is None:
            return [REFUSED]
        ends = [self._store(store) for store in said.stores] + [End(FOLLOW, target) for target in said.forwards]
        return ends or [End("discarded", "")]

    def _users(self, home: bytes) -> SqlUsers:
        if self._sql is None:
            tops = [top for top in HOMES if look(self._tree, top)[1]]
            self._sql = read_sql(self._tree, OldHost(), list(dict.fromkeys([*tops, home.partition(b"/domains/")[0]])))
        return self._sql


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
