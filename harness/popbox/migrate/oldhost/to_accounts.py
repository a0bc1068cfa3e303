"""From routes and logins to domains with mailboxes, forwards and a catchall: what accounts.toml can say.

A mailbox is a store (a Maildir or an mbox). Its own address is the one named like its login or its directory; its
other addresses are aliases, or forwards from other domains. What does not fit is left, by file and line.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import chain, count

from popbox.migrate.oldhost.accounts import Box, DomainAccounts, OldAccounts
from popbox.migrate.oldhost.dialects.text import domain, local_part
from popbox.migrate.oldhost.extensions import settle_extensions
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import CATCHALL, MAILDIR, NO_DOMAIN, Kept, Login, OldHost, Route, Store


def to_accounts(host: OldHost) -> OldAccounts:
    """Convert all that was read; findings about logins and what is left go to the host."""
    accounts = OldAccounts(_domains(host), {})
    work = _Conversion(host, accounts)
    for store, routes in work.by_store().items():
        work.box(store, routes)
    for route in host.routes:
        work.forwards(route)
    work.logins()
    for kept in host.kept:
        work.keep(kept)
    for route in host.routes:
        if route.local == CATCHALL:
            work.catchall(route)
    work.addresses()
    settle_extensions(host, accounts, work.targets)
    for route in host.system:
        work.system(route)
    host.box_paths = {box.store.path for box in accounts.boxes()}
    for box in accounts.boxes():
        if box.login is None:
            host.wrong("login-missing", box.where, f"{box.address} in {shown(box.store.path)}")
            host.leave(box.where, f"login of {box.address}", "the old host has none; the new one gets a locked one")
    return accounts


def _domains(host: OldHost) -> dict[str, DomainAccounts]:
    """Prefixes as they were, changed where mailhost would refuse them as overlapping (H-9) or a system account's."""
    domains: dict[str, DomainAccounts] = {}
    taken: list[str] = []
    for name, there in host.domains.items():
        prefix = there.prefix
        if there.alias_of is None:
            prefix = _prefix(there.prefix, name, taken)
            taken.append(prefix)
        domains[name] = DomainAccounts(prefix, there.alias_of)
    return domains


def _prefix(old: str, name: str, taken: Iterable[str]) -> str:
    """The best one that overlaps none of those that are taken."""
    others = list(taken)
    return next(p for p in _prefixes(old, name) if not any(_overlap(p, other) for other in others))


def _prefixes(old: str, name: str) -> Iterable[str]:
    """What a prefix may become, best first: the old one, the HOWTO's, and one without ``-``, which overlaps nothing."""
    plain, bare = name.replace(".", "-"), name.replace(".", "_").replace("-", "_")
    wanted = [plain if old == name else old, plain, bare]  # vpopmail's prefix is the domain itself
    usable = [
        p for p in wanted if p.strip("abcdefghijklmnopqrstuvwxyz0123456789._-") == "" and p[:1] not in ("", ".", "-")
    ]
    usable = [p for p in usable if p[-1] not in ".-" and p.split("-")[0] != "alias" and len(p) <= 255]
    return chain(usable, (f"{bare}_{number}" for number in count(2)))


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "-") or other.startswith(one + "-")


