"""passwd of the old host: its lines, the file that has their hashes, and accounts that stand in no file (passwd(5))."""

from __future__ import annotations

import re
from typing import NamedTuple

from popbox.migrate.oldhost.dialects.text import file_of, numbered, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import OldHost
from popbox.migrate.oldhost.tree import OldHostTree, look

PASSWD, SHADOW, MASTER = b"/etc/passwd", b"/etc/shadow", b"/etc/master.passwd"
SWITCH, SSSD = b"/etc/nsswitch.conf", b"/etc/sssd/sssd.conf"
FILES = (PASSWD, SHADOW, MASTER, SWITCH, SSSD)
LOCKS = (b"*", b"!")
_SWITCHED = re.compile(rb"[ \t]*passwd[ \t]*:([^#]*)", re.IGNORECASE)
_DIRECTORIES = (b"nis", b"nisplus", b"ldap", b"winbind", b"hesiod", b"mysql", b"pgsql", b"sss")
_GETENT = (
    "their users are not in SOURCE: put what `getent passwd` and `getent shadow` print on the old host into etc/passwd "
    "and etc/shadow of a copy, and take this line out of it"
)


class Hashes(NamedTuple):
    """What stands in a second file, for accounts whose second field is ``mark``; ``rows`` None: it is not there."""

    mark: bytes
    rows: dict[bytes, tuple[bytes, Where]] | None


def read_rows(tree: OldHostTree, host: OldHost, octets: bytes) -> list[tuple[Where, list[bytes]]]:
    """The accounts of passwd as fields, the uid a number; broken lines, and directories of users, are named."""
    compat = _switched(tree, host)
    rows = []
    for number, line in numbered(octets):
        where, fields = Where(file_of(PASSWD), number), line.split(b":")
        if line.startswith(b"+"):  # NIS: all users, one, or those of a netgroup; files alone does not read it
            if compat:
                host.lose(where, f"accounts of NIS ({shown(fields[0])})", _GETENT)
        elif len(fields) != 7 or not fields[2].isdigit() or b"\0" in line:
            if line.strip() and not line.startswith(b"#"):
                host.wrong("poppasswd-fields", where, f"{shown(fields[0])!r}: 7 fields must be, the third a number")
        else:
            rows.append((where, fields))
    return rows


def _switched(tree: OldHostTree, host: OldHost) -> bool:
    """Whether passwd is read with ``+`` lines (nsswitch.conf(5)); directories of users that it names are lost."""
    for number, line in numbered(text_of(tree, host, SWITCH) or b""):
        services = _SWITCHED.match(line)
        if services is not None:
            names = re.sub(rb"\[[^]]*\]", b" ", services[1]).lower().split()
            for name in names:
                # sss stands there by default on some systems, without a directory behind it
                if name in _DIRECTORIES and (name != b"sss" or look(tree, SSSD)[1] is not None):
                    host.lose(Where(file_of(SWITCH), number), f"accounts of {shown(name)}", _GETENT)
            return b"compat" in names
    return True


def read_hashes(tree: OldHostTree, host: OldHost, octets: bytes) -> Hashes:
    """The hashes of a BSD's master.passwd, or of shadow where passwd says so."""
    master = text_of(tree, host, MASTER)
    if master is not None:
        return Hashes(b"*", _second_fields(MASTER, master))
    if b":x:" not in octets:
        return Hashes(b"x", {})
    shadow = text_of(tree, host, SHADOW)
    if shadow is None:
        absent(host, SHADOW, "there is no such file")
        return Hashes(b"x", None)
    return Hashes(b"x", _second_fields(SHADOW, shadow))


def absent(host: OldHost, path: bytes, why: str) -> None:
    """The passwords of all accounts are not in SOURCE."""
    host.wrong("shadow-absent", Where(file_of(path)), why)
    host.lose(Where(file_of(path)), "the passwords of the accounts", f"{why}; they come locked")


def _second_fields(path: bytes, octets: bytes) -> dict[bytes, tuple[bytes, Where]]:
    rows = ((number, line.split(b":")) for number, line in numbered(octets))
    return {fields[0]: (fields[1], Where(file_of(path), number)) for number, fields in rows if len(fields) > 1}
