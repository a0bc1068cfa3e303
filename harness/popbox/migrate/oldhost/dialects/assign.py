"""users/assign, users/domains/* and users/cdb of the old host (Q-ASSIGN-*, Q-LSP-*)."""

from __future__ import annotations

from typing import NamedTuple

from popbox.migrate.oldhost.dialects.cdb import records
from popbox.migrate.oldhost.dialects.text import file_of, numbered, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import OldHost
from popbox.migrate.oldhost.tree import DIRECTORY, FILE, OldHostError, OldHostTree, look

COLONS = 7


class Assigned(NamedTuple):
    """One line: the address in lower case, whether it is a prefix, and who gets the mail where."""

    address: bytes
    wild: bool
    uid: bytes
    home: bytes
    dash: bytes
    ext: bytes
    where: Where


def read_assign(tree: OldHostTree, host: OldHost, home: bytes) -> list[Assigned]:
    """The lines that count, first ones first; what is wrong with the file goes to the findings."""
    path = home + b"/users/assign"
    octets = text_of(tree, host, path)
    parts = _parts(tree, host, home)
    built = _built(tree, host, home, needed=octets is None)
    if octets is None:
        host.wrong("assign-absent", Where(file_of(path)), "there is no such file")
        return built if built is not None else parts
    rows = _rows(host, path, octets, whole=True)
    _drift(host, rows, parts)
    _judge_cdb(tree, host, home)
    kept: dict[tuple[bytes, bool], Assigned] = {}
    for row in rows:
        first = kept.setdefault((row.address, row.wild), row)
        if first is not row:
            host.wrong("assign-twice", row.where, f"{shown(row.address)} stands in line {first.where.line} already")
    return _by_cdb(host, kept, built or [])


def _by_cdb(host: OldHost, kept: dict[tuple[bytes, bool], Assigned], built: list[Assigned]) -> list[Assigned]:
    """The lines, where users/cdb says something else what it says: qmail-lspawn reads nothing else (Q-LSP-8)."""
    for row in built:
        line = kept.get((row.address, row.wild))
        if line is None or line[2:6] != row[2:6]:
            told = "users/assign has no such line" if line is None else f"{line.where} says something else"
            host.wrong("cdb-differs", row.where, f"{'+' if row.wild else '='}{shown(row.address)}: {told}")
            kept[row.address, row.wild] = row
    return list(kept.values())


def _built(tree: OldHostTree, host: OldHost, home: bytes, *, needed: bool) -> list[Assigned] | None:
    """What users/cdb says; None where there is none. ``needed``: nothing else says it, so a broken one is a loss."""
    path, entry = look(tree, home + b"/users/cdb")
    if entry is None or entry.kind != FILE or not (entry.size or needed):
        return None
    where, found = Where(file_of(path)), dict[tuple[bytes, bool], Assigned]()
    try:
        for address, wild, (_, uid, _, home_, dash, ext) in records(tree.read(path)):
            found.setdefault((address, wild), Assigned(address, wild, uid, home_, dash, ext, where))
    except (OldHostError, ValueError) as why:
        if needed:
            host.unreadable(where, str(why))
        return None
    return list(found.values())


def _rows(host: OldHost, path: bytes, octets: bytes, *, whole: bool) -> list[Assigned]:
    """Parse a text; ``whole``: it is users/assign itself, which ends in a dot."""
    rows, ended = [], False
    for number, line in numbered(octets):
        where = Where(file_of(path), number)
        if ended:
            if line.strip():
                host.wrong("assign-after-dot", where, f"{shown(line)!r} stands behind the dot")
                break
        elif line.startswith(b".") and whole:
            ended = True
        elif (row := _row(host, line, where, whole=whole)) is not None:
            rows.append(row)
    if whole and not ended:
        host.wrong("assign-no-dot", Where(file_of(path), octets.count(b"\n") + 1), "no line begins with a dot")
    return rows


def _row(host: OldHost, line: bytes, where: Where, *, whole: bool) -> Assigned | None:
    address, *fields = line.split(b":")
    if b"\0" in line or not address or len(fields) < COLONS:
        text = "holds a NUL" if b"\0" in line else f"{len(fields)} colons where seven must be" if line else "is empty"
        host.wrong("assign-format", where, f"{shown(line)!r}: {text}" if line else "the line is empty")
        if whole:
            host.lose(where, "what users/cdb holds", "qmail-newu refuses this line, so the addresses may be others")
        return None
    user, uid, _, home, dash, ext = fields[:6]
    name = shown(address)
    if address[:1] not in (b"=", b"+"):
        host.wrong("assign-type", where, f"{name} begins with {shown(address[:1])!r}")
    digits = uid[: len(uid) - len(uid.lstrip(b"0123456789"))]
    if not digits:
        host.wrong("assign-empty-uid", where, f"{name}: uid is {shown(uid)!r}" if uid else f"{name}: uid is empty")
    elif int(digits[:20]) == 0:
        host.wrong("assign-root", where, f"{name}: uid is 0, user {shown(user)}")
    return Assigned(address[1:].lower(), address[:1] == b"+", uid, home, dash, ext, where)


def _parts(tree: OldHostTree, host: OldHost, home: bytes) -> list[Assigned]:
    """The lines of users/domains/*, which the HOWTO joins into users/assign."""
    real, entry = look(tree, home + b"/users/domains")
    if entry is None or entry.kind != DIRECTORY:
        return []
    rows: list[Assigned] = []
    try:
        found = tree.scan(real)
    except OldHostError as why:
        host.unreadable(Where(file_of(real)), str(why))
        return []
    for name, _ in found:
        path = real + b"/" + name
        if not name.startswith(b"."):
            rows += _rows(host, path, text_of(tree, host, path) or b"", whole=False)
    return rows


def _drift(host: OldHost, rows: list[Assigned], parts: list[Assigned]) -> None:
    there = {(row.address, row.wild, row.home) for row in rows}
    for part in parts:
        if (part.address, part.wild, part.home) not in there:
            host.wrong("assign-drift", part.where, f"{shown(part.address)} is not in users/assign so")


def _judge_cdb(tree: OldHostTree, host: OldHost, home: bytes) -> None:
    _, assign = look(tree, home + b"/users/assign")
    path, cdb = look(tree, home + b"/users/cdb")
    if cdb is None or cdb.kind != FILE:
        host.wrong("cdb-absent", Where(file_of(home + b"/users/cdb")), "there is no such file")
    elif assign is not None and assign.mtime_ns > cdb.mtime_ns:
        seconds = (assign.mtime_ns - cdb.mtime_ns) / 1e9
        host.wrong("cdb-old", Where(file_of(path)), f"is {seconds:.0f} s older than users/assign")