class _Conversion:
    """The work on one host."""

    def __init__(self, host: OldHost, accounts: OldAccounts) -> None:
        self.host, self.accounts = host, accounts
        self.owner: dict[Store, Box] = {}
        self.login_of: dict[bytes, list[Login]] = {}
        self.given: dict[str, Box] = {}
        self.routes = {(route.domain, route.local): route for route in host.routes}
        for login in host.logins:
            if login.home is not None:
                self.login_of.setdefault(login.home.rstrip(b"/"), []).append(login)

    def by_store(self) -> dict[Store, list[Route]]:
        """Which routes deliver into which store; the first store of a route is the one that counts for its name."""
        found: dict[Store, list[Route]] = {}
        for route in self.host.routes:
            for store in route.stores:
                found.setdefault(store, []).append(route)
        return found

    def box(self, store: Store, routes: list[Route]) -> None:
        """Make the mailbox of a store under its best address, with its aliases."""
        homes = self._homes(store)
        names = {login.name.partition("@")[0].lower() for home in homes for login in self.login_of.get(home, [])}
        base = homes[0].rpartition(b"/")[2].decode("latin-1").lower()
        exact = [route for route in routes if route.local != CATCHALL]
        exact.sort(key=lambda route: (route.local not in names, route.local != base, route.stores[0] != store))
        if exact and exact[0].local not in self.accounts.domains[exact[0].domain].boxes:
            chosen, local = exact[0], exact[0].local
        else:
            chosen, local = routes[0], self._free(routes[0].domain, [*sorted(names), base, "catchall"])
        box = Box(chosen.domain, local, store, chosen.where)
        self.accounts.domains[chosen.domain].boxes[local] = box
        self.owner[store] = box
        for route in exact:
            same = route.domain == box.domain and route.local != box.local
            alike = route.stores == [store] and route.forwards == chosen.forwards
            if same and alike and route.local not in box.aliases:
                box.aliases.append(route.local)

    def _homes(self, store: Store) -> list[bytes]:
        """The homes whose login would open this store: the directory above it; for a spool file no home fits."""
        return [store.path.rpartition(b"/")[0]]

    def _free(self, name: str, wanted: Iterable[str]) -> str:
        """The first usable local part that no other route or box of the domain has."""
        boxes = self.accounts.domains[name].boxes
        texts = chain(wanted, (f"catchall{number}" for number in count(2)))
        locals_ = (local_part(text.encode("latin-1")) for text in texts)
        return next(local for local in locals_ if local and (name, local) not in self.routes and local not in boxes)

    def forwards(self, route: Route) -> None:
        """What an address sends on, and what it delivers into the mailbox of another address."""
        entry = self.accounts.domains[route.domain]
        own = entry.boxes.get(route.local)
        if route.local == CATCHALL or any(self._is_alias(route, store) for store in route.stores):
            return
        others = [box for store in route.stores if (box := self.owner[store]) is not own]
        targets = [*self._beyond(route, others), *(box.address for box in others)]
        targets = [t for t in dict.fromkeys(targets) if t.lower() != f"{route.local}@{route.domain}"]
        if targets:
            entry.forwards.setdefault(route.local, []).extend(targets)

    def _beyond(self, route: Route, boxes: list[Box]) -> list[str]:
        """The forwards of a route that goes to these boxes' addresses, without those that the boxes send on anyway."""
        sent = {one for box in boxes if (own := self.routes.get((box.domain, box.local))) for one in own.forwards}
        return [one for one in route.forwards if one not in sent]

    def _is_alias(self, route: Route, store: Store) -> bool:
        box = self.owner[store]
        return box.domain == route.domain and route.local in box.aliases

    def logins(self) -> None:
        """Each login to the mailbox that it opens; one for each box, the others are left."""
        by_home: dict[bytes, list[Box]] = {}
        for box in self.accounts.boxes():
            by_home.setdefault(self._homes(box.store)[0], []).append(box)
        by_user = {
            box.local: box for box in self.accounts.boxes() if box.store.path.endswith(b"/" + box.local.encode())
        }
        by_address = {box.address: box for box in self.accounts.boxes()}
        for login in self.host.logins:
            near = by_home.get(login.home.rstrip(b"/"), []) if login.home is not None else []
            mine = Store(MAILDIR, (login.home or b"").rstrip(b"/") + b"/Maildir")
            first = next((box for box in near if box.store == mine), near[0] if near else None)
            named = by_user.get(login.name.lower()) if self.host.dialect == "system" else None
            if login.opens is not None:
                self._give(login, self.owner.get(login.opens) or self._orphan(login))
            else:
                self._give(login, first or by_address.get(login.name.lower()) or named or self._orphan(login))

    def _give(self, login: Login, box: Box | None) -> None:
        """The first login of a box is its login; a second row of the same name counts where the first has no secret."""
        owner = self.given.setdefault(login.name, box) if box else None
        if box is None:
            self.host.wrong("login-home", login.where, f"{login.name}: {shown(login.home or b'no home')}")
            note = self.host.leave if login.opens is None else self.host.lose
            note(login.where, f"login {login.name}", "no mailbox goes with it")
        elif owner is not box and owner is not None:
            self.host.lose(login.where, f"login {login.name}", f"it opens {owner.address} already")
        elif box.login is None or (box.login.name == login.name and not box.login.crypt and box.login.plain is None):
            box.login = login
        elif box.login.name != login.name:
            self.host.lose(login.where, f"login {login.name}", f"{box.address} has {box.login.name} already")

    def _orphan(self, login: Login) -> Box | None:
        """A login's mailbox that no address leads to: it gets the login's own, where that is one of our domains."""
        local, at, name = login.name.lower().rpartition("@")
        known = local_part(local.encode("latin-1")) if at and domain(name.encode("latin-1")) else None
        entry = self.accounts.domains.get(name)
        if login.opens is not None:
            return self._apart(login, login.opens)
        if login.home is None or known is None or entry is None or entry.alias_of or (name, known) in self.routes:
            return None
        if (name, CATCHALL) in self.routes:  # which has the mail for that address
            return self._apart(login, Store(MAILDIR, login.home.rstrip(b"/") + b"/Maildir"))
        self.host.wrong("login-no-address", login.where, login.name)
        box = Box(name, known, Store("maildir", login.home.rstrip(b"/") + b"/Maildir"), login.where)
        entry.boxes[known] = box
        return box

    def _apart(self, login: Login, store: Store) -> Box | None:
        """A mailbox with mail to which no address delivers: it gets an address that no other has."""
        local, _, name = login.name.lower().rpartition("@") if "@" in login.name else (login.name.lower(), "", "")
        entry = self.accounts.domains.get(name)
        if entry is None or entry.alias_of:
            above = store.path.rpartition(b"/")[0].rpartition(b"/")[0]
            near = [self.domain_below[above]] if above in self.domain_below else []
            own = (one for one, there in self.accounts.domains.items() if not there.alias_of)
            name = login.domain or next(chain(near, own), "")
        if not name:
            return None
        base = store.path.rpartition(b"/")[0].rpartition(b"/")[2].decode("latin-1")
        if (name, CATCHALL) in self.routes:  # which has the mail for that address
            local, base = f"{local}-box", f"{local}-box"
        names = chain([local, f"{local}-box", base, f"box-{local}"], (f"box-{number}" for number in count(2)))
        box = self._add(name, names, store, login.where)
        self.host.wrong("login-no-address", login.where, login.name)
        self.host.leave(login.where, f"mailbox of login {login.name}", f"no address led to it; it gets {box.address}")
        return box

    @cached_property
    def domain_below(self) -> dict[bytes, str]:
        """For each directory above a home: the domain of the first address that has its home there."""
        found: dict[bytes, str] = {}
        for route in self.host.routes:
            above = b"" if route.home is None else route.home.rpartition(b"/")[0]
            while route.home is not None and above not in found:
                found[above] = route.domain
                above = above.rpartition(b"/")[0]
        return found

    def _add(self, name: str, names: Iterable[str], store: Store, where: Where) -> Box:
        box = Box(name, self._free(name, names), store, where)
        self.accounts.domains[name].boxes[box.local] = box
        self.owner[store] = box
        return box

    def keep(self, kept: Kept) -> None:
        """Mail of an account that lies in more than one place: which of them POP3 showed is not in the files."""
        where = Where(shown(kept.store.path))
        word = "maildir" if kept.store.kind == MAILDIR else "mbox"
        own = [f"{kept.account.lower()}-{word}", f"{kept.account.lower()}-{word}2"]
        names = chain(own, (f"kept-{number}" for number in count(1)))
        box = self.owner.get(kept.store) or self._add(kept.domain, names, kept.store, where)
        if box.login is None or box.login.name != kept.account:
            why = f"POP3 is taken to show one place only; this comes into {box.address}, which that login does not open"
            self.host.lose(where, f"more mail of {kept.account}, {kept.octets} octets", why)

    def targets(self, route: Route) -> set[str]:
        """The addresses that a route's mail reaches on the new host; a store that is no mailbox there has none."""
        return {self.owner[store].address for store in route.stores if store in self.owner} | set(route.forwards)

    def system(self, route: Route) -> None:
        """An address of the host itself; what it delivers to, as ~alias/Mailbox, becomes a mailbox if it is none."""
        boxes = [self.owner.get(store) or self._of_the_host(route, store) for store in route.stores]
        targets = [*route.forwards, *(box.address for box in boxes)]
        if targets:
            self.accounts.system[route.local] = list(dict.fromkeys(targets))
        what = f"system alias {route.local}"
        if not targets:
            self.host.lose(route.where, what, "its mail goes to no mailbox and no address: it will bounce")
        elif route.guessed and not route.stores:
            self.host.lose(route.where, what, "nothing is known of its program; only the forwards remain")

    def _of_the_host(self, route: Route, store: Store) -> Box:
        """In a domain that no mail from outside is for, as every name of the others can be in use."""
        domains = self.accounts.domains
        if NO_DOMAIN not in domains:
            taken = (one.prefix for one in domains.values() if one.alias_of is None)
            domains[NO_DOMAIN] = DomainAccounts(_prefix(NO_DOMAIN, NO_DOMAIN, taken))
        word = "maildir" if store.kind == MAILDIR else "mbox"
        names = chain([f"alias-{word}"], (f"alias-{word}{number}" for number in count(2)))
        box = self._add(NO_DOMAIN, names, store, route.where)
        goes = f"{shown(store.path)} is the locked mailbox {box.address}"
        self.host.leave(route.where, f"where mail for {route.local} goes", f"no login opens it; {goes}")
        return box

    def addresses(self) -> None:
        """Every address that took mail takes it, or is named as lost."""
        taken = {
            name: {*entry.forwards, *(local for box in entry.boxes.values() for local in (box.local, *box.aliases))}
            for name, entry in self.accounts.domains.items()
        }
        lost: list[str] = []
        for route in self.host.routes:
            there = route.local in taken[route.domain]
            if not there and route.local != CATCHALL:  # catchall-lost names that one
                what = f"address {route.local}@{route.domain}"
                self.host.lose(route.where, what, "what its .qmail does cannot be declared; its mail will bounce")
                lost.append(f"{route.local}@{route.domain}")
            elif route.guessed and not route.stores:
                what = f"what a program does with mail for {route.local}@{route.domain}"
                self.host.lose(route.where, what, "nothing is known of it; on the new host only the forwards remain")

        self._forwards_to(lost)

    def _forwards_to(self, lost: list[str]) -> None:
        """Name each forward to an address that is lost. One that forwards to nothing else is lost with it."""
        sends: dict[str, list[tuple[Route, set[str]]]] = {}  # target -> routes, each with its targets that are left
        for route in self.host.routes:
            left = {self._of_its_domain(target) for target in route.forwards}
            for target in left:
                sends.setdefault(target, []).append((route, left))
        work = list(lost)
        while work:
            target = work.pop()
            for route, left in sends.pop(target, ()):
                own = f"{route.local}@{route.domain}"
                from_ = f"the catchall of {route.domain}" if route.local == CATCHALL else f"mail for {own}"
                self.host.lose(
                    route.where, f"{from_} to {target}", "that address is lost, so what is sent on to it is too"
                )
                left.discard(target)
                if not left and not route.stores:
                    work.append(own)

    def _of_its_domain(self, address: str) -> str:
        """The address in lower case, in the domain that its own is another name of."""
        local, _, name = address.lower().rpartition("@")
        entry = self.accounts.domains.get(name)
        return f"{local}@{entry.alias_of or name}" if entry else address.lower()

    def catchall(self, route: Route) -> None:
        """Everything else of a domain goes into one mailbox or forward of it."""
        entry = self.accounts.domains[route.domain]
        boxes = [self.owner[store] for store in route.stores]
        targets = [box.address for box in boxes] + self._beyond(route, boxes)
        if not targets:  # a program, a comment: its line is left already
            what = f"the catchall of {route.domain} delivers to no mailbox and no address"
            self.host.wrong("catchall-lost", route.where, what)
            self.host.lose(route.where, what, "mailhost declares none; mail to unknown addresses will bounce")
            return
        local, _, name = targets[0].rpartition("@")
        if len(targets) == 1 and name == route.domain and (local in entry.boxes or local in entry.forwards):
            entry.catchall = local
            return
        entry.catchall = self._free(route.domain, ["catchall"])
        entry.forwards[entry.catchall] = list(dict.fromkeys(targets))
        self.host.leave(
            route.where,
            f"catchall of {route.domain} to {', '.join(targets)}",
            f"mailhost needs an address for it: {entry.catchall}@{route.domain}, a forward",
        )
