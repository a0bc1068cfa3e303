"""System accounts: passwd and shadow, with ~/Maildir, ~/Mailbox or a file in /var/spool/mail; and ~alias."""

from __future__ import annotations

from typing import NamedTuple

from popbox.migrate.oldhost.dialects.control import Control, read_control
from popbox.migrate.oldhost.dialects.dotqmail import Said, follow, home_of, read_dotqmail
from popbox.migrate.oldhost.dialects.folders import scan
from popbox.migrate.oldhost.dialects.getpw import virtual_routes
from popbox.migrate.oldhost.dialects.poppasswd import judged
from popbox.migrate.oldhost.dialects.text import domain, file_of, local_part, login, numbered, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import MAILDIR, MBOX, Domain, Login, OldHost, Route, Store
from popbox.migrate.oldhost.tree import DIRECTORY, FILE, DirEntry, OldHostTree, look

PASSWD, SHADOW = b"/etc/passwd", b"/etc/shadow"
SPOOLS = (b"/var/spool/mail/", b"/var/mail/")
FIRST_PERSON = 500  # our choice: Red Hat began there, Debian at 1000; below are daemons, unless they have mail
OTHER_FILES = (b".forward", b".procmailrc", b".mailfilter")
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
    tree.prepare([PASSWD, SHADOW, home + b"/control", home + b"/alias", home + b"/users", *(s[:-1] for s in SPOOLS)])
    control = read_control(tree, host, home)
    name = _local_domain(host, control)
    accounts = _accounts(tree, host)
    tree.prepare([account.home for account in accounts], deep=False)
    for account in accounts:
        _Person(tree, host, account, name).add()
    virtual: dict[tuple[str, str], Route] = {}
    virtual_routes(tree, host, control, [], virtual)
    host.routes += virtual.values()
    read_aliases(tree, host, home)


def _local_domain(host: OldHost, control: Control) -> str:
    """The domain that the accounts are in; without one they are given a name that mail cannot reach."""
    names = {domain(key): where for key, where in control.local.items() if key != b"localhost" and domain(key)}
    for key, where in names.items():
        first = next(iter(names))
        host.domains[str(key)] = Domain(str(key).replace(".", "-"), where, None if key == first else str(first))
    if not names:
        where = Where(file_of(control.home + b"/control/locals"))
        host.wrong("no-local-domain", where, "no local domain")
        host.domains["local.invalid"] = Domain("local-invalid", where)
    return str(next(iter(names), "local.invalid"))


def _accounts(tree: OldHostTree, host: OldHost) -> list[Account]:
    octets = text_of(tree, host, PASSWD)
    if octets is None:
        host.wrong("unreadable", Where(file_of(PASSWD)), "there is no such file")
        return []
    shadow = _shadow(tree, host)
    accounts, seen = [], dict[bytes, int]()
    weak: list[Where] = []
    for number, line in numbered(octets):
        where, fields = Where(file_of(PASSWD), number), line.split(b":")
        if len(fields) != 7 or not fields[2].isdigit() or b"\0" in line:
            host.wrong("poppasswd-fields", where, f"{shown(fields[0])!r}: 7 fields must be, the third a number")
            continue
        name, crypt, uid, home = fields[0], fields[1], int(fields[2][:10]), fields[5]
        if name in seen:
            host.wrong("login-twice", where, f"{shown(name)} stands in line {seen[name]} already")
            continue
        seen[name] = number
        if uid == 0 or name == b"nobody":
            if _has_mail(tree, name, home):
                host.leave(where, f"mail of {shown(name)}", "mailhost makes no mailbox of a system user's")
            continue
        if uid < FIRST_PERSON and not _has_mail(tree, name, home):
            continue
        if login(name) is None or local_part(name) is None:
            host.wrong("name-not-usable", where, f"account {shown(name)!r}")
            host.leave(where, f"account {shown(name)!r}", "mailhost takes no such name")
            continue
        if crypt == b"x" and shadow is not None:
            crypt, where = shadow.get(name, (b"", where))
        accounts.append(Account(name.decode("ascii"), judged(host, shown(name), crypt, where, weak), uid, home, where))
    if weak:
        host.wrong("login-des", weak[0], f"{len(weak)} accounts, this one first")
    return accounts


def _shadow(tree: OldHostTree, host: OldHost) -> dict[bytes, tuple[bytes, Where]] | None:
    octets = text_of(tree, host, SHADOW)
    if octets is None:
        host.wrong("shadow-absent", Where(file_of(SHADOW)), "there is no such file")
        return None
    rows = ((number, line.split(b":")) for number, line in numbered(octets))
    return {fields[0]: (fields[1], Where(file_of(SHADOW), number)) for number, fields in rows if len(fields) > 1}


def _has_mail(tree: OldHostTree, name: bytes, home: bytes) -> bool:
    return any(_size(tree, path) for path in _places(name, home))


