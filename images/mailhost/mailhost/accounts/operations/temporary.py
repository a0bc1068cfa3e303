"""Temporary passwords: users/poppasswd.temporary and nothing else. No accounts.toml says them, no `apply` ends them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailhost.accounts.change.edit import Edit
from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.files import durable
from mailhost.accounts.layout import Layout
from mailhost.poppasswd import temporary
from mailhost.poppasswd.temporary import FILE_OCTETS, LONGEST_S, Temporary

LOCK = "temporary.lock"
LOCK_WAIT_S = 10.0
MODE = 0o600
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> int:
    """A time as it is typed: ``90m``, ``2h``, ``1d``.

    Raises:
        InputError: it is none, or longer than a day.
    """
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    lasts = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < lasts <= LONGEST_S:
        raise InputError(f"{text!r} is no time from 1s to {LONGEST_S // 3600}h, as 90m or 2h", field="--for")
    return lasts


def current(layout: Layout) -> list[Temporary]:
    """Those that count now, by login."""
    clocks = temporary.clocks()
    found = {entry.login: entry for entry in temporary.parse(_text(layout))[0] if entry.counts(*clocks)}
    return [found[login] for login in sorted(found)]


def put(layout: Layout, entries: list[Temporary]) -> None:
    """Add passwords; an earlier one of the same login ends. What has ended leaves the file.

    Raises:
        InputError: there would be more than the file may hold.
        BusyError: the file cannot be written.
    """
    new = {entry.login for entry in entries}
    _rewrite(layout, lambda there: [*(one for one in there if one.login not in new), *entries])


def end(layout: Layout, logins: set[bytes] | None) -> list[bytes]:
    """Take back those of ``logins``, or all; gives the logins that had one.

    Raises:
        BusyError: the file cannot be written.
    """
    ended: list[bytes] = []

    def without(there: list[Temporary]) -> list[Temporary]:
        ended.extend(one.login for one in there if logins is None or one.login in logins)
        return [one for one in there if logins is not None and one.login not in logins]

    _rewrite(layout, without)
    return ended


def end_with(edit: Edit) -> None:
    """Before a change is made: end those whose login it takes away, locks, or gives to another box.

    Raises:
        BusyError: the file cannot be written.
    """
    if edit.layout.temporary.exists() and (logins := edit.rows.reassigned()):
        end(edit.layout, set(logins))


def _rewrite(layout: Layout, change: Callable[[list[Temporary]], list[Temporary]]) -> None:
    """The file again, with owner and group of users/poppasswd, so that the same server reads it; gone where empty."""
    with _alone(layout):
        kept = change(current(layout))
        if not kept:
            layout.temporary.unlink(missing_ok=True)
            return
        try:
            rows = layout.poppasswd.stat()
        except OSError as why:
            raise BusyError(f"{layout.poppasswd}: {why.strerror}") from why
        mode = MODE | (rows.st_mode & 0o040)
        text = b"".join(one.line() for one in kept)
        if len(text) > FILE_OCTETS:  # what lies behind is not read
            raise InputError(f"{len(kept)} passwords are too many: give them to some of the logins", field="--for")
        staged = durable.stage(layout.temporary, text, mode)
        os.chown(staged, rows.st_uid, rows.st_gid)
        staged.chmod(mode)  # whatever the file had that it replaces
        durable.publish(staged, layout.temporary)


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    durable.make_private(layout.work)
    lock = durable.take_lock(layout.work / LOCK, LOCK_WAIT_S)
    try:
        yield
    finally:
        os.close(lock)


def _text(layout: Layout) -> bytes:
    try:
        return temporary.read(layout.poppasswd)
    except OSError as why:
        raise BusyError(f"{layout.temporary}: cannot be read: {why.strerror}") from why
