"""From the accounts of an old POP3 host to those of the new one: what logins and passwords alone can say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from popbox.migrate.oldhost import to_accounts
from popbox.migrate.oldhost.accounts import Box, OldAccounts
from popbox.migrate.oldhost.dialects import text
from popbox.migrate.oldhost.findings import Where
from popbox.migrate.oldhost.model import MAILDIR, Domain, Login, OldHost, Route, Store
from popbox.migrate.pop3.accounts import Account, Unusable


def addresses(path: Path, accounts: Sequence[Account], domain: str | None) -> list[tuple[str, str]]:
    """Local part and domain of each mailbox: a login that is an address, else the login in ``domain``.

    Raises:
        Unusable: no address comes of a login, or the new host takes no such login; ``path`` is named.
    """
    given = None if domain is None else text.domain(domain.encode("utf-8", "replace"))
    if domain is not None and given is None:
        raise Unusable("--domain", f"{domain!r} is no domain")
    found: dict[tuple[str, str], str] = {}
    for account in accounts:
        login = account.new_login
        if text.login(login.encode("utf-8")) is None:
            rule = "printable ASCII without space or ':', at most 128, no '#' first"
            raise Unusable(path, f"the new host takes no login {login!r}: {rule}; add a column new_login")
        named = next((one for one in (login, account.old_login) if "@" in one), None)
        if named is None and given is None:
            raise Unusable(path, f"the login {login!r} is no address: say its domain with --domain")
        local, _, name = (named or f"{login}@{given}").rpartition("@")
        box = text.local_part(local.encode("utf-8")), text.domain(name.encode("utf-8"))
        if box[0] is None or box[1] is None:
            raise Unusable(path, f"the login {login!r} makes no address that mailhost takes: {local}@{name}")
        first = found.setdefault((box[0], box[1]), login)
        if first != login:
            raise Unusable(path, f"the logins {first!r} and {login!r} are one mailbox, {box[0]}@{box[1]}")
    return list(found)


def declare(
    path: Path, accounts: Sequence[Account], boxes: Sequence[tuple[str, str]]
) -> tuple[OldHost, OldAccounts, list[Box]]:
    """The host that these accounts (one for each box) show, what it becomes, and the mailbox of each account."""
    where = Where(str(path))
    host = OldHost(dialect="pop3")
    for account, (local, name) in zip(accounts, boxes, strict=True):
        home = f"/{name}/{local}".encode()
        store = Store(MAILDIR, home + b"/Maildir")
        host.domains.setdefault(name, Domain(name.replace(".", "-"), where))
        host.routes.append(Route(name, local, where, [store], home=home))
        password = account.new_password.encode()
        host.logins.append(Login(account.new_login, where, home, plain=password, opens=store))
    made = to_accounts.to_accounts(host)
    host.leave(where, "forwards, aliases, catchalls", "POP3 shows mailboxes alone: declare these yourself")
    return host, made, [made.domains[name].boxes[local] for local, name in boxes]
