"""Lint of popboxes/: can qmail reach each directory, and does its .qmail put mail where POP3 looks?"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mailhost.accounts.files import box_directories
from mailhost.accounts.files.removed import RECORDS, REMOVED
from mailhost.accounts.layout import Identity
from mailhost.accounts.lint import octets
from mailhost.accounts.lint.facts import AssignLine, Facts, Finding, instructions
from mailhost.accounts.model import Delivery
from mailhost.accounts.nodes import NODES
from mailhost.qmail.controlfile import c_string
from mailhost.qmail.dotqmail import ADDRESS_OCTETS, NOT_FOLLOWED, Found, Kind


def homes(facts: Facts) -> Iterator[Finding]:
    """Each home once: of this host, there, a directory, of the line's uid, 0700 (H-15, Q-LOCAL-2..5)."""
    for line in _one_per_home(facts):
        if facts.outside(line.entry.home):
            text = f"{_path(line)} lies outside {facts.layout.home}: another host's box, if this one is a copy of it"
            yield Finding("error", "home-outside", line.file, line.number, text)
            continue
        home = facts.home(line.entry.home)
        if home.missing:
            path = _path(line)
            mend = functools.partial(_make, facts, path, _identity(line)) if facts.own_box(path) else None
            text = f"{path}: {home.missing}: mail for {_shown(line)} is put off until it bounces"
            yield Finding("error", "home-missing", line.file, line.number, text, "make the box", mend)
            continue
        mode = stat.S_IMODE(home.mode)
        if mode == 0o700 and home.uid == _identity(line).uid:
            continue
        path = _path(line)
        shown, own = facts.shown(path), facts.own_box(path)
        if home.uid != _identity(line).uid:
            give = functools.partial(_give, facts, path, _identity(line)) if own else None
            text = f"belongs to uid {home.uid}, {line.file} line {line.number} delivers as {_identity(line).uid}"
            yield Finding("error", "home-owner", shown, 0, text, "give it to that uid", give)
        if mode != 0o700:
            wrong = mode & (stat.S_IWOTH | stat.S_ISVTX)
            level = "error" if wrong else "warning"
            text = f"has mode {mode:04o}, not 0700" + (": mail is put off" if wrong else "")
            shut = functools.partial(_shut, facts, path, 0o700) if own else None
            yield Finding(level, "home-mode", shown, 0, text, "chmod 0700", shut)


def deliveries(facts: Facts) -> Iterator[Finding]:
    """Which file qmail takes for each line, and what each of its lines does (Q-DOT-*, Q-LINE-*)."""
    seen: set[tuple[bytes, bytes]] = set()
    for line in facts.entries:
        wild = line.entry.wild
        key = (line.entry.home, line.entry.dash)
        if key in seen or not facts.home(line.entry.home).is_directory:
            continue
        seen.add(key)
        found = facts.dot_qmail(line.entry.home, line.entry.dash, b"anything" if wild else line.entry.ext)
        if found is NOT_FOLLOWED:
            text = f"{_shown(line)}: its .qmail in {_path(line)} is a link or a second name of another user's file"
            yield Finding("warning", "qmail-link", line.file, line.number, f"{text}: qmail follows it, lint does not")
        elif not isinstance(found, Found):
            yield Finding("error", "qmail-unusable", line.file, line.number, f"{_shown(line)}: {found.text}")
        elif found.name is None or not found.text.strip():
            if found.text or not _default_is_maildir(facts):
                text = f"{_shown(line)}: no .qmail counts, so mail goes into ./Mailbox, which POP3 does not see (H-16)"
                yield Finding("error", "qmail-missing", line.file, line.number, text)
        else:
            yield from _instructions(facts, line, found)


