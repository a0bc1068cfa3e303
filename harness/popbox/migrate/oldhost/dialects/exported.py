"""A directory that ``popbox migrate export`` has made, also after its server has served it: accounts.toml and mail/.

Hashes are those of the server's own file of logins where that is there, as passwords are changed in it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from popbox.migrate.oldhost.dialects.text import domain, file_of, local_part, login, numbered, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.mboxes.index import SUFFIX
from popbox.migrate.oldhost.model import CATCHALL, MAILDIR, MBOX, Domain, Login, OldHost, Route, Store
from popbox.migrate.oldhost.stores import COURIER_IDS, DOVECOT_IDS
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree, look, read_text

ACCOUNTS, SOURCE = b"/accounts.toml", b"/state/source"
ENDED = "state/ended"
"""Written when an export has come to its end: how many losses and problems it has named."""
_SOURCE = re.compile(rb"an export to (dovecot|courier|maildir\+\+|mbox)(?: with Status fields)?\n")
_IDS = {"dovecot": DOVECOT_IDS, "courier": COURIER_IDS}
_LOGINS = {
    "dovecot": (b"/users", re.compile(rb"(?P<name>[^:]*):\{CRYPT\}(?P<crypt>[^:]*)(?::.*)?")),
    "courier": (b"/userdb", re.compile(rb"(?P<name>[^\t]*)\t(?:.*\|)?systempw=(?P<crypt>[^|]*)(?:\|.*)?")),
}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Mailbox(_Table):
    login: str = ""
    crypt: str
    extensions: bool = False
    aliases: list[str] = []


class _Domain(_Table):
    alias_of: str | None = None
    prefix: str | None = None
    catchall: str | None = None
    mailboxes: dict[str, _Mailbox] = {}
    forwards: dict[str, list[str]] = {}


class _Accounts(_Table):
    system: dict[str, list[str]] = {}
    domains: dict[str, _Domain]


def kind_of(tree: OldHostTree) -> str:
    """What it was exported to; empty for any other directory.

    Raises:
        OldHostError: that cannot be read.
    """
    found = _SOURCE.fullmatch(read_text(tree, _top(tree) + SOURCE) or b"")
    return found[1].decode() if found else ""


def _top(tree: OldHostTree) -> bytes:
    return tree.base.rstrip(b"/")


def read(tree: OldHostTree, host: OldHost, _home: bytes) -> None:
    """Read all of it.

    Raises:
        OldHostError: it is no export, or its accounts.toml is not as one writes it.
    """
    top = _top(tree)
    tree.prepare([top + b"/state"], deep=False)
    tree.prepare([top + b"/mail"])
    _Export(tree, host, kind_of(tree), top).read()


class _Export:
    """One directory."""

    def __init__(self, tree: OldHostTree, host: OldHost, kind: str, top: bytes) -> None:
        self.tree, self.host, self.kind, self.top = tree, host, kind, top
        self.where = Where(file_of(top + ACCOUNTS))
        self.ended = top + b"/" + ENDED.encode()
        self.hashes = self._hashes()

    def read(self) -> None:
        accounts = self._accounts()
        self._judge_end()
        for name, table in accounts.domains.items():
            if domain(name.encode()) != name:
                raise OldHostError(f"{self.where}: {name!r} is no domain that an export writes")
            self.host.domains[name] = Domain(table.prefix or name.replace(".", "-"), self.where, table.alias_of)
            self._domain(name, table)
        for name, targets in accounts.system.items():
            self.host.system.append(Route("", name, self.where, forwards=targets))
        self._strangers(accounts)

    def _accounts(self) -> _Accounts:
        text = read_text(self.tree, self.top + ACCOUNTS)
        if not self.kind or text is None:
            raise OldHostError(f"{self.tree.name}: is no directory of `popbox migrate export`")
        try:
            table = tomllib.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError) as why:
            raise OldHostError(f"{self.where}: cannot be read: {why}") from why
        try:
            return _Accounts.model_validate(table)
        except ValidationError as why:
            first = why.errors(include_url=False, include_input=False)[0]
            at = ".".join(map(str, first["loc"]))
            raise OldHostError(f"{self.where}: {at}: {first['msg']}: not as an export writes it") from why

    def _judge_end(self) -> None:
        """An export that was cut off, or named losses, does not hold all that there was."""
        text = text_of(self.tree, self.host, self.ended)
        if text is None:
            why = "the export did not come to its end: run it again"
            self.host.lose(Where(file_of(self.ended)), "what is missing here", why)
        elif text != b"0\n":
            why = f"{shown(text.strip())} losses: its output has named them"
            self.host.lose(Where(file_of(self.ended)), "what the export itself did not bring here", why)

    def _domain(self, name: str, table: _Domain) -> None:
        stores: dict[str, Store] = {}
        for local, box in table.mailboxes.items():
            stores[local] = store = self._store(name, local)
            forwards = table.forwards.get(local, [])
            for one in (local, *box.aliases):
                self._route(name, one, [store], forwards)
            if box.extensions:
                self.host.extensions.append(Route(name, local, self.where, [store], list(forwards)))
            if box.login:
                self._login(name, box, store)
        taken = {one for local, box in table.mailboxes.items() for one in (local, *box.aliases)}
        for local, targets in table.forwards.items():
            if local not in taken:
                self._route(name, local, [], targets)
        if table.catchall is not None:
            own = [stores[table.catchall]] if table.catchall in stores else []
            self.host.routes.append(Route(name, CATCHALL, self.where, own, [] if own else [f"{table.catchall}@{name}"]))

    def _route(self, name: str, local: str, stores: list[Store], forwards: list[str]) -> None:
        if local_part(local.encode()) != local:
            raise OldHostError(f"{self.where}: {local!r} is no address that an export writes")
        self.host.routes.append(Route(name, local, self.where, list(stores), list(forwards)))

    def _store(self, name: str, local: str) -> Store:
        """Where the mail of a mailbox lies, and whether what keeps its UIDLs is beside it."""
        place = f"{os.fsdecode(self.top)}/mail/{name}/{local}".encode()
        store = Store(MBOX, place + b".mbox") if self.kind == "mbox" else Store(MAILDIR, place + b"/Maildir")
        where = Where(file_of(store.path))
        if look(self.tree, store.path)[1] is None:
            self.host.lose(where, f"mail of {local}@{name}", "it is not here: bring mail/ back, where it was moved")
            return store
        beside = store.path + SUFFIX if self.kind == "mbox" else store.path + b"/" + _IDS.get(self.kind, b"new")
        if look(self.tree, beside)[1] is None:
            self.host.lose(where, f"UIDLs of {local}@{name}", f"{shown(beside)} is not here")
        return store

    def _login(self, name: str, box: _Mailbox, store: Store) -> None:
        if login(box.login.encode()) is None:
            raise OldHostError(f"{self.where}: {box.login!r} is no login that an export writes")
        found = Login(box.login, self.where, None, box.crypt.encode(), opens=store, domain=name)
        if self.hashes is not None and found.has_hash:
            crypt, where = self.hashes.pop(box.login, (b"", self.where))
            if crypt != found.crypt:
                told = "it is another one than in accounts.toml, and counts" if crypt else "none there: it comes locked"
                (self.host.leave if crypt else self.host.lose)(where, f"password of {box.login}", told)
            found.crypt = crypt
        self.host.logins.append(found)

    def _hashes(self) -> dict[str, tuple[bytes, Where]] | None:
        """login -> hash of the server's own file; None where there is none, or it is not here."""
        if self.kind not in _LOGINS:
            self.host.leave(self.where, "passwords", "they are those of the export; later ones are not here")
            return None
        file, line_of = _LOGINS[self.kind]
        text = text_of(self.tree, self.host, self.top + file)
        where = Where(file_of(self.top + file))
        if text is None:
            self.host.leave(where, "passwords", "the file is not here, so they are those of the export")
            return None
        return {
            found["name"].decode("latin-1"): (found["crypt"], Where(where.file, number))
            for number, line in numbered(text)
            if (found := line_of.fullmatch(line))
        }

    def _strangers(self, accounts: _Accounts) -> None:
        """Logins and mailboxes that the other server has got since."""
        for name, (_, where) in (self.hashes or {}).items():
            self.host.lose(where, f"login {shown(name.encode('latin-1'))}", "accounts.toml has no mailbox for it")
        for name, local, path in self._mailboxes():
            table = accounts.domains.get(name)
            if table is None or local not in table.mailboxes:
                self.host.lose(Where(file_of(path)), "mail", "accounts.toml has no mailbox for it")

    def _mailboxes(self) -> Iterator[tuple[str, str, bytes]]:
        """Domain, local part and path of what lies two levels below mail/."""
        for name, _ in self._names(self.top + b"/mail"):
            for local, path in self._names(self.top + b"/mail/" + name):
                suffix = b".mbox" if self.kind == "mbox" else b""
                if not local.endswith(SUFFIX) and local.endswith(suffix):
                    yield os.fsdecode(name), os.fsdecode(local.removesuffix(suffix)), path

    def _names(self, path: bytes) -> list[tuple[bytes, bytes]]:
        real, entry = look(self.tree, path)
        if entry is None:
            return []
        try:
            return [(one, path + b"/" + one) for one, _ in self.tree.scan(real)]
        except OldHostError as why:
            self.host.unreadable(Where(file_of(path)), str(why))
            return []
