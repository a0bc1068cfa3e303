"""System accounts: passwd and shadow, with ~/Maildir, ~/Mailbox or a file in /var/spool/mail; and ~alias."""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

from popbox.migrate.oldhost.dialects import getpw
from popbox.migrate.oldhost.dialects.assign import Assigned, read_assign
from popbox.migrate.oldhost.dialects.control import Control, read_control
from popbox.migrate.oldhost.dialects.dotqmail import dotqmails, follow, home_of
from popbox.migrate.oldhost.dialects.folders import scan
from popbox.migrate.oldhost.dialects.passwd import FILES, LOCKS, PASSWD, absent, read_hashes, read_rows
from popbox.migrate.oldhost.dialects.poppasswd import judged
from popbox.migrate.oldhost.dialects.text import domain, file_of, local_part, login, numbered, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import CATCHALL, MAILDIR, MBOX, NO_DOMAIN, Domain, Kept, Login, OldHost, Route, Store
from popbox.migrate.oldhost.opened import holds_mail
from popbox.migrate.oldhost.same_file import identity, one_of_each
from popbox.migrate.oldhost.tree import DIRECTORY, FILE, OldHostTree, hidden, look
from popbox.printable import counted

SPOOLS = (b"/var/spool/mail/", b"/var/mail/")
FIRST_PERSON = 500  # our choice: Red Hat began there, Debian at 1000; below are daemons, unless they have mail
OTHER_FILES = (b".forward", b".procmailrc", b".mailfilter")
ASSIGN = (b"assign", b"cdb")
ONLY_ACCOUNTS = "the dialect system reads lines for one local address: declare these by hand on the new host"
VIRTUAL_TOO = "the dialect system reads lines for one local address; try the dialect howto into another --to"
TRIO = ("postmaster", "mailer-daemon", "root")


class Account(NamedTuple):
    """One line of passwd that may be a person."""

    name: str
    crypt: bytes
    uid: int
    home: bytes
    where: Where


def user_names(tree: OldHostTree, host: OldHost) -> set[bytes] | None:
    """The login names of passwd; None where the copy holds none."""
    octets = text_of(tree, host, PASSWD)
    return None if octets is None else {line.partition(b":")[0] for _, line in numbered(octets)}


def read(tree: OldHostTree, host: OldHost, home: bytes) -> None:
    """Read the accounts; their domain is the first of control/locals, the others are names for it."""
    tree.prepare([*FILES, home + b"/control", home + b"/alias", home + b"/users", *(s[:-1] for s in SPOOLS)])
    control = read_control(tree, host, home)
    name = _local_domain(host, control)
    accounts = _accounts(tree, host)
    tree.prepare([account.home for account in accounts], deep=False)
    tree.prepare([place for account in accounts for place in _places(account.name.encode(), account.home)])
    people = [_Person(tree, host, account, name) for account in accounts]
    for person in people:
        person.add()
    for person in people:
        person.beside()
    rows = list[Assigned]()
    if any(look(tree, home + b"/users/" + file)[1] for file in ASSIGN):
        rows = _beside_pw2u(tree, host, read_assign(tree, host, home), control)
    _assigned(tree, host, rows, control, name)
    virtual: dict[tuple[str, str], Route] = {}
    getpw.virtual_routes(tree, host, control, rows, virtual)
    host.routes += virtual.values()
    read_aliases(tree, host, control, name, {account.name for account in accounts})
    _join_places(tree, host, people)


def _beside_pw2u(tree: OldHostTree, host: OldHost, rows: list[Assigned], control: Control) -> list[Assigned]:
    """The lines that say something else than passwd: those that qmail-pw2u(8) makes of it change nothing."""
    homes = {name: user.home for name, user in getpw.accounts(tree, host).items()}
    usual = {(name, False, b"", b""): home for name, home in homes.items()}
    alias = {b"alias": control.home + b"/alias"}
    usual |= {(name + b"-", True, b"-", b""): home for name, home in (alias | homes).items()}
    usual[b"", True, b"-", b""] = alias[b"alias"]  # all other addresses, as without the line (Q-GETPW-3)
    return [row for row in rows if usual.get((row.address, row.wild, row.dash, row.ext)) != row.home]


