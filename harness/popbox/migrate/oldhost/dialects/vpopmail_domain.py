"""One domain of vpopmail: its users, and what qmail-local and then vdelivermail do with each address.

vpasswd: ``user:crypt:uid:flags:gecos:directory[:quota[:clear]]``. qmail-local takes ``.qmail-NAME`` before
``.qmail-default``, so such a file decides for a box too. ``.qmail-default`` calls vdelivermail, which goes by the
user's own .qmail, else to the user's Maildir; its last word says what happens to unknown addresses. Source:
vdelivermail.c of vpopmail 5.4 (checkuser, check_forward_deliver, usernotfound).
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from popbox.migrate.oldhost.dialects.dotqmail import candidates, dotqmails, read_dotqmail
from popbox.migrate.oldhost.dialects.folders import scan
from popbox.migrate.oldhost.dialects.poppasswd import FOR_OTHERS, judged
from popbox.migrate.oldhost.dialects.text import address, file_of, local_part, login, numbered, text_of
from popbox.migrate.oldhost.dialects.vpopmail_sql import SqlUsers
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import CATCHALL, MAILDIR, MBOX, Login, OldHost, Route, Said, Store
from popbox.migrate.oldhost.tree import DIRECTORY, FILE, DirEntry, OldHostTree, look
from popbox.printable import counted

FIELDS = (6, 7, 8)
NO_POP, BOUNCE_MAIL = 0x02, 0x10
DELIVER = re.compile(rb"\|\s*(?P<before>.*?)(?:\S*/)?vdelivermail\s+(?:''|\"\"|-)?\s*(?P<rest>[^\s|]+)\s*")
NOT_BOXES = (b"lost+found",)
DEFAULT = b".qmail-default"


class _File(NamedTuple):
    """A .qmail-NAME of the domain; ``rest``: the last word of its call of vdelivermail; ``programs``: others in it."""

    said: Said
    rest: tuple[bytes, Where] | None
    programs: bool


class _User(NamedTuple):
    """A user's directory, what vdelivermail does with mail for it, and where the line is."""

    directory: bytes
    said: Said
    where: Where


def _before_dashes(local: str) -> list[str]:
    """``a-b`` and ``a`` of ``a-b-c``."""
    return [local[:end] for end in range(len(local) - 1, 0, -1) if local[end] == "-"]


