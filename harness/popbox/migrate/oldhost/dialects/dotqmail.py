""".qmail files of the old host: which one an address uses, and where it sends the mail (Q-DOT-*, Q-LINE-*)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from popbox.migrate.oldhost.dialects.folders import scan
from popbox.migrate.oldhost.dialects.programs import meaning
from popbox.migrate.oldhost.dialects.text import address, file_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import MAILDIR, MBOX, OldHost, Said, Store
from popbox.migrate.oldhost.tree import DIRECTORY, ESCAPES, FILE, OUTSIDE, DirEntry, OldHostError, OldHostTree, look

DOT_OCTETS = 1 << 20  # our choice: mailing lists of 50,000 addresses
FOR_ALL, STICKY, EXECUTABLE = 0o002, 0o1000, 0o100
KEPT = 1 << 16  # our choice: .qmail files whose meaning is remembered


def candidates(dash: bytes, ext: bytes) -> list[bytes]:
    """The names that qmail-local tries, in its order (Q-DOT-1, -2, -4)."""
    safe = ext.lower().replace(b".", b":")
    cuts = [end for end in range(len(safe), -1, -1) if end == 0 or safe[end - 1 : end] == b"-"]
    return [b".qmail" + dash + safe] + [b".qmail" + dash + safe[:end] + b"default" for end in cuts]


def home_of(tree: OldHostTree, host: OldHost, path: bytes, where: Where) -> bytes | None:
    """The real directory that a line names as a home, judged once; None where there is none to look into."""
    if path in host.named_homes and b".." not in path:
        return host.named_homes[path]
    if not path.startswith(b"/"):
        host.wrong("home-relative", where, f"home {shown(path)!r} does not begin with a slash")
        return None
    if b".." in path.split(b"/"):
        host.wrong("home-dotdot", where, f"home {shown(path)!r}")
    real, entry = look(tree, path)
    if real in host.homes:
        host.named_homes[path] = real
        return real
    if entry is None or entry.kind not in (DIRECTORY, OUTSIDE, ESCAPES):
        host.wrong("home-missing", where, f"home {shown(path)} is no directory")
        return None
    if entry.kind == OUTSIDE:
        host.wrong("home-outside", where, f"home {shown(path)} is not in {tree.name}")
        return None
    if entry.kind == ESCAPES:
        host.wrong("home-escapes", where, f"home {shown(path)}")
        return None
    host.homes.add(real)
    host.named_homes[path] = real
    if entry.mode & FOR_ALL:
        host.wrong("home-writable", Where(file_of(real)), f"mode {entry.mode:04o}")
    elif entry.mode & STICKY:
        host.wrong("home-sticky", Where(file_of(real)), f"mode {entry.mode:04o}")
    return real


def follow(
    tree: OldHostTree, host: OldHost, home: bytes, dash: bytes, ext: bytes, *, tried: int | None = None
) -> Said | None:
    """What happens to mail for (dash, ext) in a real home; None where it bounces. ``tried`` limits the names tried.

    Many addresses lead to one home: what was read for it last is not read again, nor what is wrong with it told again.
    """
    key = home, dash, ext, tried
    if key not in host.followed:
        if len(host.followed) >= KEPT:
            host.followed.clear()
        host.followed[key] = _follow(tree, host, home, dash, ext, tried)
    said = host.followed[key]
    return said and replace(said, stores=list(said.stores), forwards=list(said.forwards), sent=list(said.sent))


def _follow(tree: OldHostTree, host: OldHost, home: bytes, dash: bytes, ext: bytes, tried: int | None) -> Said | None:
    for name in candidates(dash, ext)[:tried]:
        path, entry = look(tree, home + b"/" + name)
        if entry is None:
            continue
        if not _regular(host, home + b"/" + name, entry):
            continue
        said = read_dotqmail(tree, host, home, path, entry)
        return None if said.refuses else said
    if dash:
        return None
    said = _by_default(tree, host, home, Said(Where(file_of(home + b"/.qmail")), found=False))
    return None if said.refuses else said


def _regular(host: OldHost, path: bytes, entry: DirEntry) -> bool:
    if entry.kind != FILE:
        host.wrong("dotqmail-not-regular", Where(file_of(path)), f"it is a {entry.kind}")
        if entry.kind in (OUTSIDE, ESCAPES):
            host.lose(Where(file_of(path)), "what it says", "the link leads out of the copy, or in a circle")
    return entry.kind == FILE


def dotqmails(tree: OldHostTree, host: OldHost, home: bytes, base: bytes) -> list[tuple[bytes, bytes, DirEntry]]:
    """The files of a home that an address can use: name, real path, entry. Names in upper case are none (Q-DOT-1)."""
    found = []
    for name, entry in scan(tree, host, home):
        if name.startswith(base) and name != base and name == name.lower():
            path, real = (home + b"/" + name, entry) if entry.kind == FILE else look(tree, home + b"/" + name)
            if real is not None and _regular(host, home + b"/" + name, real):
                found.append((name, path, real))
    return found


def read_dotqmail(
    tree: OldHostTree,
    host: OldHost,
    home: bytes,
    path: bytes,
    entry: DirEntry,
    passed: Callable[[bytes, Where], bool] = lambda _line, _where: False,
) -> Said:
    """One file: its stores and forwards; programs and the like are left, each with its line.

    ``passed``: takes a line that the caller knows how to carry over.
    """
    file = file_of(path)
    said = Said(Where(file))
    if entry.mode & FOR_ALL:
        host.wrong("dotqmail-writable", said.where, f"mode {entry.mode:04o}")
    try:
        text = tree.read(path, DOT_OCTETS)
    except OldHostError as why:
        host.unreadable(said.where, str(why))
        return said
    lines = [line.rstrip(b" \t") for line in text.split(b"\n")]
    if not text:
        _by_default(tree, host, home, said)
    elif not lines[0]:
        host.wrong("dotqmail-blank-first", Where(file, 1), "blank")
    for number, line in enumerate(lines, start=1):
        if said.ended:
            break
        if not passed(line, Where(file, number)):
            _line(tree, host, home, said, line, Where(file, number))
    if entry.mode & EXECUTABLE and any(line[:1] in (b".", b"/", b"|") for line in lines):
        host.wrong("dotqmail-executable", said.where, f"mode {entry.mode:04o}")
    if text and all(line[:1] in (b"", b"#") for line in lines) and lines[0]:
        host.wrong("dotqmail-discards", said.where, "no line delivers anything")
        host.leave(
            said.where,
            "an address whose mail is thrown away",
            "mailhost declares none; mail to it will bounce, or come into the login's mailbox",
        )
    return said


def _by_default(tree: OldHostTree, host: OldHost, home: bytes, said: Said) -> Said:
    """The lines that qmail-start was given, as if the file held them (Q-LINE-8)."""
    for line in host.default_delivery.split(b"\n"):
        if not said.ended:
            _line(tree, host, home, said, line.rstrip(b" \t"), said.where)
    return said


def _line(tree: OldHostTree, host: OldHost, home: bytes, said: Said, line: bytes, where: Where) -> None:
    """The first octet decides (Q-LINE-4)."""
    first = line[:1]
    if first in (b"", b"#"):
        return
    if first == b"|":
        _program(tree, host, home, said, line[1:].strip(), where)
    elif first == b"+":
        host.leave(where, f"directive {shown(line)!r}", "mailhost's .qmail files have none")
    elif line.endswith(b"\r"):
        host.wrong("dotqmail-carriage-return", where, f"{shown(line)!r} ends in CR")
        _line(tree, host, home, said, line.rstrip(b"\r"), where)
    elif first in (b".", b"/"):
        _store(tree, host, home, said, line, where)
    else:
        written = line.removeprefix(b"&")
        target = address(written if b"@" in written else written + b"@" + host.envnoathost)
        if target is None:
            host.wrong("dotqmail-forward", where, f"{shown(line)!r}")
            host.lose(where, f"forward to {shown(line)!r}", "it is not local@domain")
        else:
            said.forwards.append(target)


def _program(tree: OldHostTree, host: OldHost, home: bytes, said: Said, command: bytes, where: Where) -> None:
    """A program that only delivers is what it delivers to; every program is told."""
    found = meaning(tree, home, command)
    if found is None:
        said.guessed = True
        host.guessed.add(home)
        host.leave(where, f"program {shown(command)!r}", "mailhost runs none; write its .qmail by hand")
        return
    if found.defers:
        _held(host, said, command, where)
        return
    said.stores += found.stores
    said.forwards += found.forwards
    said.sent += found.forwards
    said.ended = found.ends or found.refuses
    if found.refuses:  # a failing line cancels the forwards, not what is delivered already (E-52)
        said.forwards, said.bounced = list(said.sent), True
        said.refuses = not said.stores and not said.sent and not said.guessed
    targets = [*(shown(store.path) for store in found.stores), *found.forwards]
    becomes = f"it becomes delivery to {', '.join(targets)}" if targets else "it delivers to no mailbox"
    without = f", without {', '.join(found.lost)}" if found.lost else ""
    host.leave(where, f"program {shown(command)!r}", "mail is refused, on the new host too" if found.refuses else
               becomes + without)  # fmt: skip


def _held(host: OldHost, said: Said, command: bytes, where: Where) -> None:
    """Mail waits (Q-PROG-2) until the operator takes the line away: the others say what is meant for it then."""
    if said.held is None:
        said.held = list(said.stores), list(said.sent)
    why = "mail waits on the old host and is tried again; on the new one it goes where the other lines say"
    host.leave(where, f"program {shown(command)!r}", why)


def _store(tree: OldHostTree, host: OldHost, home: bytes, said: Said, line: bytes, where: Where) -> None:
    path = os.path.normpath(os.path.join(home, line))
    if line.endswith(b"/"):
        said.stores.append(Store(MAILDIR, path))
        return
    _, entry = look(tree, path)
    if entry is not None and entry.kind == DIRECTORY:
        host.wrong("dotqmail-no-slash", where, f"{shown(line)!r} is a directory")
        said.stores.append(Store(MAILDIR, path))
    elif path.startswith(b"/dev/"):
        host.wrong("dotqmail-device", where, f"{shown(line)!r}")
        host.leave(where, f"delivery to {shown(line)!r}", "it is no mailbox")
    else:
        said.stores.append(Store(MBOX, path))
