"""Mail of mailboxes that were taken away: what lies in popboxes/.removed, whose it was, and its way back.

A box goes there as ``<prefix>/<box>.<time>``, a domain as ``<prefix>.<time>`` with its boxes. Its record,
``popboxes/.removed.records/<that, with : for />``, is root's, as the boxes are popuser's: the address, and the rows of
users/poppasswd that opened it. A mailbox that is declared again with the same login and the same password gets its mail
back: whoever can open the new box could read that mail before. `mailhost removed restore` gives it to anyone else.
"""

from __future__ import annotations

import calendar
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailhost.accounts.errors import InputError
from mailhost.accounts.layout import Layout
from mailhost.poppasswd import crypt as hashing

REMOVED, RECORDS = ".removed", ".removed.records"
_TIMED = re.compile(r"(?P<name>.+)\.(?P<at>[0-9]{8}T[0-9]{6}Z)(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a box was: its address, and (login, hash) of each row that opened it."""

    address: str
    rows: tuple[tuple[str, str], ...] = ()

    def login_of(self, login: str | None, crypt: str, password: bytes | None) -> str | None:
        """The login that a new declaration shares with the old box, password and all; None where it shares none."""
        for mine, hashed in self.rows:
            if login not in (None, mine):
                continue
            bare = hashed.removeprefix("!")
            if crypt.removeprefix("!") == bare or (password is not None and hashing.verify(password, bare.encode())):
                return mine
        return None


@dataclass(frozen=True, slots=True)
class Kept:
    """One box that is kept. ``name`` is its path below .removed, which names it; ``at_s`` is in seconds since 1970."""

    name: str
    at_s: int
    owner: Owner

    def path(self, layout: Layout) -> Path:
        """Its directory."""
        return layout.popboxes / REMOVED / self.name


def record_path(layout: Layout, aside: Path) -> Path:
    """The record of a directory that was set aside."""
    name = str(aside.relative_to(layout.popboxes / REMOVED)).replace("/", ":")
    return layout.popboxes / RECORDS / name


def record(owners: dict[str, Owner]) -> str:
    """A record's text: box (empty: the directory itself) -> whose it was."""
    return json.dumps({box: [owner.address, owner.rows] for box, owner in owners.items()})


def _owners(layout: Layout, aside: Path) -> dict[str, Owner]:
    """What the record says; nothing where there is none, or none of ours: such a box goes back by hand alone.

    What a newer mailhost may add behind an address and its rows, or behind a row's login and hash, is passed over.
    """
    path = record_path(layout, aside)
    try:
        if path.lstat().st_uid != os.geteuid():
            return {}
        said = json.loads(path.read_bytes())
        return {box: _owner(*about) for box, about in said.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _owner(address: object, rows: list[list[object]], *_newer: object) -> Owner:
    """Read a record.

    Raises:
        TypeError, ValueError: not what a record says.
    """
    return Owner(_text(address), tuple((_text(login), _text(crypt)) for login, crypt, *_ in rows))


def _text(said: object) -> str:
    if not isinstance(said, str):
        raise TypeError(said)
    return said


def kept(layout: Layout) -> list[Kept]:
    """Every box in .removed, the newest first. A name there that is not of our form, or a link, is none.

    Raises:
        InputError: .removed is a link, or not a directory.
    """
    found: list[Kept] = []
    for entry in _directories(_top(layout)):
        at_s = _at_s(entry.name)
        if at_s is not None:
            owners = _owners(layout, Path(entry.path))
            found += [_kept(layout, box, at_s, owners.get(box.name)) for box in _directories(entry.path)]
        else:
            for box in _directories(entry.path):
                if (at_s := _at_s(box.name)) is not None:
                    owner = _owners(layout, Path(box.path)).get("")
                    found.append(_kept(layout, box, at_s, owner))
    return sorted(found, key=lambda one: (one.at_s, one.name), reverse=True)


def _at_s(name: str) -> int | None:
    """When a directory of this name was set aside; None for a name that is not of our form, or of no day there is."""
    timed = _TIMED.fullmatch(name)
    try:
        return calendar.timegm(time.strptime(timed["at"], "%Y%m%dT%H%M%SZ")) if timed else None
    except ValueError:
        return None


def _kept(layout: Layout, box: os.DirEntry[str], at_s: int, owner: Owner | None) -> Kept:
    name = str(Path(box.path).relative_to(layout.popboxes / REMOVED))
    return Kept(name, at_s, owner or Owner(""))


def _top(layout: Layout) -> str:
    top = layout.popboxes / REMOVED
    try:
        if not stat.S_ISDIR(top.lstat().st_mode):
            raise InputError("is not a directory", file=layout.shown(top))
    except FileNotFoundError:
        pass
    return str(top)


def _directories(path: str) -> Iterator[os.DirEntry[str]]:
    """The directories in one that we can have named, no links; none where there is no such directory."""
    try:
        with os.scandir(path) as entries:
            ours = (entry for entry in entries if entry.name.isascii() and entry.name.isprintable())
            there = sorted((entry for entry in ours if entry.is_dir(follow_symlinks=False)), key=lambda e: e.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from there


def one(layout: Layout, wanted: str) -> Kept:
    """The box of this name, or the only one of this address.

    Raises:
        InputError: there is none, or there are several of this address.
    """
    found = [box for box in kept(layout) if wanted in (box.name, box.owner.address)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(box.name for box in found)
    rule = f"several are kept, say which: {names}" if found else "no such mailbox is kept; `mailhost removed list`"
    raise InputError(rule, file=f"popboxes/{REMOVED}", field=wanted)
