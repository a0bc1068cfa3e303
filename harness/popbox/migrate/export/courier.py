"""For courier: courierpop3dsizelist, which keeps UIDLs, beside each Maildir; userdb, the logins.

Courier makes a UIDL of two numbers (``UID7-1700000000``, whatever the file is called) or of the file's name, and orders
by the number that the name begins with. So a message keeps its UIDL by its name, or by two numbers if it is so made.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b

from popbox.migrate.copy.arranged import NAME_OCTETS
from popbox.migrate.copy.folder import Folder
from popbox.migrate.copy.run import Arrange
from popbox.migrate.copy.work import NS
from popbox.migrate.export.beside import Beside, twin_of
from popbox.migrate.export.place import Out
from popbox.migrate.oldhost.accounts import Box
from popbox.migrate.oldhost.courier_sizelist import (
    FLAGS,
    Row,
    Sizelist,
    in_cur,
    name_of,
    parse,
    place_of,
    render,
    row_for,
)
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.model import OldHost, Store
from popbox.migrate.oldhost.stores import COURIER_IDS, Contents
from popbox.migrate.oldhost.tree import CHUNK_OCTETS, OldHostError, OldHostTree
from popbox.migrate.verify.files.maildrop import Item, Maildrops

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FLAGS_OCTETS = 32  # our choice: room for the flags that a name may get, as courier gives up a name that is too long


def renamed(drops: Maildrops) -> Arrange:
    """The arrangement for `copy.run.Options`: names by which courier gives the UIDLs that clients know."""

    def arrange(_tree: OldHostTree, _host: OldHost, store: Store, there: Contents) -> Contents:
        try:
            items = {item.path: item for item in drops.items(store, [], {})}
        except OldHostError:
            return there._replace(messages=[], whole=False)  # said when its sizelist is written
        messages = [one._replace(name=name_for(items[one.path])) for one in there.messages if one.path in items]
        return there._replace(messages=messages, whole=there.whole and len(messages) == len(there.messages))

    return arrange


def name_for(item: Item) -> bytes:
    """A file's name over there. In cur/ it has flags, as courier's first RETR else makes another message of it."""
    part, name = item.path.split(b"/")[-2:]
    uidl, colon, flags = os.fsencode(item.uidl), *name.partition(b":")[1:]
    rest = colon + flags or (FLAGS if part == b"cur" else b"")
    own = name_of(uidl)
    if own is None or len(own + rest) > NAME_OCTETS - _FLAGS_OCTETS:
        seconds, ns = divmod(item.entry.mtime_ns, NS)
        own = b"%d.M%09d.%s" % (seconds, ns, blake2b(uidl, digest_size=16).hexdigest().encode())
    return own + rest


@dataclass(slots=True)
class _Opened:
    """A Maildir of the export: its own folder, and each file by the base of its name: the open folder, the name."""

    maildir: int
    files: dict[bytes, tuple[int, bytes]]


@contextmanager
def _opened(out: Out, box: Box) -> Iterator[_Opened]:
    with Folder(out.popboxes, out.maildir(box)).open_parts((b"new", b"cur")) as at:
        files = {
            os.fsencode(name).partition(b":")[0]: (folder, os.fsencode(name))
            for folder in at.values()
            for name in os.listdir(folder)
        }
        maildir = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at[b"new"])
        try:
            yield _Opened(maildir, files)
        finally:
            os.close(maildir)


def write_sizelist(out: Out, box: Box, drops: Maildrops) -> list[str]:
    """Write the file beside one Maildir; returns what of it cannot be kept, in words. ``drops`` are those exported.

    Raises:
        FolderError: a link or something else has the place of one of its folders.
        OldHostError: the Maildir cannot be listed.
        OSError: the disk refuses a read or a write.
    """
    with _opened(out, box) as at:
        noted = out.to / "state" / "sizelists" / box.domain / box.local
        beside = Beside(out, out.maildir(box), at.maildir, COURIER_IDS, noted)
        if not beside.ours:
            return [f"{box.address}: its courierpop3dsizelist is not the one that an export wrote; left as it is"]
        known = parse(beside.before) if beside.before is not None else Sizelist([], (), 1, int(time.time()))
        sizes = {row.name.partition(b":")[0]: row.size for row in known.rows}
        rows: list[Row] = []
        problems: list[str] = []
        there: list[Item] = []
        for item in drops.items(box.store, [], {}):
            base = name_for(item).partition(b":")[0]
            if base not in at.files:
                continue  # one that came since is copied by the next run
            there.append(item)
            folder, name = at.files[base]
            row, why = _row(item, folder, name, sizes.get(base), beside.written_ns)
            if why:
                told = f"{box.address}: {shown(item.path.rpartition(b'/')[2])}: the UIDL cannot be kept: {why}"
                problems.append(told)
            else:
                rows.append(row)
        after = max([known.after, *(row.uid + 1 for row in rows if row.validity == known.validity)])
        rows.sort(key=lambda row: place_of(row.name))
        beside.write(render(Sizelist(rows, (), after, known.validity)))
    return problems + _displaced(box, there, by_second=drops.profile == "qmail")


def _row(item: Item, folder: int, name: bytes, known: int | None, written_ns: int) -> tuple[Row, str]:
    """The row of a message, and why it cannot have one that keeps its UIDL."""
    uidl = os.fsencode(item.uidl)
    try:
        size = _size(folder, name, known, written_ns)
    except OSError as error:  # whose the directory is may have put a link there, or courier has moved the file
        return Row(name, 0), f"{shown(name)} cannot be read: {error.strerror}"
    row = row_for(uidl, in_cur(name), size)
    why = twin_of(item.path.rpartition(b"/")[2].partition(b":")[0], uidl)
    if not why and row is None:
        why = (
            "courier makes UIDLs of names up to a colon, with + and quotes written +HH, or as UID7 and UID7-1700000000"
        )
    return row or Row(name, size), why


def _size(folder: int, name: bytes, known: int | None, written_ns: int) -> int:
    """What courier lists: each newline counts twice. ``known`` holds where the file is older than the list it is in."""
    file = os.open(name, _READ, dir_fd=folder)
    try:
        found = os.fstat(file)
        if known is not None and found.st_ctime_ns < written_ns:
            return known
        if not stat.S_ISREG(found.st_mode):
            return 0
        lines = 0
        while octets := os.read(file, CHUNK_OCTETS):
            lines += octets.count(b"\n")
        return found.st_size + lines
    finally:
        os.close(file)


def _displaced(box: Box, there: list[Item], *, by_second: bool) -> list[str]:
    """How many messages courier shows at another place; ``by_second``: the order within a second is open."""
    theirs = sorted(there, key=lambda item: place_of(name_for(item)))
    if by_second:
        ours, shows = ([item.entry.mtime_ns // NS for item in items] for items in (there, theirs))
        count = sum(one != other for one, other in zip(ours, shows, strict=True))
    else:
        count = sum(one is not other for one, other in zip(there, theirs, strict=True))
    told = f"of {len(there)} messages have another number: courier orders by the number that a file's name begins with"
    return [f"{box.address}: {count} {told}"] if count else []


def user(box: Box, home: str, owner: tuple[int, int]) -> str:
    """The line of one login in courier-authlib's userdb; empty for a locked login."""
    if box.login is None or not box.login.has_hash:
        return ""
    fields = f"uid={owner[0]}|gid={owner[1]}|home={home}|mail={home}/Maildir"
    return f"{box.login.name}\t{fields}|systempw={box.login.crypt.decode('ascii')}\n"
