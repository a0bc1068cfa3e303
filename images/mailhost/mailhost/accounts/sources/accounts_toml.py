"""accounts.toml: read strictly into `Accounts`, and written from it.

[logins]                                       # optional
policy = "jb0001"                              # how logins that are not given are numbered
last = { jb = 17 }                             # numbers given already; export writes it

[system]                                       # optional: the host's own three addresses
postmaster = ["joe@domain.com"]

[domains."domain.com"]
prefix = "domain-com"                          # optional: else the HOWTO's
catchall = "joe"                               # optional
[domains."domain.com".mailboxes.joe]
login = "testid"                               # optional: else by the policy
crypt = "DmIMm9e5Hc8ic"                        # or password_file = "..."
extensions = true                              # joe-anything too
delivery = "maildir"                           # or "mbox": ./Mailbox, which POP3 does not see
aliases = ["info"]                             # more addresses of this box
[domains."domain.com".forwards]
sales = ["joe@domain.com", "someone@elsewhere.example"]

[domains."domain.net"]
alias_of = "domain.com"                        # another name; has no other key

[removals]                                     # optional
agreed = ["old.example", "ann@domain.com"]     # may go unattended, however much it is
# end of accounts
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailhost.accounts import names
from mailhost.accounts.errors import InputError
from mailhost.accounts.files.login_numbers import POLICIES
from mailhost.accounts.model import Accounts, Delivery, Domain, Mailbox
from mailhost.accounts.operations.forwards import TRIO
from mailhost.accounts.operations.logins import check_crypt
from mailhost.system.reading import OWN_OCTETS, read_bounded

DELIVERIES = {"maildir": Delivery.MAILDIR, "mbox": Delivery.MBOX}


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of the file: strict, typed access. A method raises InputError with the file, the table and the key."""

    file: str
    name: str
    keys: dict[str, Any]

    def refuse(self, rule: str, key: str = "") -> InputError:
        """An error of this table, or of one of its keys."""
        table = f"[{self.name}]" if self.name else "top level"
        return InputError(rule, file=self.file, field=f"{table}: {key}" if key else table)

    def only(self, *known: str) -> None:
        """Unknown keys are errors."""
        for key in self.keys:
            if key not in known:
                raise self.refuse(f"unknown key; known here: {', '.join(known)}", key)

    def table(self, key: str) -> _Table:
        """A table within; empty where absent."""
        name = f"{self.name}.{_bare(key)}" if self.name else _bare(key)
        value = self.keys.get(key, {})
        if not isinstance(value, dict):
            raise self.refuse("must be a table", key)
        return _Table(self.file, name, value)

    def text(self, key: str) -> str | None:
        """A string, None where absent."""
        value = self.keys.get(key)
        if value is not None and not isinstance(value, str):
            raise self.refuse("must be a string", key)
        return value

    def flag(self, key: str) -> bool:
        """A boolean, False where absent."""
        value = self.keys.get(key, False)
        if not isinstance(value, bool):
            raise self.refuse("must be true or false", key)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings, empty where absent."""
        value = self.keys.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.refuse("must be a list of strings", key)
        return tuple(value)


def domain_table(name: str) -> str:
    """The table of a domain as errors name it."""
    return f"[domains.{_bare(name)}]"


def mailbox_table(domain: str, local: str) -> str:
    """The table of a mailbox as errors name it."""
    return f"[domains.{_bare(domain)}.mailboxes.{_bare(local)}]"


def _bare(key: str) -> str:
    """A key as TOML writes it."""
    plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if plain else '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def load(path: Path) -> Accounts:
    """Read a declaration.

    Raises:
        InputError: the file cannot be read, is not TOML, or says something that is not a declaration.
    """
    return decode(octets_of(path), path)


def octets_of(path: Path) -> bytes:
    """A declaration's octets.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return read_bounded(file.fileno(), OWN_OCTETS, str(path))
    except OSError as why:
        raise InputError(f"cannot be read: {why.strerror}", file=str(path)) from why


def decode(octets: bytes, path: Path) -> Accounts:
    """Read a declaration that was read from ``path``.

    Raises:
        InputError: as `load`.
    """
    try:
        return parse(octets.decode("utf-8"), str(path))
    except UnicodeDecodeError as why:
        raise InputError(f"is not UTF-8 at octet {why.start}", file=str(path)) from why


