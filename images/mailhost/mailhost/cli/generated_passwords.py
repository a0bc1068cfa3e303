"""Made-up passwords, and the one file that shows many of them.

The file is whole before a password of it counts, and a run that is repeated after a crash takes them from there again:
so no mailbox has a password that no one knows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.files import durable
from mailhost.system.durable import sync_directory

FIELD = "--generate"


def known(path: Path, head: Sequence[str]) -> dict[str, list[str]]:
    """Address -> row of the file that an earlier run wrote; none where there is no file.

    Raises:
        InputError: what is there is no such file, or another user could have written it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as why:
        raise InputError(f"cannot be read: {why.strerror}", file=str(path), field=FIELD) from why
    status = os.fstat(descriptor)
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
    try:
        text = os.pread(descriptor, status.st_size, 0) if ours else b""
    finally:
        os.close(descriptor)
    lines = text.decode("ascii", "replace").splitlines()
    rows = [line.split(",") for line in lines]
    if not rows or rows[0] != list(head) or any(len(row) != len(head) for row in rows):
        rule = "is there already, and is no file of passwords that this command has written; name another"
        raise InputError(rule, file=str(path), field=FIELD)
    return {row[0]: row for row in rows[1:]}


def write(path: Path, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Make the file, which only its owner reads, whole and on disk; one that is there has all these rows already.

    Raises:
        InputError: it lacks one of them, or cannot be made.
    """
    place, wanted = path.absolute(), [list(row) for row in rows]
    there = known(path, head)
    if there or path.exists():
        lacking = [row[0] for row in wanted if there.get(row[0]) != row]
        if lacking:
            rule = f"is there already, without the password of {lacking[0]}; name another"
            raise InputError(rule, file=str(path), field=FIELD)
        durable.staged_name(place).unlink(missing_ok=True)  # a crash left it
        return
    text = "".join(",".join(row) + "\n" for row in [list(head), *wanted])
    try:
        staged = durable.stage(place, text.encode("ascii"), 0o600)
        os.link(staged, place)
        staged.unlink()
        sync_directory(place.parent)
    except (OSError, BusyError) as why:
        reason = why.strerror if isinstance(why, OSError) else str(why)
        raise InputError(f"cannot be made: {reason}", file=str(path), field=FIELD) from why
