"""Mail of mailboxes that were taken away: what lies in popboxes/.removed, whose it was, and its way back.

A box goes there as ``<prefix>/<box>.<time>``, a domain as ``<prefix>.<time>`` with its boxes. Its record,
``popboxes/.removed.records/<that, with : for />``, is root's, as the boxes are popuser's: the address, and the rows of
users/poppasswd that opened it. A mailbox that is declared again with the same login and the same password gets its mail
back: whoever can open the new box could read that mail before. Anybody else is given it by `mailhost removed restore`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailhost.accounts import hashing
from mailhost.accounts.errors import InputError
from mailhost.accounts.layout import Layout

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
    """One box that is kept. ``name`` is its path below .removed, which names it; ``at`` is UTC, as in the name."""

    name: str
    at: str
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
    """What the record says; nothing where there is none, or none of ours: such a box goes back by hand alone."""
    path = record_path(layout, aside)
    try:
        if path.lstat().st_uid != os.geteuid():
            return {}
        said = json.loads(path.read_bytes())
        return {
            box: Owner(address, tuple((login, crypt) for login, crypt in rows)) for box, (address, rows) in said.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def kept(layout: Layout) -> list[Kept]:
    """Every box in .removed, the newest first. A name there that is not of our form, or a link, is none.

    Raises:
        InputError: .removed is a link, or not a directory.
    """
    found: list[Kept] = []
    for entry in _directories(_top(layout)):
        timed = _TIMED.fullmatch(entry.name)
        if timed:
            owners = _owners(layout, Path(entry.path))
            found += [_kept(layout, box, timed["at"], owners.get(box.name)) for box in _directories(entry.path)]
        else:
            for box in _directories(entry.path):
                if timed := _TIMED.fullmatch(box.name):
                    owner = _owners(layout, Path(box.path)).get("")
                    found.append(_kept(layout, box, timed["at"], owner))
    return sorted(found, key=lambda one: (one.at, one.name), reverse=True)


def _kept(layout: Layout, box: os.DirEntry[str], at: str, owner: Owner | None) -> Kept:
    name = str(Path(box.path).relative_to(layout.popboxes / REMOVED))
    return Kept(name, at, owner or Owner(""))


def _top(layout: Layout) -> str:
    top = layout.popboxes / REMOVED
    try:
        if not stat.S_ISDIR(top.lstat().st_mode):
            raise InputError("is not a directory", file=layout.shown(top))
    except FileNotFoundError:
        pass
    return str(top)


def _directories(path: str) -> Iterator[os.DirEntry[str]]:
    """The directories in one, no links; none where there is no such directory."""
    try:
        with os.scandir(path) as entries:
            there = sorted((entry for entry in entries if entry.is_dir(follow_symlinks=False)), key=lambda e: e.name)
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