def _places(name: bytes, home: bytes) -> list[bytes]:
    """Where the mail of an account may lie, best first."""
    spools = [spool + name for spool in SPOOLS]
    return [home + b"/Maildir", home + b"/Mailbox", *spools] if home.strip(b"/") else spools


def _size(tree: OldHostTree, path: bytes) -> int:
    """Octets of an mbox, 1 for a directory, 0 for nothing."""
    _, entry = look(tree, path)
    if entry is None or entry.kind not in (FILE, DIRECTORY):
        return 0
    return entry.size if entry.kind == FILE else 1


class _Person:
    """One account: its login, its address, its extension addresses."""

    def __init__(self, tree: OldHostTree, host: OldHost, account: Account, name: str) -> None:
        self.tree, self.host, self.account, self.domain = tree, host, account, name

    def add(self) -> None:
        """Note the route and the login; mail in more than one place is left, by name."""
        account, host = self.account, self.host
        host.logins.append(Login(account.name, account.where, account.home, crypt=account.crypt))
        home = home_of(self.tree, host, account.home, account.where)
        said = Said(account.where) if home is None else follow(self.tree, host, home, b"", b"", tried=1)
        route = Route(self.domain, account.name.lower(), account.where)
        if said is not None and said.found and home is not None:
            route.stores, route.forwards = list(said.stores), list(said.forwards)
        filled = [path for path in _places(account.name.encode(), home or b"") if _size(self.tree, path)]
        if not route.stores and not route.forwards:
            path = filled[0] if filled else _places(account.name.encode(), home or b"")[0]
            route.stores = [Store(MAILDIR if path.endswith(b"/Maildir") else MBOX, path)]
        for path in filled:
            if path not in {store.path for store in route.stores}:
                what = f"more mail of {account.name}, {_size(self.tree, path)} octets"
                host.leave(Where(file_of(path)), what, f"POP3 is taken to show {_shown(route)} only")
        host.routes.append(route)
        if home is not None:
            self._beside(home)

    def _beside(self, home: bytes) -> None:
        """Files in the home that do something with mail: extension addresses are taken, filters are left."""
        for name, entry in scan(self.tree, self.host, home):
            where = Where(file_of(home + b"/" + name))
            if name in OTHER_FILES:
                self.host.leave(where, f"{shown(name)} of {self.account.name}", "mailhost runs no filters")
            elif name.startswith(b".qmail-") and entry.kind == FILE:
                self._extension(home, name, entry, where)

    def _extension(self, home: bytes, name: bytes, entry: DirEntry, where: Where) -> None:
        said = read_dotqmail(self.tree, self.host, home, home + b"/" + name, entry)
        rest = name.removeprefix(b".qmail-").replace(b":", b".")
        local = local_part(self.account.name.encode() + b"-" + rest)
        if rest == b"default":
            route = self.host.routes[-1]
            route.extensions = {store.path for store in said.stores} == {store.path for store in route.stores}
            if not route.extensions:
                self.host.leave(where, "a .qmail file for extensions", "mailhost's extensions go to the box itself")
        elif local is None or rest.endswith((b"-default", b"-owner")):
            self.host.leave(where, f"a .qmail file for {shown(rest)!r}", "mailhost has no such addresses")
        elif said.stores or said.forwards:
            self.host.routes.insert(-1, Route(self.domain, local, said.where, said.stores, said.forwards))


def _shown(route: Route) -> str:
    return ", ".join(shown(store.path) for store in route.stores) or "what its forwards reach"


def leave_accounts(tree: OldHostTree, host: OldHost) -> None:
    """On a host with virtual domains: system accounts that have mail too, which is another import."""
    rows = [(number, line.split(b":")) for number, line in numbered(text_of(tree, host, PASSWD) or b"")]
    people = [(number, row) for number, row in rows if len(row) == 7 and row[5].startswith(b"/")]
    tree.prepare([place for _, row in people for place in _places(row[0], row[5])], deep=False)
    for number, row in people:
        if _has_mail(tree, row[0], row[5]):
            why = "import it by --dialect system into another --to"
            host.leave(Where(file_of(PASSWD), number), f"mail of the system account {shown(row[0])}", why)


def read_aliases(tree: OldHostTree, host: OldHost, home: bytes) -> None:
    """~alias: the trio that mailhost has too, as far as they are forwards; all others are left, by name."""
    real, entry = look(tree, home + b"/alias")
    if entry is None or entry.kind != DIRECTORY:
        return
    for name, file in scan(tree, host, real):
        if not name.startswith(b".qmail-") or file.kind != FILE:
            continue
        alias, path = shown(name.removeprefix(b".qmail-")), real + b"/" + name
        if file.size == 0:
            host.leave(
                Where(file_of(path)), f"system alias {alias}", "its mail goes to ~alias/Mailbox, which no login opens"
            )
            continue
        said = read_dotqmail(tree, host, real, path, file)
        if alias in TRIO and said.forwards and not said.stores:
            host.system[alias] = said.forwards
        else:
            host.leave(said.where, f"system alias {alias}", "mailhost keeps postmaster, mailer-daemon and root only")
