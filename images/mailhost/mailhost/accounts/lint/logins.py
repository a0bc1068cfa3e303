"""Lint of users/poppasswd: can each login open its box, and only the right people?"""

from __future__ import annotations

import functools
import os
import pwd
import stat
from collections.abc import Iterator

from mailhost.accounts.lint.facts import Facts, Finding
from mailhost.poppasswd import crypt as hashing
from mailhost.poppasswd import temporary

FILE = "users/poppasswd"


def broken(facts: Facts) -> Iterator[Finding]:
    """Lines that are no rows."""
    for number, rule in facts.bad_rows:
        yield Finding("error", "row-broken", FILE, number, rule)


def readable(facts: Facts) -> Iterator[Finding]:
    """Hashes that everybody can read (Q-PERM-7)."""
    try:
        mode = stat.S_IMODE(facts.layout.poppasswd.stat().st_mode)
    except OSError as why:
        yield Finding("error", "poppasswd-missing", FILE, 0, f"{why.strerror}: no one can log in")
        return
    if mode & 0o037:
        better = mode & 0o740
        elsewhere = facts.outside(os.fsencode(facts.layout.poppasswd))  # a link, perhaps to another host's
        mend = None if elsewhere else functools.partial(facts.layout.poppasswd.chmod, better)
        text = f"has mode {mode:04o}: others can read the hashes, or write them"
        yield Finding("error", "poppasswd-open", FILE, 0, text, f"chmod {better:04o}", mend)


def second(facts: Facts) -> Iterator[Finding]:
    """Temporary passwords: those that count are said, and what is wrong about their file."""
    path, file = facts.layout.temporary, f"{FILE}{temporary.SUFFIX}"
    try:
        status = path.lstat()
        text = temporary.read(facts.layout.poppasswd)
    except FileNotFoundError:
        return
    except OSError as why:
        yield Finding("error", "temporary-unreadable", file, 0, f"{why.strerror}: no temporary password counts")
        return
    if stat.S_IMODE(status.st_mode) & 0o037:
        mend = functools.partial(path.chmod, 0o600)
        yield Finding("error", "temporary-open", file, 0, "others can read or write it", "chmod 0600", mend)
    entries, wrong = temporary.parse(text)
    clocks = temporary.clocks()
    for number in wrong:
        yield Finding("error", "temporary-broken", file, number, "is no line of a temporary password: it never counts")
    for entry in entries:
        if entry.counts(*clocks):
            left_min = max(1, round((entry.until - clocks[0]) / 60))
            told = f"{_text(entry.login)} has a second password, for {left_min} minutes more"
            yield Finding("warning", "temporary-counts", file, 0, told)
        elif entry.made > clocks[0]:
            told = (
                f"the clock was set back after {_text(entry.login)} got a second password, which may count again later"
            )
            yield Finding(
                "warning", "temporary-later", file, 0, f"{told}: `mailbox temporary --all --end` takes it away"
            )


def twice(facts: Facts) -> Iterator[Finding]:
    """Two rows of one login: the first counts (H-31)."""
    seen: dict[bytes, int] = {}
    for row in facts.rows:
        first = seen.setdefault(row.login, row.line)
        if first != row.line:
            yield Finding("error", "login-twice", FILE, row.line, f"{_text(row.login)} is in line {first} already")


def hashes(facts: Facts) -> Iterator[Finding]:
    """Costly and weak hashes, and fields that are none; a locked one (`!`) is meant."""
    for row in facts.rows:
        costly = hashing.excess(row.crypt.removeprefix(b"!"))
        if costly is not None:
            text = f"{_text(row.login)} has a hash that {costly}: it is not checked, this login never works"
            yield Finding("error", "hash-costly", FILE, row.line, text)
            continue
        if row.crypt.startswith(b"!"):
            continue
        scheme = hashing.scheme_of(row.crypt)
        if scheme is None:
            text = f"{_text(row.login)} has no hash that crypt(3) knows: this login never works"
            yield Finding("error", "hash-odd", FILE, row.line, text)
        elif scheme in hashing.WEAK:
            text = f"{_text(row.login)} has a {scheme} hash, which is quick to guess; a new password gets a strong one"
            yield Finding("warning", "hash-weak", FILE, row.line, text)


def users(facts: Facts) -> Iterator[Finding]:
    """Real users that do not exist, are root, or are others than those who own the box (Q-CPP-3)."""
    known: dict[bytes, int | None] = {}
    owners = {line.entry.home: line.entry.uid for line in facts.entries}
    for row in facts.rows:
        if row.realuser not in known:
            known[row.realuser] = _uid(row.realuser)
        uid = known[row.realuser]
        if uid is None:
            text = f"{_text(row.login)}: there is no user {_text(row.realuser)} on this system"
            yield Finding("warning", "realuser-unknown", FILE, row.line, text)
        elif uid == 0:
            yield Finding("error", "realuser-root", FILE, row.line, f"{_text(row.login)} would read mail as root")
        elif row.home in owners and owners[row.home] != b"%d" % uid:
            text = f"{_text(row.login)} reads as uid {uid}, its mail is delivered as uid {_text(owners[row.home])}"
            yield Finding("error", "realuser-other", FILE, row.line, text)


def _uid(name: bytes) -> int | None:
    try:
        return pwd.getpwnam(name.decode("utf-8")).pw_uid
    except (KeyError, UnicodeDecodeError):
        return None


def homes(facts: Facts) -> Iterator[Finding]:
    """Rows that lead to no box, and boxes that no row leads to."""
    led = {line.entry.home for line in facts.entries}
    rows = {row.home for row in facts.rows}
    for row in facts.rows:
        if row.home not in led:
            text = f"{_text(row.login)}: no address leads to {_text(row.home)}, so this login never gets mail"
            yield Finding("warning", "row-without-address", FILE, row.line, text)
        if not facts.home(row.home + b"/Maildir").is_directory:
            text = f"{_text(row.login)}: {_text(row.home)} has no Maildir: this login never works"
            yield Finding("error", "row-without-maildir", FILE, row.line, text)
    for line in facts.entries:
        home = line.entry.home
        if home not in rows and facts.home(home + b"/Maildir").is_directory:
            text = f"{_text(line.entry.address)} has a Maildir at {_text(home)}, but no login reads it"
            yield Finding("warning", "box-without-login", line.file, line.number, text)


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")


RULES = (broken, readable, second, twice, hashes, users, homes)