class VpopmailDomain:
    """One domain's directory; `add` puts its logins and routes into the host."""

    def __init__(self, tree: OldHostTree, host: OldHost, name: str, home: bytes, sql: SqlUsers) -> None:
        """``home``: the real directory."""
        self.tree, self.host, self.name, self.home, self.sql = tree, host, name, home, sql
        self.users: dict[str, _User] = {}
        self.files: dict[bytes, _File] = {}
        self.barred: set[str] = set()  # users whose mail bounces
        self._known = False  # whether `called` has read the users

    def add(self) -> None:
        """Users first: the other files lead to them."""
        known = self._read_users()
        found = scan(self.tree, self.host, self.home)
        for name, path, entry in dotqmails(self.tree, self.host, self.home, b".qmail-"):
            self.files[name] = self._file(path, entry)
        decided = {local: self._of_user(local, user) for local, user in self.users.items()}
        routes = {local: route for local, route in decided.items() if route is not None}
        for name, file in self.files.items():
            self._alias(name, file, routes)
        self._valiases(routes)
        self.host.routes += routes.values()
        self._default()
        delivered = {store for route in self.host.routes for store in route.stores}
        for local, user in self.users.items():
            self._keep(local, user, routes, delivered)
        self._orphans(found, known=known)

    def called(self, local: str, last: bytes, where: Where) -> Said | None:
        """What vdelivermail does with mail for ``local``, called with this last word; None where it refuses the mail.

        Neither stores nor forwards: the mail is thrown away.
        """
        if not self._known:
            self._known = True
            self._read_users()
        own = address(f"{local}@{self.name}".encode())
        lines = [line for alias, line, _ in self.sql.aliases.get(self.name, []) if alias.lower() == local.encode()]
        if lines:
            targets = [address(line.removeprefix(b"&").strip()) for line in lines if not line.endswith(b"/")]
            stores = [Store(MAILDIR, line.rstrip(b"/")) for line in lines if line.endswith(b"/")]
            return Said(where, stores, [target for target in targets if target])
        user = self.users.get(local)
        if local in self.barred:
            return None
        if user is None:
            return Said(where) if last == b"delete" else self._unknown(last, where)
        loops = user.said.forwards and all(target.lower() == own for target in user.said.forwards)
        return Said(where, [Store(MAILDIR, user.directory + b"/Maildir")]) if loops else user.said

    def _read_users(self) -> bool:
        """vpasswd, or the dump where it has the domain; False where neither does."""
        path = self.home + b"/vpasswd"
        weak: list[Where] = []
        octets = text_of(self.tree, self.host, path)
        for number, line in numbered(octets or b""):
            if line.strip() and not self.sql.of(self.name):
                # The last field ends with the line: a password as it is typed may hold colons (vcdb.c: vgetent).
                self._row(line.split(b":", FIELDS[-1] - 1), Where(file_of(path), number), weak)
        for fields, where in self.sql.of(self.name):
            self._row(fields, where, weak)
        if weak:
            self.host.wrong("login-des", weak[0], f"{counted(len(weak), 'login')} of this file, this one first")
        self._judge_mode(path)
        if self.sql.of(self.name):
            return True
        if self.sql.settings is not None:
            why = f"{file_of(self.sql.settings)} says that users are in SQL, and no dump (*.sql) has them"
            self._without_users("vpasswd-sql", path, why)
        elif octets is None:
            self._without_users("vpasswd-absent", path, "there is no such file, and no SQL dump")
        return octets is not None

    def _without_users(self, rule: str, path: bytes, why: str) -> None:
        where = Where(file_of(path))
        self.host.wrong(rule, where, f"{self.name}: {why}")
        self.host.lose(where, f"users of {self.name}", why)

    def _judge_mode(self, path: bytes) -> None:
        _, entry = look(self.tree, path)
        if entry is not None and entry.kind == FILE and entry.mode & FOR_OTHERS:
            self.host.wrong("passwords-readable", Where(file_of(path)), f"mode {entry.mode:04o}")

    def _row(self, fields: list[bytes], where: Where, weak: list[Where]) -> None:
        name = local_part(fields[0])
        broken = len(fields) not in FIELDS or any(b"\0" in cell or b"\n" in cell for cell in fields)
        if broken or name is None or login(fields[0]) is None:
            rule = "poppasswd-fields" if broken else "name-not-usable"
            self.host.wrong(rule, where, f"{shown(fields[0])!r}: {len(fields)} fields where 6 to 8 must be")
            note = self.host.lose if rule == "name-not-usable" else self.host.leave
            note(where, f"box {shown(fields[0])!r} of {self.name}", "its line cannot be read")
            return
        if name in self.users:
            self.host.wrong("login-twice", where, f"{name} stands in this file already")
            return
        crypt, flags, directory, quota = fields[1], fields[3], fields[5], b"".join(fields[6:7])
        plain = fields[7] if len(fields) > 7 and fields[7] and not crypt else None
        if len(fields) > 7 and fields[7]:
            self.host.wrong("login-plain", where, f"login {name}@{self.name}")
        if plain is None:
            crypt = judged(self.host, f"{name}@{self.name}", crypt, where, weak)
        bits = int(flags[:9]) if flags.isdigit() else 0
        if bits & NO_POP and (crypt or plain):
            self.host.leave(where, f"POP3 barred for {name}@{self.name}", "the login is imported locked")
            crypt, plain = b"!" + crypt.removeprefix(b"!") if crypt else b"", None
        if bits & BOUNCE_MAIL:
            self.barred.add(name)
            self.host.leave(where, f"mail for {name}@{self.name} bounces", "mailhost has no such switch")
        if quota and quota.upper() != b"NOQUOTA":
            self.host.leave(where, f"quota {shown(quota)} of {name}@{self.name}", "mailhost has no quotas")
        self._user(name, directory, where)
        self.host.logins.append(Login(f"{name}@{self.name}", where, directory, crypt=crypt, plain=plain))

    def _user(self, name: str, directory: bytes, where: Where) -> None:
        real, entry = look(self.tree, directory)
        if entry is None or entry.kind != DIRECTORY:
            outside = entry is not None and entry.kind == "outside"
            self.host.wrong(
                "home-outside" if outside else "vpasswd-directory", where, f"{name}@{self.name}: {shown(directory)!r}"
            )
            self.host.leave(where, f"mail of {name}@{self.name}", "its directory is not there; the box is empty")
            real = directory.rstrip(b"/")
        else:
            self.host.homes.add(real)
            for file, _ in scan(self.tree, self.host, real):
                if file.startswith(b".qmail-"):
                    why = "only a vpopmail built with --enable-qmail-ext asks it, which no file says"
                    self.host.lose(Where(file_of(real + b"/" + file)), f"extensions of {name}@{self.name}", why)
        self.users[name] = _User(real, self._own(real, where), where)

    def _own(self, directory: bytes, where: Where) -> Said:
        """What a user's .qmail says; the Maildir without one, with an empty one, and for what only a program took."""
        plain = Said(where, [Store(MAILDIR, directory + b"/Maildir")])
        path, entry = look(self.tree, directory + b"/.qmail")
        if entry is None or entry.kind != FILE or entry.size == 0:
            return plain
        said = read_dotqmail(self.tree, self.host, directory, path, entry)
        for store in said.stores:
            if store.kind == MBOX:
                self.host.leave(said.where, f"delivery to {shown(store.path)}", "vdelivermail delivers to no mbox")
        said.stores = self._real(said)
        if not said.stores and not said.refuses and (said.guessed or not said.forwards):  # programs, or comments
            said.stores = plain.stores
        return said

    def _programs(self, path: bytes) -> bool:
        lines = (text_of(self.tree, self.host, path) or b"").split(b"\n")
        return any(line.startswith(b"|") and not DELIVER.fullmatch(line.rstrip(b" \t")) for line in lines)

    def _file(self, path: bytes, entry: DirEntry) -> _File:
        """One .qmail-NAME; a filter before vdelivermail is left, and the call counts."""
        rest: list[tuple[bytes, Where]] = []

        def call(line: bytes, where: Where) -> bool:
            asked = DELIVER.fullmatch(line)
            if asked is not None:
                rest.append((asked["rest"], where))
            return asked is not None and not asked["before"]

        said = read_dotqmail(self.tree, self.host, self.home, path, entry, call)
        said.stores = self._real(said) + [store for store in said.stores if store.kind == MBOX]
        return _File(said, rest[-1] if rest else None, self._programs(path))

    def _real(self, said: Said) -> list[Store]:
        """The Maildirs, by their real paths: a user's is known by it."""
        found = (look(self.tree, store.path)[0].rstrip(b"/") for store in said.stores if store.kind == MAILDIR)
        return [Store(MAILDIR, path) for path in found]

    def _of_user(self, local: str, user: _User) -> Route | None:
        """The first file that qmail-local finds decides (Q-DOT-1, -2); where it calls vdelivermail, the user's own.

        None where that refuses the mail.
        """
        name = next((name for name in candidates(b"-", local.encode()) if name in self.files), DEFAULT)
        file = self.files.get(name) or _File(Said(user.where), None, programs=False)
        route = Route(self.name, local, user.where, list(file.said.stores), list(file.said.forwards))
        if name == DEFAULT and file.rest is None and not file.programs:
            why = "it calls no vdelivermail" if name in self.files else "there is no such file"
            self.host.wrong("vpopmail-not-asked", Where(file_of(self.home + b"/" + name)), f"{self.name}: {why}")
        if file.said.refuses if file.rest is None else user.said.refuses and not route.stores:
            return None
        loops = route.forwards != [] and all(target.lower() == f"{local}@{self.name}" for target in route.forwards)
        nowhere = not route.stores and (not route.forwards or loops)
        discards = name != DEFAULT and not route.forwards and not file.programs
        if file.rest is not None or (file.programs and not route.stores) or (nowhere and not discards):
            route.stores += [store for store in user.said.stores if store not in route.stores]
            route.forwards += [target for target in user.said.forwards if target not in route.forwards]
        return route

    def _alias(self, name: bytes, file: _File, routes: dict[str, Route]) -> None:
        """An address, or with ``-default`` those before a dash. One with programs alone is named as lost later."""
        rest = name.removeprefix(b".qmail-").replace(b":", b".")
        wide = rest.endswith(b"-default")
        local = local_part(rest.removesuffix(b"-default") if wide else rest)
        if name == DEFAULT or file.said.refuses or (local in self.users and not wide):
            return
        route = Route(self.name, local or "", file.said.where, list(file.said.stores), list(file.said.forwards))
        if file.rest is not None:
            said = self._unknown(*file.rest)
            route.stores += said.stores if said else []
            route.forwards += said.forwards if said else []
            if not route.stores and not route.forwards:
                return  # it refuses, or `_unknown` has said why
        if local is None:
            self.host.lose(file.said.where, f"a .qmail file for {shown(rest)!r}", "mailhost takes no such name")
        elif wide:
            self.host.extensions.append(route)
        else:
            routes[local] = route

    def _valiases(self, routes: dict[str, Route]) -> None:
        """Aliases of the database, which vdelivermail asks first: they take the mail before a box does.

        An alias ``x-default`` takes x-anything that has none of its own. Source: process_valias of vdelivermail.c.
        """
        fresh: dict[str, Route] = {}
        wide: dict[str, Route] = {}
        for alias, line, where in self.sql.aliases.get(self.name, []):
            everything = alias.endswith(b"-default")
            local = local_part(alias.removesuffix(b"-default") if everything else alias)
            if local is None or self._decided(alias.lower()):
                note = self.host.lose if local is None else self.host.leave
                why = "mailhost takes no such name" if local is None else "a .qmail file decides before it"
                note(where, f"alias {shown(alias)} to {shown(line)!r}", why)
                continue
            route = (wide if everything else fresh).setdefault(local, Route(self.name, local, where))
            self._valias(route, line.strip(), where)
        for local, user in self.users.items():
            base = next((one for one in _before_dashes(local) if one in wide), None)
            if local in fresh and not fresh[local].stores and not fresh[local].forwards:
                fresh[local].stores, fresh[local].forwards = list(user.said.stores), list(user.said.forwards)
            elif local not in fresh and base is not None and not self._decided(local.encode()):
                fresh[local] = Route(self.name, local, wide[base].where, wide[base].stores, wide[base].forwards)
        routes |= fresh
        self.host.extensions += wide.values()

    def _decided(self, local: bytes) -> bool:
        """Whether a .qmail file that calls no vdelivermail takes this address."""
        file = next((self.files[name] for name in candidates(b"-", local) if name in self.files), None)
        return file is not None and file.rest is None

    def _valias(self, route: Route, line: bytes, where: Where) -> None:
        """One line, as `deliver_mail` of vdelivermail.c takes it."""
        target = address(line.removeprefix(b"&"))
        if line[:1] in (b".", b"/") and line.endswith(b"/"):
            path = os.path.normpath(os.path.join(self.home, line))
            route.stores.append(Store(MAILDIR, look(self.tree, path)[0]))
        elif target is not None:
            route.forwards.append(target)
        elif line.startswith(b"|"):
            self.host.leave(where, f"program {shown(line[1:].strip())!r}", "mailhost runs none")
        elif not line.startswith(b"#"):
            self.host.lose(where, f"alias {route.local} to {shown(line)!r}", "it is no address and no Maildir")

    def _default(self) -> None:
        """Everything else. Where vdelivermail refuses an unknown address, other lines count for users only."""
        file = self.files.get(DEFAULT)
        if file is None or file.said.refuses:
            return
        said = file.said
        stores, forwards = list(said.stores), list(said.forwards)
        if file.rest is not None and file.rest[0] == b"bounce-no-mailbox":
            return
        if file.rest is not None:
            unknown = self._unknown(*file.rest)
            stores += unknown.stores if unknown else []
            forwards += unknown.forwards if unknown else []
            if not stores and not forwards:
                return  # `_unknown` has said why
        self.host.routes.append(Route(self.name, CATCHALL, said.where, stores, list(dict.fromkeys(forwards))))

    def _unknown(self, rest: bytes, where: Where) -> Said | None:
        """What vdelivermail does with an address that does not exist; None where it refuses or drops the mail."""
        if rest == b"bounce-no-mailbox":
            return None
        target = rest.removeprefix(b"&")
        if rest == b"delete":
            self.host.lose(where, f"unknown addresses of {self.name} are thrown away", "they will bounce")
        elif rest.startswith(b"/"):
            directory = look(self.tree, rest)[0].rstrip(b"/").removesuffix(b"/Maildir")
            return next((user.said for user in self.users.values() if user.directory == directory), None) or self._own(
                directory, where
            )
        elif found := address(target if b"@" in target else target + b"@" + self.name.encode()):
            return Said(where, [], [found])
        else:
            self.host.wrong("catchall-lost", where, f"{shown(rest)!r} is neither a directory nor an address")
            self.host.lose(where, f"catchall {shown(rest)!r}", "it is neither a directory nor an address")
        return None

    def _keep(self, local: str, user: _User, routes: dict[str, Route], delivered: set[Store]) -> None:
        """A user whose mail goes elsewhere keeps login and old mail, under an address that had no other use."""
        store = Store(MAILDIR, user.directory + b"/Maildir")
        if store in delivered or look(self.tree, store.path)[1] is None:
            return
        number, kept = 1, f"{local}-box"
        while local_part(kept.encode()) is None or kept in routes or kept in self.users:
            number += 1
            kept = f"box-{number}" if len(local) > 50 else f"{local}-box{number}"
        routes[kept] = Route(self.name, kept, user.where, [store])
        self.host.routes.append(routes[kept])
        goes = ", ".join(routes[local].forwards if local in routes else []) or "no mailbox of its own"
        why = f"so it stays; the login and the old mail are in the mailbox {kept}@{self.name}"
        self.host.leave(user.where, f"new mail for {local}@{self.name} goes to {goes}, without a copy", why)

    def _orphans(self, found: list[tuple[bytes, DirEntry]], *, known: bool) -> None:
        """Directories with a Maildir that no row names."""
        named = {user.directory.rstrip(b"/") for user in self.users.values()}
        for name, entry in found:
            path = self.home + b"/" + name
            if entry.kind != DIRECTORY or path in named or name in NOT_BOXES:
                continue
            _, maildir = look(self.tree, path + b"/Maildir")
            if maildir is not None and maildir.kind == DIRECTORY:
                if known:
                    self.host.wrong("vpopmail-orphan", Where(file_of(path)), "no row of vpasswd names it")
                why = "vpasswd does not name it" if known else "who may log in to it is not in SOURCE"
                self.host.leave(Where(file_of(path)), "a mailbox directory", why)
