"""poppasswd of the HOWTO and of the DTC panel, and its plain-text form for cmd5checkpw (Q-CPP-2, -9, Q-CPW-6).

``login:crypt:realuser:home`` opens the Maildir below home; ``login@domain:password`` has no home: the address finds it.
"""

from __future__ import annotations

import re

from popbox.migrate.oldhost.dialects.text import file_of, login, numbered, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import Login, OldHost
from popbox.migrate.oldhost.tree import FILE, OldHostTree, look
from popbox.printable import counted

FOR_OTHERS = 0o004
# The hashes that mailhost takes: des, md5, sha256, sha512, bcrypt, yescrypt, with its bounds on the work of one check
# (a test holds the two together); `!` before one locks it.
_ROUNDS = rb"(?:rounds=(?:\d{1,6}|1000000)\$)?"
_DIGIT = rb"[./0-9A-Za-z]"
CRYPT = re.compile(
    rb"(?:" + _DIGIT + rb"{13}|\$1\$[^$:!*;\\\s]{0,8}\$" + _DIGIT + rb"{22}|\$5\$" + _ROUNDS + rb"[^$:!*;\\\s]{0,16}\$"
    + _DIGIT + rb"{43}|\$6\$" + _ROUNDS + rb"[^$:!*;\\\s]{0,16}\$" + _DIGIT + rb"{86}|\$2[abxy]?\$(?:0\d|1[0-3])\$"
    + _DIGIT + rb"{53}|\$y\$j[./0-9AB][./0-9A-T]\$[^$:!*;\\\s]{0,86}\$" + _DIGIT + rb"{43})"
)  # fmt: skip

_ODD = "is of no known scheme, or asks for more work than one login may cost"


def read_poppasswd(tree: OldHostTree, host: OldHost, path: bytes, users: set[bytes] | None) -> None:
    """Add the file's logins to the host; ``users``: the names of passwd, None where the copy has none."""
    octets = text_of(tree, host, path)
    if octets is None:
        return
    _, entry = look(tree, path)
    if entry is not None and entry.kind == FILE and entry.mode & FOR_OTHERS:
        host.wrong("passwords-readable", Where(file_of(path)), f"mode {entry.mode:04o}")
    seen: dict[str, Where] = {}
    weak: list[Where] = []
    for number, line in numbered(octets):
        if line.strip() and not line.startswith(b"#"):
            _row(host, line.rstrip(b"\r"), Where(file_of(path), number), users, seen, weak)
    if weak:
        host.wrong("login-des", weak[0], f"{counted(len(weak), 'login')} of this file, this one first")


def _row(
    host: OldHost, line: bytes, where: Where, users: set[bytes] | None, seen: dict[str, Where], weak: list[Where]
) -> None:
    fields = line.split(b":")
    name = login(fields[0])
    if name is None or b"\0" in line or len(fields) not in (2, 4):
        rule = "poppasswd-fields" if len(fields) not in (2, 4) or b"\0" in line else "name-not-usable"
        host.wrong(rule, where, f"login {shown(fields[0])!r}, {len(fields)} fields where 4 (or 2) must be")
        typed = rule == "name-not-usable" and not fields[0].startswith(b" ")  # USER cannot give a leading space
        note = host.lose if typed else host.leave
        note(where, f"login {shown(fields[0])!r}", "mailhost takes no such line")
        return
    if name in seen:
        host.wrong("login-twice", where, f"{name} stands in line {seen[name].line} already")
        return
    seen[name] = where
    if len(fields) == 2:
        host.wrong("login-plain", where, f"login {name}")
        host.logins.append(Login(name, where, None, plain=fields[1]))
        return
    crypt, user, home = fields[1:]
    if users is not None and user not in users:
        host.wrong("login-unknown-user", where, f"{name}: {shown(user)!r}")
    host.logins.append(Login(name, where, home, crypt=judged(host, name, crypt, where, weak)))


def judged(host: OldHost, name: str, crypt: bytes, where: Where, weak: list[Where]) -> bytes:
    """The hash, where a password can match it or it is locked by ``!``; otherwise empty, which is imported locked."""
    if not CRYPT.fullmatch(crypt.removeprefix(b"!")):
        what = "is empty" if not crypt else "is a lock" if set(crypt) <= set(b"!*x") else _ODD
        host.wrong("login-hash", where, f"{name}: the second field {what}")
        if what == _ODD:
            host.lose(where, f"password of {name}", f"its hash {_ODD}; the login is imported locked")
        return b""
    if len(crypt.removeprefix(b"!")) == 13:
        weak.append(where)
    return crypt