def _instructions(facts: Facts, line: AssignLine, found: Found) -> Iterator[Finding]:
    """The lines of one .qmail."""
    name = line.entry.home + b"/" + (found.name or b"")
    mode = stat.S_IMODE(found.mode)
    if mode & 0o022:
        mend = functools.partial(_shut, facts, _name(name), 0o600) if facts.own_box(name) else None
        text = f"has mode {mode:04o}: others can write it"
        yield Finding("error", "qmail-writable", facts.shown(_name(name)), 0, text, "chmod 0600", mend)
    if found.text.startswith(octets.MARKS):
        yield Finding("error", "byte-order-mark", facts.shown(_name(name)), 1, octets.MARKED)
    for number, what in octets.odd_in(found.text):
        yield Finding("error", "qmail-odd", facts.shown(_name(name)), number, what)
    for instruction in instructions(found.text, found.executable):
        if instruction.failure is not None:
            mend = functools.partial(_shut, facts, _name(name), 0o600) if mode & 0o100 and facts.own_box(name) else None
            text = f"mail is put off: {instruction.failure.text}"
            yield Finding("error", "qmail-fails", facts.shown(_name(name)), instruction.line, text, "chmod 0600", mend)
    seen: set[bytes] = set()
    for instruction in instructions(found.text):
        if instruction.kind is Kind.FORWARD:
            if wrong := _wrong_address(c_string(instruction.argument)):
                level = "warning" if instruction.argument.isalnum() else "error"
                yield Finding(level, "qmail-forward", facts.shown(_name(name)), instruction.line, wrong)
            continue
        place = os.path.join(line.entry.home, c_string(instruction.argument))
        if instruction.kind is Kind.PROGRAM:
            text = "runs a program as the user of all boxes, so it can read them all (H-36)"
            yield Finding("warning", "qmail-program", facts.shown(_name(name)), instruction.line, text)
        elif instruction.kind is Kind.MBOX and _is_special(place):
            text = "is no file: it cannot be synced, so mail is put off until it bounces; only comments drop it (E-59)"
            yield Finding("error", "qmail-device", facts.shown(_name(name)), instruction.line, text)
        elif instruction.kind is Kind.MBOX and b"Maildir" in place.rsplit(b"/", 2)[1:]:
            text = "is an mbox file without the slash at the end: ./Maildir/ (H-33)"
            yield Finding("error", "qmail-no-slash", facts.shown(_name(name)), instruction.line, text)
        elif instruction.kind is Kind.MAILDIR and place in seen:
            text = "is the second line into this Maildir: each message comes twice"
            yield Finding("error", "qmail-twice", facts.shown(_name(name)), instruction.line, text)
        elif instruction.kind is Kind.MAILDIR:
            seen.add(place)
            yield from _maildir(facts, line, place)


def _wrong_address(address: bytes) -> str:
    """What is wrong with an address after ``&``, or in a line that is a forward for want of another first character."""
    shown = repr(address[:80].decode("latin-1"))
    if len(address) > ADDRESS_OCTETS:
        return f"{shown}... is an address of more than {ADDRESS_OCTETS} octets: nothing is forwarded (Q-FWD-9)"
    if b"@" not in address:
        return f"{shown} counts as an address, and has no @: it gets one of this host (Q-SEND-20)"
    if not address.isascii() or address != b"".join(address.split()):
        return f"{shown} has a blank, or an octet that is no ASCII, in the address"
    return ""


def _default_is_maildir(facts: Facts) -> bool:
    """control/defaultdelivery puts mail of a box without .qmail where POP3 looks (Q-DEF-1)."""
    if facts.controls is None:
        return False
    return any(one.kind is Kind.MAILDIR for one in instructions(b"", default=facts.controls.defaultdelivery))


def _is_special(path: bytes) -> bool:
    """A device or FIFO, also behind a link."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def _maildir(facts: Facts, line: AssignLine, maildir: bytes) -> Iterator[Finding]:
    """tmp, new and cur, each of the line's uid (H-34)."""
    identity = _identity(line)
    inside = os.path.join(maildir, b"")
    found = [_owner(inside + name) for name in (b"tmp", b"new", b"cur")]
    if found == [identity.uid] * 3:
        return
    owners = dict(zip(("tmp", "new", "cur"), found, strict=True))
    path = _name(maildir)
    missing = [name for name, uid in owners.items() if uid is None]
    if missing:
        own = path.name == "Maildir" and facts.own_box(path) and facts.own_box(path.parent)
        mend = functools.partial(_make, facts, path.parent, identity) if own else None
        text = f"lacks {', '.join(missing)}: mail is put off, or POP3 finds no mail"
        yield Finding("error", "maildir-incomplete", facts.shown(path), 0, text, "make it", mend)
        return
    for name, uid in owners.items():
        if uid != identity.uid:
            mend = functools.partial(_give, facts, path / name, identity) if facts.own_box(path / name) else None
            text = f"belongs to uid {uid}, mail is delivered as {identity.uid}"
            yield Finding("error", "maildir-owner", facts.shown(path / name), 0, text, "give it to that uid", mend)


