"""Which dialect a copy is in, told by the files that only it has."""

from __future__ import annotations

import os
from collections.abc import Callable

from popbox.migrate.oldhost.dialects import exported, howto, system, vpopmail
from popbox.migrate.oldhost.model import OldHost
from popbox.migrate.oldhost.opened import find_opened
from popbox.migrate.oldhost.same_file import join_same_files
from popbox.migrate.oldhost.tree import OUTSIDE, OldHostError, OldHostTree, look, read_text

QMAIL = b"/var/qmail"
READERS: dict[str, Callable[[OldHostTree, OldHost, bytes], None]] = {
    "howto": howto.read,
    "dtc": howto.read,
    "vpopmail": vpopmail.read,
    "system": system.read,
    "export": exported.read,
}


def read_old_host(tree: OldHostTree, dialect: str | None, home: bytes = QMAIL) -> OldHost:
    """Read the whole old host; ``dialect`` None: find out.

    Raises:
        OldHostError: it is of no known dialect.
    """
    host = OldHost(dialect or detect(tree, home))
    READERS[host.dialect](tree, host, home)
    for login in host.logins:
        if login.home is not None:
            login.home = look(tree, login.home)[0].rstrip(b"/")
    find_opened(tree, host)
    join_same_files(tree, host)
    if dialect is not None:
        host.dialect = dialect
    return host


def detect(tree: OldHostTree, home: bytes) -> str:
    """A directory of an export; vpopmail where it keeps domains, else the HOWTO's files, else system accounts.

    Raises:
        OldHostError: it is of no known dialect.
    """
    if exported.kind_of(tree):
        return "export"
    tops = [top for top in vpopmail.HOMES if tree.base in (b"/", top)]
    tree.prepare([home + b"/users", home + b"/control", b"/etc/passwd"])
    assign = _text(tree, home + b"/users/assign")
    if any(b"/domains/" in line and line.startswith(b"+") and b"-:" in line for line in assign.split(b"\n")):
        return "vpopmail"
    for path in (home + b"/users/poppasswd", b"/etc/poppasswd"):
        if _there(tree, path):
            return "dtc" if _dtc(_text(tree, path)) else "howto"
    if not _there(tree, home + b"/users/domains") and _by_pw2u(assign, _text(tree, b"/etc/passwd"), home):
        return "system"
    if assign.strip(b".\n") or _there(tree, home + b"/users/domains"):
        return "howto"
    tree.prepare([top + b"/domains" for top in tops])
    if any(_there(tree, top + b"/domains") for top in tops):
        return "vpopmail"
    if _there(tree, b"/etc/passwd"):
        return "system"
    raise OldHostError(
        f"{tree.name}, taken for the old host's {os.fsdecode(tree.base)}, has neither {os.fsdecode(home)}/users/assign "
        "nor poppasswd, vpopmail's domains or etc/passwd: give the host's root or its qmail home, perhaps with --as"
    )


def _text(tree: OldHostTree, path: bytes) -> bytes:
    try:
        return read_text(tree, path) or b""
    except OldHostError:
        return b""


def _there(tree: OldHostTree, path: bytes) -> bool:
    entry = look(tree, path)[1]
    return entry is not None and entry.kind != OUTSIDE


def _by_pw2u(assign: bytes, passwd: bytes, home: bytes) -> bool:
    """Whether each line leads to the home of an account or to ~alias, as those that qmail-pw2u(8) makes of passwd."""
    homes = {fields[5] for line in passwd.split(b"\n") if len(fields := line.split(b":")) == 7} | {home + b"/alias"}
    lines = [line.split(b":") for line in assign.split(b"\n") if line.count(b":") >= 7]
    return bool(lines) and all(fields[4] in homes for fields in lines)


def _dtc(poppasswd: bytes) -> bool:
    """DTC's logins are addresses."""
    logins = [line.partition(b":")[0] for line in poppasswd.split(b"\n") if b":" in line]
    return bool(logins) and sum(b"@" in login for login in logins) * 2 > len(logins)
