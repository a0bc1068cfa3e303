"""vpopmail: ``domains/DOMAIN/vpasswd`` and a directory for each box; users/assign has one line for a domain.

vpasswd: ``user:crypt:uid:flags:gecos:directory:quota[:clear]``. In the domain's directory ``.qmail-NAME`` is an alias;
``.qmail-default`` hands everything else to vdelivermail, whose last word says what happens to unknown addresses.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from popbox.migrate.oldhost.dialects.assign import Assigned, read_assign
from popbox.migrate.oldhost.dialects.control import read_control
from popbox.migrate.oldhost.dialects.dotqmail import home_of, read_dotqmail
from popbox.migrate.oldhost.dialects.folders import scan
from popbox.migrate.oldhost.dialects.poppasswd import FOR_OTHERS, judged
from popbox.migrate.oldhost.dialects.system import leave_accounts, read_aliases
from popbox.migrate.oldhost.dialects.text import address, domain, file_of, local_part, login, numbered, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import CATCHALL, MAILDIR, Domain, Login, OldHost, Route, Store
from popbox.migrate.oldhost.tree import DIRECTORY, FILE, LINK, DirEntry, OldHostTree, look

HOMES = (b"/home/vpopmail", b"/var/vpopmail", b"/usr/local/vpopmail", b"/var/qmail/vpopmail")
FIELDS = (7, 8)
NO_POP, BOUNCE_MAIL = 0x02, 0x10
DELIVER = re.compile(rb"\|\s*(\S*/)?vdelivermail\s+(?:''|\"\"|-)?\s*(?P<rest>\S+)\s*")
NOT_BOXES = (b"lost+found",)


class Row(NamedTuple):
    """One line of vpasswd."""

    name: str
    directory: bytes
    where: Where


def read(tree: OldHostTree, host: OldHost, home: bytes) -> None:
    """Read the domains that users/assign names, and those whose directories it does not."""
    tree.prepare([home + b"/control", home + b"/users", home + b"/alias"])
    control = read_control(tree, host, home)
    rows = read_assign(tree, host, home) if look(tree, home + b"/users")[1] else []
    tree.prepare([top + b"/domains" for top in HOMES if top == tree.base or tree.base == b"/"])
    assigned = _assigned(host, rows)
    tree.prepare([row.home for row in assigned.values()])
    done: set[bytes] = set()
    for name, row in assigned.items():
        real = home_of(tree, host, row.home, row.where)
        if real is None:
            host.leave(row.where, f"domain {name}", "its directory is not there")
            continue
        _Domain(tree, host, name, real, row.where).add()
        done.add(real)
    _unassigned(tree, host, done, bool(control.virtual))
    read_aliases(tree, host, home)
    leave_accounts(tree, host)


def _assigned(host: OldHost, rows: list[Assigned]) -> dict[str, Assigned]:
    """``+domain-:realdomain:uid:gid:dir:-::`` for each domain; a second name for a directory is its alias."""
    found: dict[str, Assigned] = {}
    first: dict[bytes, str] = {}
    for row in rows:
        name = domain(row.address.removesuffix(b"-"))
        if not row.wild or not row.address.endswith(b"-") or name is None or name not in host.domains:
            host.wrong("assign-no-domain", row.where, f"{shown(row.address)} is no virtual domain's")
            host.leave(row.where, f"line for {shown(row.address)}", "it is not of vpopmail's form")
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


def _unassigned(tree: OldHostTree, host: OldHost, done: set[bytes], virtual: bool) -> None:
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
            if virtual or known is None:
                host.wrong("vpopmail-not-assigned", where, f"{shown(name)} has mailboxes here")
                host.leave(where, f"domain directory {shown(name)}", "users/assign does not name it")
                continue
            host.domains.setdefault(known, Domain(known.replace(".", "-"), where))
            _Domain(tree, host, known, real, where).add()


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


class _Domain:
    """One domain's directory."""

    def __init__(self, tree: OldHostTree, host: OldHost, name: str, home: bytes, where: Where) -> None:
        self.tree, self.host, self.name, self.home, self.where = tree, host, name, home, where
        self.boxes: dict[str, bytes] = {}

    def add(self) -> None:
        """Boxes first: the other files lead to them."""
        path = self.home + b"/vpasswd"
        octets = text_of(self.tree, self.host, path)
        if octets is None:
            self.host.wrong("vpasswd-absent", Where(file_of(path)), f"{self.name}: there is no such file")
        self._judge_mode(path)
        weak: list[Where] = []
        for number, line in numbered(octets or b""):
            if line.strip():
                self._row(line, Where(file_of(path), number), weak)
        if weak:
            self.host.wrong("login-des", weak[0], f"{len(weak)} logins of this file, this one first")
        found = scan(self.tree, self.host, self.home)
        for name, entry in found:
            if name.startswith(b".qmail-") and entry.kind == FILE:
                self._dotqmail(name, entry)
        self._orphans(found)

    def _judge_mode(self, path: bytes) -> None:
        _, entry = look(self.tree, path)
        if entry is not None and entry.kind == FILE and entry.mode & FOR_OTHERS:
            self.host.wrong("passwords-readable", Where(file_of(path)), f"mode {entry.mode:04o}")

    def _row(self, line: bytes, where: Where, weak: list[Where]) -> None:
        fields = line.split(b":")
        name = local_part(fields[0])
        if len(fields) not in FIELDS or b"\0" in line or name is None or login(fields[0]) is None:
            rule = "poppasswd-fields" if len(fields) not in FIELDS or b"\0" in line else "name-not-usable"
            self.host.wrong(rule, where, f"{shown(fields[0])!r}: {len(fields)} fields where 7 or 8 must be")
            self.host.leave(where, f"box {shown(fields[0])!r} of {self.name}", "its line cannot be read")
            return
        if name in self.boxes:
            self.host.wrong("login-twice", where, f"{name} stands in this file already")
            return
        crypt, flags, directory, quota = fields[1], fields[3], fields[5], fields[6]
        self.boxes[name] = directory
        plain = fields[7] if len(fields) > 7 and fields[7] and not crypt else None
        if len(fields) > 7 and fields[7]:
            self.host.wrong("login-plain", where, f"login {name}@{self.name}")
        if plain is None:
            crypt = judged(self.host, f"{name}@{self.name}", crypt, where, weak)
        bits = int(flags[:9]) if flags.isdigit() else 0
        if bits & NO_POP and crypt:
            self.host.leave(where, f"POP3 barred for {name}@{self.name}", "the login is imported locked")
            crypt, plain = b"!" + crypt.removeprefix(b"!"), None
        if bits & BOUNCE_MAIL:
            self.host.leave(where, f"mail for {name}@{self.name} bounces", "mailhost has no such switch")
        if quota and quota.upper() != b"NOQUOTA":
            self.host.leave(where, f"quota {shown(quota)} of {name}@{self.name}", "mailhost has no quotas")
        self._box(name, directory, where)
        self.host.logins.append(Login(f"{name}@{self.name}", where, directory, crypt=crypt, plain=plain))

    def _box(self, name: str, directory: bytes, where: Where) -> None:
        """The box delivers to its Maildir, unless it has a .qmail of its own."""
        real, entry = look(self.tree, directory)
        if entry is None or entry.kind != DIRECTORY:
            outside = entry is not None and entry.kind == "outside"
            rule = "home-outside" if outside else "vpasswd-directory"
            self.host.wrong(rule, where, f"{name}@{self.name}: {shown(directory)!r}")
            self.host.leave(where, f"mail of {name}@{self.name}", "its directory is not there; the box is empty")
            self.host.routes.append(Route(self.name, name, where, [Store(MAILDIR, directory + b"/Maildir")]))
            return
        route = Route(self.name, name, where, [Store(MAILDIR, real + b"/Maildir")])
        path, own = look(self.tree, real + b"/.qmail")
        if own is not None and own.kind == FILE:
            said = read_dotqmail(self.tree, self.host, real, path, own)
            route.forwards = list(said.forwards)
        self.host.homes.add(real)
        self.host.routes.append(route)

    def _dotqmail(self, name: bytes, entry: DirEntry) -> None:
        rest = name.removeprefix(b".qmail-").replace(b":", b".")
        path = self.home + b"/" + name
        where = Where(file_of(path))
        if rest == b"default":
            self._default(path, where)
            return
        local = local_part(rest)
        if local is None or rest.endswith((b"-default", b"-owner")):
            self.host.leave(where, f"a .qmail file for {shown(rest)!r}", "mailhost has no such addresses")
            return
        said = read_dotqmail(self.tree, self.host, self.home, path, entry)
        if local in self.boxes:  # the alias takes the mail before vpasswd is asked
            route = next(r for r in self.host.routes if (r.domain, r.local) == (self.name, local))
            route.forwards += [target for target in said.forwards if target not in route.forwards]
        elif said.stores or said.forwards:
            self.host.routes.append(Route(self.name, local, said.where, said.stores, said.forwards))

    def _default(self, path: bytes, where: Where) -> None:
        """What vdelivermail does with an address that does not exist."""
        for number, line in numbered(text_of(self.tree, self.host, path) or b""):
            here = Where(where.file, number)
            said = DELIVER.fullmatch(line)
            if line.strip() and not line.startswith(b"#"):
                if said is None:
                    self.host.leave(here, f"instruction {shown(line)!r}", "it is not a plain call of vdelivermail")
                else:
                    self._unknown(said["rest"], here)

    def _unknown(self, rest: bytes, where: Where) -> None:
        if rest == b"bounce-no-mailbox":
            return
        if rest == b"delete":
            self.host.leave(where, f"unknown addresses of {self.name} are thrown away", "they will bounce")
        elif rest.startswith(b"/"):
            path = (look(self.tree, rest)[0]).rstrip(b"/").removesuffix(b"/Maildir") + b"/Maildir"
            self.host.routes.append(Route(self.name, CATCHALL, where, [Store(MAILDIR, path)]))
        elif target := address(rest if b"@" in rest else rest + b"@" + self.name.encode()):
            self.host.routes.append(Route(self.name, CATCHALL, where, [], [target]))
        else:
            self.host.leave(where, f"catchall {shown(rest)!r}", "it is neither a directory nor an address")

    def _orphans(self, found: list[tuple[bytes, DirEntry]]) -> None:
        """Directories with a Maildir that no row names."""
        named = {look(self.tree, directory)[0].rstrip(b"/") for directory in self.boxes.values()}
        for name, entry in found:
            path = self.home + b"/" + name
            if entry.kind != DIRECTORY or path in named or name in NOT_BOXES:
                continue
            _, maildir = look(self.tree, path + b"/Maildir")
            if maildir is not None and maildir.kind == DIRECTORY:
                self.host.wrong("vpopmail-orphan", Where(file_of(path)), "no row of vpasswd names it")
                self.host.leave(Where(file_of(path)), "a mailbox directory", "vpasswd does not name it")