def _owner(path: bytes) -> int | None:
    """The uid of a directory; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_uid if stat.S_ISDIR(status.st_mode) else None


def orphans(facts: Facts) -> Iterator[Finding]:
    """Directories below popboxes that no line leads to."""
    led = {line.entry.home.rstrip(b"/") for line in facts.entries}
    for prefix in _directories(facts.layout.popboxes):
        if prefix.name in (REMOVED, RECORDS, NODES):
            continue
        for box in _directories(prefix):
            if os.fsencode(box.path) not in led:
                text = "no line of users/domains leads here: its mail is out of reach"
                yield Finding("warning", "box-orphan", facts.shown(Path(box.path)), 0, text)


def _directories(path: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """The directories in a directory, by name; a link is none."""
    try:
        with os.scandir(path) as entries:
            return sorted((entry for entry in entries if entry.is_dir(follow_symlinks=False)), key=lambda one: one.name)
    except OSError:
        return []


def _one_per_home(facts: Facts) -> list[AssignLine]:
    first: dict[bytes, AssignLine] = {}
    for line in facts.entries:
        if line.entry.home.startswith(b"/"):
            first.setdefault(line.entry.home, line)
    return list(first.values())


def _path(line: AssignLine) -> Path:
    return _name(line.entry.home)


def _name(path: bytes) -> Path:
    return Path(os.fsdecode(path))


def _identity(line: AssignLine) -> Identity:
    """The owner that a line gives."""
    return _owner_of(line.entry.user, line.entry.uid, line.entry.gid)


@functools.lru_cache(maxsize=64)
def _owner_of(user: bytes, uid: bytes, gid: bytes) -> Identity:
    """By qmail's reading of numbers: leading digits, none is 0 (Q-LSP-9)."""

    def number(text: bytes) -> int:
        return int(text[: len(text) - len(text.lstrip(b"0123456789"))] or b"0")

    return Identity(user.decode("latin-1"), number(uid), number(gid))


def _make(facts: Facts, path: Path, identity: Identity) -> None:
    """Make what is missing of a box, with a .qmail only where there is none."""
    box = _beneath(facts, path)
    with facts.layout.beneath(facts.layout.popboxes) as tree:
        there = tree.lstat(f"{box}/{box_directories.DOT_QMAIL}") is not None
        texts = (
            {} if there else {box_directories.DOT_QMAIL: box_directories.DotQmail(Delivery.MAILDIR).render().decode()}
        )
        box_directories.make(tree, box, dict(texts), identity, maildir=True, sync=True)


def _give(facts: Facts, path: Path, identity: Identity) -> None:
    """chown."""
    with facts.layout.beneath(facts.layout.popboxes) as tree:
        tree.give(_beneath(facts, path), identity.uid, identity.gid)


def _shut(facts: Facts, path: Path, mode: int) -> None:
    """chmod."""
    with facts.layout.beneath(facts.layout.popboxes) as tree:
        tree.shut(_beneath(facts, path), mode)


def _beneath(facts: Facts, path: Path) -> str:
    """A path below popboxes/ relative to it; it was found to be ours with links followed, now none of popuser's is."""
    place, top = os.path.normpath(path), facts.layout.popboxes
    return os.path.relpath(place, top if Path(place).is_relative_to(top) else top.resolve())


def _shown(line: AssignLine) -> str:
    return ("+" if line.entry.wild else "=") + line.entry.address.decode("latin-1")


RULES = (homes, deliveries, orphans)
