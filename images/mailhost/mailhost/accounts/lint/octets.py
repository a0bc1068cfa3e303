"""Lint of what an editor leaves in a file unseen: byte order marks, carriage returns, NULs, odd blanks.

To qmail, and to whoever reads users/poppasswd, all of them are part of the line they stand in.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mailhost.accounts.lint.facts import Facts, Finding
from mailhost.qmail.controlfile import BLANKS, ControlError, read

HOSTS = ("rcpthosts", "morercpthosts", "virtualdomains", "locals", "percenthack", "smtproutes")
LISTS = (*HOSTS, "badmailfrom")
NAMES = (
    "me", "bouncehost", "defaultdomain", "defaulthost", "doublebouncehost", "envnoathost", "helohost", "idhost",
    "localiphost", "plusdomain",
)  # fmt: skip
VALUES = (*NAMES, "bouncefrom", "doublebounceto", "smtpgreeting")
NUMBERS = (
    "concurrencylocal", "concurrencyremote", "databytes", "queuelifetime", "timeoutconnect", "timeoutremote",
    "timeoutsmtpd",
)  # fmt: skip
POPPASSWD = "users/poppasswd"
UTF_8 = b"\xef\xbb\xbf"
MARKS = (UTF_8, b"\xff\xfe", b"\xfe\xff")  # the last two: UTF-16
MARKED = (
    "begins with a byte order mark, which no editor shows and which is part of this line for all who read it:"
    " save the file as UTF-8 without one"
)
MOST_LOGIN_OCTETS = 500  # checkpassword takes 512 for login, password and banner together (Q-CPW-1)
_PLAIN = bytes(range(33, 127)) + b"\n"
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_Odd = tuple[int, str]  # a line, and what is odd about it


def marks(facts: Facts) -> Iterator[Finding]:
    """Files whose first line is another than it looks."""
    files = [(f"control/{name}", _control(facts, name)) for name in (*LISTS, *VALUES, *NUMBERS, "defaultdelivery")]
    files += [(facts.shown(facts.layout.parts / name), text) for name, text in facts.parts.items()]
    files += [(file, _head(facts.layout.home / file)) for file in (POPPASSWD, "users/assign")]
    for file, text in files:
        if text.startswith(MARKS):
            yield Finding("error", "byte-order-mark", file, 1, MARKED)


def blanks(facts: Facts) -> Iterator[Finding]:
    """What belongs to an entry of control/, though no one can mean it (Q-RCPT-5, Q-VDOM-5)."""
    for name in (*LISTS, *VALUES):
        odd = _odd_lines(_control(facts, name), listed=name in LISTS, hosts=name in (*HOSTS, *NAMES))
        for number, what in _summed(odd):
            yield Finding("error", "odd-blank", f"control/{name}", number, what)


def _odd_lines(text: bytes, *, listed: bool, hosts: bool) -> Iterator[_Odd]:
    """In a list each entry counts, otherwise the first line alone."""
    if not text.translate(None, _PLAIN):
        return
    for number, raw in enumerate(text.split(b"\n") if listed else [text.partition(b"\n")[0]], start=1):
        entry = raw.rstrip(BLANKS)
        if listed and entry.startswith(b"#"):
            continue
        if number == 1 and entry.startswith(MARKS):
            entry = entry.removeprefix(UTF_8)
        if what := _odd(entry, listed=listed, hosts=hosts):
            yield number, what


def _odd(entry: bytes, *, listed: bool, hosts: bool) -> str:
    if b"\r" in entry:
        return "a carriage return is part of this entry"
    if b"\0" in entry:
        return "a NUL ends this entry" + (" and begins another" if listed else "")
    if entry[:1] in (b" ", b"\t") or (listed and entry.partition(b":")[2][:1] in (b" ", b"\t")):
        return "a blank is part of this entry"
    if hosts and not entry.isascii():
        return "an octet of this entry is no ASCII, so it is the name of no host"
    return ""


def _summed(odd: Iterable[_Odd]) -> Iterator[_Odd]:
    """One for all lines of a file with the same oddity: in a file from Windows each line has it."""
    lines: dict[str, list[int]] = {}
    for number, what in odd:
        lines.setdefault(what, []).append(number)
    for what, numbers in lines.items():
        yield numbers[0], what + (f"; so with {len(numbers) - 1} more" if len(numbers) > 1 else "")


def values(facts: Facts) -> Iterator[Finding]:
    """Names that are empty (Q-CTL-1), and numbers that qmail reads in another way than a person (Q-CTL-4)."""
    for name in NAMES:
        there = _control(facts, name, absent=b"-")
        if not there.partition(b"\n")[0].rstrip(BLANKS):
            yield Finding(
                "error", "value-empty", f"control/{name}", 1, "is an empty name; without the file there is a default"
            )
    for name in NUMBERS:
        said = _control(facts, name).partition(b"\n")[0].strip(BLANKS + b"\r\0")
        if said and not said.isdigit():
            digits = said[: len(said) - len(said.lstrip(b"0123456789"))]
            text = f"{_text(said[:80])!r} is for qmail {_text(digits) or 'no number, so the default counts'}"
            yield Finding("error", "number-odd", f"control/{name}", 1, text)


def logins(facts: Facts) -> Iterator[Finding]:
    """Logins that look like another, or that no client can send."""
    for row in facts.rows:
        login = row.login
        if login.startswith(UTF_8) and row.line > 1:
            what = "begins with a byte order mark"
        elif login != login.strip() or _CONTROLS.search(login):
            what = "has a blank at its beginning or end, or a control character"
        elif len(login) > MOST_LOGIN_OCTETS:
            what = f"is longer than {MOST_LOGIN_OCTETS} octets"
        else:
            continue
        text = f"{_text(login[:80])!r} {what}: no client sends such a login"
        yield Finding("error", "login-odd", POPPASSWD, row.line, text)


@functools.lru_cache(maxsize=8)
def odd_in(text: bytes) -> tuple[_Odd, ...]:
    """What is odd in a .qmail: a carriage return makes a Maildir an mbox."""
    lines = enumerate(text.split(b"\n"), start=1) if b"\r" in text or b"\0" in text else ()
    odd = ((number, _odd(line, listed=False, hosts=False)) for number, line in lines if not line.startswith(b"#"))
    return tuple(_summed((number, what) for number, what in odd if what))


def _head(path: Path) -> bytes:
    """The first octets of a file that may be large; none where it cannot be read, which another rule says."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 3)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _control(facts: Facts, name: str, absent: bytes = b"") -> bytes:
    """The text of a file of control/; ``absent`` where there is none, or it cannot be read, which another rule says."""
    try:
        text = read(facts.layout.home, f"control/{name}")
    except ControlError:
        return absent
    return absent if text is None else text


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")


RULES = (marks, blanks, values, logins)