def _assigned(tree: OldHostTree, host: OldHost, rows: list[Assigned], control: Control, name: str) -> None:
    """Lines of users/assign for a local address; a line decides before passwd does."""
    prefixes = [there.prefix.encode("latin-1") + b"-" for there in host.domains.values()]
    for row in rows:
        local, home = local_part(row.address), home_of(tree, host, row.home, row.where)
        if row.wild or local is None or row.address.startswith(tuple(prefixes)) or home is None:
            why = VIRTUAL_TOO if control.virtual else ONLY_ACCOUNTS
            host.lose(row.where, f"addresses {shown(row.address)}{'...' if row.wild else ''}", why)
            continue
        said = follow(tree, host, home, row.dash, row.ext)
        host.routes = [route for route in host.routes if (route.domain, route.local) != (name, local)]
        if said is not None:
            host.routes.append(Route(name, local, row.where, list(said.stores), list(said.forwards)))


def _join_places(tree: OldHostTree, host: OldHost, people: list[_Person]) -> None:
    """Let mail for a place of an account where none lies come to the place that its login opens."""
    to: dict[Store, Store] = {}
    for person in people:
        opens = person.opens
        empty = [place for place in person.places if not _holds(tree, place)]
        if opens is not None:
            to |= {store: opens for store in map(_store, empty) if store != opens}
    for route in [*host.routes, *host.extensions]:
        route.stores = list(dict.fromkeys(to.get(store, store) for store in route.stores))


def _local_domain(host: OldHost, control: Control) -> str:
    """The domain that the accounts are in; without one they are given a name that mail cannot reach."""
    names = {domain(key): where for key, where in control.local.items() if key != b"localhost" and domain(key)}
    for key, where in names.items():
        first = next(iter(names))
        host.domains[str(key)] = Domain(str(key).replace(".", "-"), where, None if key == first else str(first))
    if not names:
        where = Where(file_of(control.home + b"/control/locals"))
        host.wrong("no-local-domain", where, "no local domain")
        host.domains[NO_DOMAIN] = Domain("local-invalid", where)
    return str(next(iter(names), NO_DOMAIN))


def _accounts(tree: OldHostTree, host: OldHost) -> list[Account]:
    octets = text_of(tree, host, PASSWD)
    if octets is None:
        host.wrong("unreadable", Where(file_of(PASSWD)), "there is no such file")
        return []
    hashes = read_hashes(tree, host, octets)
    accounts, seen = [], dict[bytes, int | None]()
    weak: list[Where] = []
    locks = 0
    for where, fields in read_rows(tree, host, octets):
        name, crypt, uid, home = fields[0], fields[1], int(fields[2][:10]), fields[5]
        if name in seen:
            host.wrong("login-twice", where, f"{shown(name)} stands in line {seen[name]} already")
            continue
        seen[name] = where.line
        if uid == 0 or name == b"nobody":
            if _has_mail(tree, name, home):
                host.lose(where, f"mail of {shown(name)}", "mailhost makes no mailbox of a system user's")
            continue
        if uid < FIRST_PERSON and not _has_mail(tree, name, home) and look(tree, home + b"/.qmail")[1] is None:
            continue
        if login(name) is None or local_part(name) is None:
            host.wrong("name-not-usable", where, f"account {shown(name)!r}")
            host.lose(where, f"account {shown(name)!r}", "mailhost takes no such name")
            continue
        if crypt == hashes.mark and hashes.rows is not None:
            crypt, where = hashes.rows.get(name, (b"", where))
        locks += crypt in LOCKS
        accounts.append(Account(name.decode("ascii"), judged(host, shown(name), crypt, where, weak), uid, home, where))
    if accounts and locks == len(accounts) and hashes.mark == b"x":
        absent(host, PASSWD, "it has no hash, and there is no etc/shadow or etc/master.passwd that has them")
    if weak:
        host.wrong("login-des", weak[0], f"{counted(len(weak), 'account')}, this one first")
    return accounts


