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

from pathlib import Path
from typing import Any

import tomli

from mailhost.accounts import names
from mailhost.accounts.errors import InputError
from mailhost.accounts.files.login_numbers import POLICIES
from mailhost.accounts.model import Accounts, Delivery, Domain, Mailbox
from mailhost.accounts.operations.forwards import TRIO
from mailhost.accounts.operations.logins import check_crypt
from mailhost.accounts.sources.accounts_schema import accounts_schema
from mailhost.accounts.sources.tables import Mistakes, Table, bare
from mailhost.accounts.sources.toml_lines import lines_of
from mailhost.system.reading import read_given

_SCHEMA = accounts_schema()
_TABLES = {"": _SCHEMA, **_SCHEMA["properties"], **_SCHEMA["definitions"]}
_KEYS = {name: tuple(table.get("properties", ())) for name, table in _TABLES.items()}
DELIVERIES = {"maildir": Delivery.MAILDIR, "mbox": Delivery.MBOX}
TWICE = "is there twice; qmail knows no upper case here"


def domain_table(name: str) -> str:
    """The table of a domain as errors name it."""
    return f"[domains.{bare(name)}]"


def mailbox_table(domain: str, local: str) -> str:
    """The table of a mailbox as errors name it."""
    return f"[domains.{bare(domain)}.mailboxes.{bare(local)}]"


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
        return read_given(path)
    except OSError as why:
        raise InputError(f"cannot be read: {why.strerror}", file=str(path)) from why


def decode(octets: bytes, path: Path) -> Accounts:
    """Read a declaration that was read from ``path``.

    Raises:
        InputError: as `load`.
    """
    try:
        return parse(octets.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as why:
        raise InputError(f"is not UTF-8 at octet {why.start}", file=str(path)) from why


def parse(text: str, file: str) -> Accounts:
    """Read a declaration's text; ``file`` is its name for errors and where password files are relative to.

    Raises:
        InputError: as `load`; names all mistakes, each with its line.
    """
    try:
        table = tomli.loads(text)
    except (ValueError, RecursionError) as why:  # ValueError: also a number of more digits than Python takes
        raise InputError(f"is not TOML: {why}", file=file) from why
    top = Table(Mistakes(file), (), table)
    accounts = _accounts(top)
    if top.mistakes.found:
        top.mistakes.check(lines_of(text))
    return accounts


def _accounts(top: Table) -> Accounts:
    top.only(_KEYS[""])
    accounts = Accounts()
    _logins(top.table("logins"), accounts)
    system = top.table("system")
    system.only(_KEYS["system"])
    accounts.system = {name: _targets(system, name) for name in TRIO if name in system.keys}
    removals = top.table("removals")
    removals.only(_KEYS["removals"])
    accounts.removals = removals.texts("agreed", _removal)
    tables = top.table("domains").tables(names.domain, "is there twice")
    logins: dict[str, Table] = {}
    accounts.domains = {name: _domain(table, name, logins) for name, table in tables.items()}
    for name, table in tables.items():
        _follow_alias(table, accounts.domains[name], accounts)
    return accounts


def _removal(text: str) -> str:
    """A domain, an address (also ``*@domain``, ``joe-*@domain``), or one of the host's own three."""
    local, at, domain = text.rpartition("@")
    if not at:
        return text if text in TRIO else names.domain(domain)
    return f"{local.lower()}@{names.domain(domain)}"


def _logins(table: Table, accounts: Accounts) -> None:
    table.only(_KEYS["logins"])
    accounts.policy = table.text("policy")
    if accounts.policy is not None and accounts.policy not in POLICIES:
        table.wrong(f"must be one of {', '.join(POLICIES)}", "policy")
    last = table.table("last")
    for stem, number in last.keys.items():
        if not (stem.isascii() and stem.isalpha() and stem.islower()) or type(number) is not int or number < 0:
            last.wrong("must be letters = a number", stem)
        accounts.last[stem] = number


def _domain(table: Table, name: str, logins: dict[str, Table]) -> Domain:
    if "alias_of" in table.keys:
        table.only(("alias_of",))
        return Domain("", alias_of=table.text("alias_of", names.domain))
    table.only(_KEYS["domain"])
    boxes = table.table("mailboxes").tables(names.local_part, TWICE)
    domain = Domain(
        table.text("prefix", names.prefix) or names.prefix_of(name),
        {local: _mailbox(box, logins) for local, box in boxes.items()},
        _forwards(table.table("forwards"), name),
        table.text("catchall", names.local_part),
    )
    taken = {*domain.mailboxes, *domain.forwards}
    if domain.catchall is not None and domain.catchall not in taken:
        table.wrong(f"{domain.catchall!r} is neither a mailbox nor a forward of the domain", "catchall")
    for local, box in domain.mailboxes.items():
        for alias in box.aliases:
            if alias in taken:
                boxes[local].wrong(f"{alias!r} is an address already", "aliases")
            taken.add(alias)
    return domain


def _mailbox(table: Table, logins: dict[str, Table]) -> Mailbox:
    table.only(_KEYS["mailbox"])
    crypt, password_file = table.text("crypt"), table.text("password_file")
    if crypt is not None and password_file is not None:
        table.wrong("give crypt or password_file, not both")
    if crypt is not None:
        table.checked("crypt", crypt, check_crypt)
    delivery = table.text("delivery") or "maildir"
    if delivery not in DELIVERIES:
        table.wrong(f"must be one of {', '.join(DELIVERIES)}", "delivery")
    login = table.text("login", names.login)
    if login is not None and (first := logins.setdefault(login, table)) is not table:
        table.wrong(f"{login!r} is the login of [{first.name}] too", "login")
    return Mailbox(
        login=login,
        crypt=crypt,
        extensions=table.flag("extensions"),
        delivery=DELIVERIES.get(delivery, Delivery.MAILDIR),
        aliases=tuple(sorted(table.texts("aliases", names.local_part))),
        password_file=password_file,
    )


def _forwards(table: Table, domain: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for local, key in table.names(names.local_part, TWICE).items():
        found[local] = _targets(table, key)
        if f"{local}@{domain}" in map(str.lower, found[local]):
            table.wrong("would go to itself; a mailbox of that name keeps a copy here", key)
    return found


def _targets(table: Table, key: str) -> tuple[str, ...]:
    before = len(table.mistakes.found)
    targets = table.texts(key, names.target)
    if len(table.mistakes.found) == before and (not targets or len(set(targets)) < len(targets)):
        table.wrong("must name one or more addresses, each once", key)
    return targets


def _follow_alias(table: Table, domain: Domain, accounts: Accounts) -> None:
    """A name for a domain needs the domain, and takes its prefix."""
    if domain.alias_of is None:
        return
    target = accounts.domains.get(domain.alias_of)
    if target is None or target.alias_of is not None:
        table.wrong(f"{domain.alias_of!r} is not a domain with boxes of its own", "alias_of")
    else:
        domain.prefix = target.prefix


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