def parse(text: str, file: str) -> Accounts:
    """Read a declaration's text; ``file`` is its name for errors and where password files are relative to.

    Raises:
        InputError: as `load`.
    """
    try:
        top = _Table(file, "", tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as why:
        raise InputError(f"is not TOML: {why}", file=file) from why
    top.only("logins", "system", "domains", "removals")
    accounts = Accounts()
    _logins(top.table("logins"), accounts)
    system = top.table("system")
    system.only(*TRIO)
    accounts.system = {name: _targets(system, name) for name in TRIO if name in system.keys}
    removals = top.table("removals")
    removals.only("agreed")
    accounts.removals = tuple(_value(removals, "agreed", one, _removal) for one in removals.texts("agreed"))
    domains = top.table("domains")
    for key in domains.keys:
        name = _named(domains, key, names.domain)
        if name in accounts.domains:
            raise domains.refuse("is there twice", key)
        accounts.domains[name] = _domain(domains.table(key), name)
    _check_aliases(domains, accounts)
    _check_logins(domains, accounts)
    return accounts


def _removal(text: str) -> str:
    """A domain, an address (also ``*@domain``, ``joe-*@domain``), or one of the host's own three."""
    local, at, domain = text.rpartition("@")
    if not at:
        return text if text in TRIO else names.domain(domain)
    return f"{local.lower()}@{names.domain(domain)}"


def _logins(table: _Table, accounts: Accounts) -> None:
    table.only("policy", "last")
    accounts.policy = table.text("policy")
    if accounts.policy is not None and accounts.policy not in POLICIES:
        raise table.refuse(f"must be one of {', '.join(POLICIES)}", "policy")
    last = table.table("last")
    for stem, number in last.keys.items():
        if not (stem.isascii() and stem.isalpha() and stem.islower()) or type(number) is not int or number < 0:
            raise last.refuse("must be letters = a number", stem)
        accounts.last[stem] = number


def _named(table: _Table, key: str, check: Any) -> str:
    """A name that is a key, checked; the error names the table."""
    try:
        return str(check(key))
    except InputError as why:
        raise table.refuse(f"{why.field}: {why.rule}") from why


def _domain(table: _Table, name: str) -> Domain:
    alias_of = table.text("alias_of")
    if alias_of is not None:
        table.only("alias_of")
        return Domain("", alias_of=_value(table, "alias_of", alias_of, names.domain))
    table.only("prefix", "catchall", "mailboxes", "forwards", "alias_of")
    prefix = table.text("prefix")
    domain = Domain(names.prefix_of(name) if prefix is None else _value(table, "prefix", prefix, names.prefix))
    boxes, forwards = table.table("mailboxes"), table.table("forwards")
    for key in boxes.keys:
        local = _named(boxes, key, names.local_part)
        if local in domain.mailboxes:
            raise boxes.refuse("is there twice; qmail knows no upper case here", key)
        domain.mailboxes[local] = _mailbox(boxes.table(key))
    for key in forwards.keys:
        local = _named(forwards, key, names.local_part)
        if local in domain.forwards:
            raise forwards.refuse("is there twice; qmail knows no upper case here", key)
        domain.forwards[local] = _targets(forwards, key)
        if f"{local}@{name}" in map(str.lower, domain.forwards[local]):
            raise forwards.refuse("would go to itself; a mailbox of that name keeps a copy here", key)
    _check_addresses(table, boxes, domain)
    return domain


def _value(table: _Table, key: str, value: str, check: Any) -> str:
    """A value, checked; the error names table and key."""
    try:
        return str(check(value))
    except InputError as why:
        raise table.refuse(f"{why.field}: {why.rule}", key) from why


def _targets(table: _Table, key: str) -> tuple[str, ...]:
    targets = tuple(_value(table, key, target, names.target) for target in table.texts(key))
    if not targets or len(set(targets)) < len(targets):
        raise table.refuse("must name one or more addresses, each once", key)
    return targets


def _mailbox(table: _Table) -> Mailbox:
    table.only("login", "crypt", "password_file", "extensions", "delivery", "aliases")
    login, crypt, password_file = table.text("login"), table.text("crypt"), table.text("password_file")
    if crypt is not None and password_file is not None:
        raise table.refuse("give crypt or password_file, not both")
    delivery = table.text("delivery") or "maildir"
    if delivery not in DELIVERIES:
        raise table.refuse(f"must be one of {', '.join(DELIVERIES)}", "delivery")
    if crypt is not None:
        _value(table, "crypt", crypt, check_crypt)
    return Mailbox(
        login=None if login is None else _value(table, "login", login, names.login),
        crypt=crypt,
        extensions=table.flag("extensions"),
        delivery=DELIVERIES[delivery],
        aliases=tuple(sorted(_value(table, "aliases", alias, names.local_part) for alias in table.texts("aliases"))),
        password_file=password_file,
    )


def _check_addresses(table: _Table, boxes: _Table, domain: Domain) -> None:
    """Each address once, and a catchall that is one of them."""
    taken = set(domain.mailboxes) | set(domain.forwards)
    for local, box in domain.mailboxes.items():
        for alias in box.aliases:
            if alias in taken:
                raise boxes.table(local).refuse(f"{alias!r} is an address already", "aliases")
            taken.add(alias)
    catchall = table.text("catchall")
    if catchall is not None:
        catchall = _value(table, "catchall", catchall, names.local_part)
        if catchall not in domain.mailboxes and catchall not in domain.forwards:
            raise table.refuse(f"{catchall!r} is neither a mailbox nor a forward of the domain", "catchall")
    domain.catchall = catchall


def _check_aliases(domains: _Table, accounts: Accounts) -> None:
    """A name for a domain needs the domain, and takes its prefix."""
    for name, domain in accounts.domains.items():
        if domain.alias_of is None:
            continue
        target = accounts.domains.get(domain.alias_of)
        if target is None or target.alias_of is not None:
            raise domains.table(name).refuse(f"{domain.alias_of!r} is not a domain with boxes of its own", "alias_of")
        domain.prefix = target.prefix


def _check_logins(domains: _Table, accounts: Accounts) -> None:
    """A login opens one mailbox."""
    seen: dict[str, _Table] = {}
    for name, domain in accounts.domains.items():
        for local, box in domain.mailboxes.items():
            if box.login is None:
                continue
            table = domains.table(name).table("mailboxes").table(local)
            first = seen.setdefault(box.login, table)
            if first.name != table.name:
                raise table.refuse(f"{box.login!r} is the login of [{first.name}] too", "login")


def render(accounts: Accounts) -> str:
    """The text of a declaration that reads back as these accounts."""
    import tomli_w

    top: dict[str, Any] = {}
    logins: dict[str, Any] = {"policy": accounts.policy} if accounts.policy else {}
    logins |= {"last": accounts.last} if accounts.last else {}
    top |= {"logins": logins} if logins else {}
    top |= {"system": {name: list(targets) for name, targets in accounts.system.items()}} if accounts.system else {}
    top["domains"] = {name: _domain_table(name, domain) for name, domain in accounts.domains.items()}
    return tomli_w.dumps(top)


def _domain_table(name: str, domain: Domain) -> dict[str, Any]:
    if domain.alias_of is not None:
        return {"alias_of": domain.alias_of}
    table: dict[str, Any] = {} if domain.prefix == names.prefix_of(name) else {"prefix": domain.prefix}
    table |= {"catchall": domain.catchall} if domain.catchall is not None else {}
    boxes = {local: _mailbox_table(box) for local, box in domain.mailboxes.items()}
    forwards = {local: list(targets) for local, targets in domain.forwards.items()}
    return table | ({"mailboxes": boxes} if boxes else {}) | ({"forwards": forwards} if forwards else {})


def _mailbox_table(box: Mailbox) -> dict[str, Any]:
    said: dict[str, Any] = {"login": box.login, "crypt": box.crypt, "password_file": box.password_file}
    table = {key: value for key, value in said.items() if value is not None}
    table |= {"extensions": True} if box.extensions else {}
    table |= {"delivery": "mbox"} if box.delivery is Delivery.MBOX else {}
    return table | ({"aliases": list(box.aliases)} if box.aliases else {})