def _has_mail(tree: OldHostTree, name: bytes, home: bytes) -> bool:
    return any(_holds(tree, path) for path in _places(name, home))


def _places(name: bytes, home: bytes) -> list[bytes]:
    """Where the mail of an account may lie, best first."""
    spools = [spool + name for spool in SPOOLS]
    return [home + b"/Maildir", home + b"/Mailbox", *spools] if home.strip(b"/") else spools


def _store(path: bytes) -> Store:
    return Store(MAILDIR if path.endswith(b"/Maildir") else MBOX, path)


def _holds(tree: OldHostTree, path: bytes) -> bool:
    _, entry = look(tree, path)
    return entry is not None and entry.kind in (FILE, DIRECTORY) and holds_mail(tree, _store(path))


def _octets(tree: OldHostTree, path: bytes) -> int:
    """Of an mbox; those of a Maildir are counted with its messages."""
    _, entry = look(tree, path)
    return entry.size if entry is not None and entry.kind == FILE else 0


class _Person:
    """One account: its login, its address, its extension addresses."""

    def __init__(self, tree: OldHostTree, host: OldHost, account: Account, name: str) -> None:
        self.tree, self.host, self.account, self.domain = tree, host, account, name
        self.home = home_of(tree, host, account.home, account.where)
        self.opens: Store | None = None
        places = [look(tree, path)[0] for path in _places(account.name.encode(), self.home or b"")]
        self.places = one_of_each(tree, places)

    def add(self) -> None:
        """Note the route, the login with what it opens, and mail that lies elsewhere."""
        account, host = self.account, self.host
        login = Login(account.name, account.where, account.home, crypt=account.crypt, domain=self.domain)
        host.logins.append(login)
        home = self.home
        why = "its home cannot be looked into" if look(self.tree, account.home)[1] else hidden(self.tree, account.home)
        if home is None and why:
            host.lose(account.where, f"mail of {account.name}", why)
        places = self.places
        there = [path for path in places if look(self.tree, path)[1] is not None]
        filled = [path for path in places if _holds(self.tree, path)]
        route = self._route(home, (filled or there or places)[0])
        stores = list(route.stores) if route is not None else []
        usual = [store for store in stores if look(self.tree, store.path)[0] in places]
        login.opens = next(iter([*usual, *map(_store, filled), *stores, *map(_store, there)]), None)
        self.opens = login.opens
        if route is not None and stores and login.opens is not None and login.opens not in stores:
            told = f"mail goes to {shown(stores[0].path)}, the login is taken to open {shown(login.opens.path)}"
            host.wrong("delivery-not-opened", account.where, f"{account.name}: {told}")
            route.stores = [login.opens, *(store for store in stores if holds_mail(self.tree, store))]
        others = [store for store in stores if holds_mail(self.tree, store)]
        seen = {identity(self.tree, login.opens.path)} if login.opens is not None else set()
        for store in [*map(_store, filled), *others]:
            which = identity(self.tree, store.path)
            if which not in seen:
                octets = _octets(self.tree, look(self.tree, store.path)[0])
                host.kept.append(Kept(store, account.name, self.domain, octets))
                seen.add(which)

    def _route(self, home: bytes | None, usual: bytes) -> Route | None:
        """What happens to mail for the account; None where it takes none. ``usual``: where it lies without a word."""
        name = self.account.name
        if name != name.lower():  # Q-GETPW-1
            return None
        route = Route(self.domain, name, self.account.where)
        if home is not None:
            said = follow(self.tree, self.host, home, b"", b"", tried=1)
            if said is None:
                return None
            if said.found:
                route.stores, route.forwards = list(said.stores), list(said.forwards)
                route.guessed = said.guessed
        elif not hidden(self.tree, self.account.home) and look(self.tree, self.account.home)[1] is None:
            return None  # without a home it is no account for qmail-getpw (Q-GETPW-1)
        if not route.stores and (route.guessed or not route.forwards):
            route.stores = [_store(usual)]
        self.host.routes.append(route)
        return route

    def beside(self) -> None:
        """Files in the home that do something with mail: extension addresses are taken, filters are left."""
        if self.home is None:
            return
        for name, _ in scan(self.tree, self.host, self.home):
            if name in OTHER_FILES:
                where = Where(file_of(self.home + b"/" + name))
                self.host.leave(where, f"{shown(name)} of {self.account.name}", "mailhost runs no filters")
        if self.account.name == self.account.name.lower():
            start = self.account.name.encode() + b"-"
            add_extensions(self.tree, self.host, self.home, self.domain, start, self._others(start))

    def _others(self, start: bytes) -> set[str]:
        """Accounts with longer names, to which such mail goes (Q-GETPW-1)."""
        own = {route.local for route in self.host.routes if route.domain == self.domain}
        return {local for local in own if local.encode("latin-1").startswith(start)}


