"""Operations on the logins of boxes: users/poppasswd, and nothing else."""

from __future__ import annotations

import os

from mailhost.accounts import names
from mailhost.accounts.change.edit import Edit
from mailhost.accounts.errors import InputError
from mailhost.accounts.files.removed import Owner
from mailhost.poppasswd import crypt as hashing
from mailhost.poppasswd.file import Row

LOCK = b"!"
"""In front of a hash it admits no one, as passwd(1) does it; mail still arrives and the hash comes back whole."""


UNMADE = "!............."
"""Stands in a dry run for a hash that is not made: locked, and of the form of one."""


def take_login(edit: Edit, local: str, domain: str, login: str | None, name: str = "") -> str:
    """The login asked for, or the next free number; ``name`` gives its letters before the address does.

    Raises:
        InputError: it cannot be one, or it is taken.
    """
    if login is not None:
        return _free_login(edit, login)
    while True:
        login = edit.logins.next(local, domain, name)
        if edit.rows.get(login.encode()) is None:
            return login


def _free_login(edit: Edit, text: str) -> str:
    login = names.login(text)
    taken = edit.rows.get(login.encode())
    if taken is not None:
        raise InputError(f"is taken, by {os.fsdecode(taken.home)}", file="users/poppasswd", field=f"login {login}")
    return login


def check_crypt(crypt: str) -> None:
    """See that a hash can stand in users/poppasswd: one of crypt(3)'s schemes, perhaps locked with ``!``.

    Raises:
        InputError: it cannot, or its check would cost too much; the text does not show it.
    """
    stored = crypt.removeprefix("!").encode("utf-8", "replace")
    if hashing.scheme_of(stored) is not None:
        return
    costly = hashing.excess(stored)
    if costly is not None:
        raise InputError(f"{costly}: each login attempt would hold a thread of the POP3 server", field="crypt")
    known = ", ".join(hashing.SCHEMES)
    raise InputError(
        f"is not a crypt(3) hash of a known scheme ({known}); `mailhost mkpasswd` makes one", field="crypt"
    )


def rows_of(edit: Edit, local: str, domain: str) -> list[Row]:
    """The logins of a box, usually one; found without reading the domain's part."""
    return edit.rows.of_home(edit.layout.home_of(edit.domain_prefix(domain), local))


def owner_of(edit: Edit, rows: list[Row], address: str) -> Owner:
    """Whose a box is, for the day that it is declared again; the address is the one of the domain it lies in."""
    local, _, domain = address.rpartition("@")
    said = tuple((row.login.decode("latin-1"), row.crypt.decode("latin-1")) for row in rows)
    return Owner(f"{local}@{edit.owner(domain)}", said)


def one_row(edit: Edit, local: str, domain: str, login: str | None = None) -> Row:
    """The one login of a box, or the one named.

    Raises:
        InputError: there is none, or there are several and none was named.
    """
    rows = [row for row in rows_of(edit, local, domain) if login is None or row.login == login.encode()]
    if len(rows) == 1:
        return rows[0]
    several = ", ".join(row.login.decode("latin-1") for row in rows)
    rule = f"has several logins ({several}); say which with --login" if rows else "has no such login"
    raise InputError(rule, file="users/poppasswd", field=f"{local}@{domain}")


def set_crypt(edit: Edit, local: str, domain: str, crypt: str, login: str | None = None) -> None:
    """Give a mailbox's login a new hash.

    Raises:
        InputError: no such mailbox, no login or several, or the hash cannot stand in the file.
    """
    check_crypt(crypt)
    row = one_row(edit, local, domain, login)
    edit.rows.set(Row(row.login, crypt.encode(), row.realuser, row.home))
    edit.say("change", "mailbox", f"{local}@{domain}", f"password of login {row.login.decode('latin-1')}")


def set_login(edit: Edit, local: str, domain: str, old: str, new: str) -> None:
    """Give a box's login another name; the password stays.

    Raises:
        InputError: the box has no such login, or the new one is taken.
    """
    row = one_row(edit, local, domain, old)
    login = _free_login(edit, new)
    edit.rows.drop(row.login)
    edit.rows.set(Row(login.encode(), row.crypt, row.realuser, row.home))
    for name in (old, login):
        edit.logins.seen(name)
    edit.say("change", "mailbox", f"{local}@{domain}", f"login {old} is now {login}")


def give_login(edit: Edit, local: str, domain: str, crypt: str, login: str | None) -> None:
    """Give a box that has none a login.

    Raises:
        InputError: the login is taken, or the hash cannot stand in the file.
    """
    check_crypt(crypt)
    login = take_login(edit, local, domain, login)
    home = edit.layout.home_of(edit.domain_prefix(domain), local)
    edit.rows.set(Row(login.encode(), crypt.encode(), edit.layout.identity.user.encode(), home))
    edit.logins.seen(login)
    edit.say("change", "mailbox", f"{local}@{domain}", f"login {login}")


def set_enabled(edit: Edit, local: str, domain: str, *, enabled: bool) -> None:
    """Lock or unlock the logins of a box; mail arrives all the same.

    Raises:
        InputError: the box has no login.
    """
    rows = rows_of(edit, local, domain)
    if not rows:
        one_row(edit, local, domain)
    for row in rows:
        bare = row.crypt.removeprefix(LOCK)
        crypt = bare if enabled else LOCK + bare
        if crypt == row.crypt:
            continue
        if enabled and (costly := hashing.excess(bare)):
            raise InputError(f"its hash {costly}; set a new password", field=f"{local}@{domain}")
        if enabled and hashing.scheme_of(bare) is None:
            raise InputError("has no password to go back to; set one", field=f"{local}@{domain}")
        edit.rows.set(Row(row.login, crypt, row.realuser, row.home))
        login = row.login.decode("latin-1")
        edit.say("change", "mailbox", f"{local}@{domain}", f"login {login} {'enabled' if enabled else 'disabled'}")


def strengthen(edit: Edit, login: str, password: bytes) -> None:
    """Replace a weak hash by a strong one of the same password; a hash that is strong already stays.

    Raises:
        InputError: no such login, it is locked, another password, or one of which DES saw the beginning only: what was
            typed behind its eighth octet was never checked, and a slip there would become the password.
    """
    row = edit.rows.get(login.encode())
    if row is None:
        raise InputError("is not in the file", file="users/poppasswd", field=f"login {login}")
    if not hashing.verify(password, row.crypt):
        raise InputError("this is not its password", file="users/poppasswd", field=f"login {login}")
    before = hashing.scheme_of(row.crypt)
    if not hashing.weak(row.crypt):
        return
    if before == "des" and len(password) > hashing.DES_OCTETS:
        rule = f"DES checked the first {hashing.DES_OCTETS} octets of this password only (Q-CPW-7), so its hash stays"
        raise InputError(rule, file="users/poppasswd", field=f"login {login}")
    edit.rows.set(Row(row.login, hashing.make(password).encode(), row.realuser, row.home))
    edit.say("change", "login", login, f"its {before} hash is now a {hashing.DEFAULT} one of the same password")