def add_extensions(tree: OldHostTree, host: OldHost, home: bytes, name: str, start: bytes, accounts: Set[str]) -> None:
    """The addresses ``start`` + NAME that a home has .qmail files for, as far as none of the accounts has them."""
    for file, _, _ in dotqmails(tree, host, home, b".qmail-"):
        rest = file.removeprefix(b".qmail-").replace(b":", b".")
        wide = rest == b"default" or rest.endswith(b"-default")
        said = follow(tree, host, home, b"-", rest[:-7] + b"popbox=audit" if wide else rest)
        whole = (start + rest[:-7]).removesuffix(b"-") if wide else start + rest
        if said is None or _before(whole, accounts):
            continue
        local = CATCHALL if wide and not whole else local_part(whole)
        if local is None:
            host.lose(said.where, f"address {shown(whole)}@{name}", "mailhost takes no such name")
            continue
        route = Route(name, local, said.where, said.stores, said.forwards)
        (host.extensions if wide and whole else host.routes).append(route)


def _before(whole: bytes, accounts: Set[str]) -> bool:
    """Whether the whole name, or a part of it before a dash, is one of these accounts."""
    ends = [len(whole), *(end for end in range(len(whole)) if whole[end : end + 1] == b"-")]
    return any(whole[:end].decode("latin-1") in accounts for end in ends)


def leave_accounts(tree: OldHostTree, host: OldHost, control: Control) -> None:
    """On a host with virtual domains: system accounts that have mail too, which is another import."""
    rows = [(number, line.split(b":")) for number, line in numbered(text_of(tree, host, PASSWD) or b"")]
    people = [(number, row) for number, row in rows if len(row) == 7 and row[5].startswith(b"/")]
    tree.prepare([place for _, row in people for place in (row[5], *_places(row[0], row[5]))], deep=False)
    why = "import it by --dialect system into another --to"
    for number, row in people:
        where, name, home = Where(file_of(PASSWD), number), shown(row[0]), look(tree, row[5])[0]
        if _has_mail(tree, row[0], row[5]):
            host.lose(where, f"mail of the system account {name}", why)
        elif not row[2].strip(b"0") or home in (control.home + b"/alias", *host.homes) or not control.local:
            continue
        elif any(look(tree, place)[1] for place in (home + b"/.qmail", *_places(row[0], home))):
            host.lose(where, f"address and login of the system account {name}", why)


def read_aliases(
    tree: OldHostTree, host: OldHost, control: Control, name: str | None = None, people: Set[str] = frozenset()
) -> None:
    """~alias: the trio that mailhost has too; all others are addresses of the local domain ``name``, else lost."""
    real, entry = look(tree, control.home + b"/alias")
    if entry is None or entry.kind != DIRECTORY:
        return
    for file, _, _ in dotqmails(tree, host, real, b".qmail-"):
        alias = shown(file.removeprefix(b".qmail-").replace(b":", b"."))
        if name is not None and alias not in TRIO:
            continue
        said = follow(tree, host, real, b"-", file.removeprefix(b".qmail-"), tried=1)
        if said is None:
            continue
        if alias in TRIO:
            host.system.append(Route("", alias, said.where, said.stores, said.forwards, guessed=said.guessed))
        else:
            host.lose(said.where, f"system alias {alias}", "mailhost keeps postmaster, mailer-daemon and root only")
    if name is not None:
        add_extensions(tree, host, real, name, b"", people)
