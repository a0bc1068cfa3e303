"""Backup and restore on the mail host: folders that are not ours alone, walked by descriptors, no link followed.

Root works in boxes that belong to popuser, who may put a link, a FIFO or a hard link to root's file in the place of
any name, at any time. So a name is opened with O_NOFOLLOW in a folder that is open, and checked by its descriptor.
This is a small copy of ``mailhost.system.beneath``: it runs by itself, also where mailhost is of another version.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

PARTS = ("control", "users", "alias", "popboxes", "queue")
SNAPSHOT, STAGE, UNDO = ".popbox-backup", ".popbox-restore", ".popbox-undo"
OURS = (SNAPSHOT, STAGE, UNDO, ".backup")  # at the top of a part only; the last one is what older versions left there
DEEPEST = 64  # our choice: what lies deeper is no mail, and would run us out of descriptors
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


at_work = [""]  # the part that is being walked, for errors


def run(verbs: dict[str, Callable[[Path], None]]) -> None:
    """The program: a verb and the home. What the system refuses is one line, as of a full disk."""
    try:
        verbs[sys.argv[1]](Path(sys.argv[2]))
    except OSError as why:
        name = os.fsdecode(why.filename) if isinstance(why.filename, str | bytes) else ""
        sys.exit(": ".join(filter(None, (at_work[0], name, why.strerror or str(why)))))


def say(text: str) -> None:
    """A remark for the operator."""
    print(text, file=sys.stderr)


def tops(home: Path) -> Iterator[tuple[str, int]]:
    """Each part of the home that is there, opened; its own name is root's, so a link there is followed."""
    for part in PARTS:
        if (home / part).is_dir():
            at_work[0] = str(home / part)
            top = os.open(home / part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield part, top
            finally:
                os.close(top)


def descend(top: int, path: str, *, make: bool = False) -> int:
    """A folder below ``top``, opened one name at a time; with ``make`` those that are missing are made, 0700."""
    at = os.dup(top)
    for name in path.split("/") if path else ():
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=at)
            below = os.open(name, FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def folders(top: int, left_out: tuple[str, ...] = ()) -> Iterator[tuple[str, int, list[str]]]:
    """Each folder from ``top`` on: its path, a descriptor, the names in it that are no folders.

    ``left_out`` names folders at the top that are not entered. What is gone or something else since its name was read
    is not entered either.
    """
    waiting = [""]
    while waiting:
        path = waiting.pop()
        try:
            at = descend(top, path)
        except OSError as why:
            if why.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            continue
        try:
            with os.scandir(at) as entries:
                found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
            yield path, at, [name for name, is_folder in found if not is_folder]
        finally:
            os.close(at)
        below = [name for name, is_folder in found if is_folder and not (path == "" and name in left_out)]
        if below and path.count("/") + 1 >= DEEPEST:
            say(f"left out: what lies deeper than {DEEPEST} folders, in {path[:80]!r}...")
            continue
        waiting += [f"{path}/{name}" if path else name for name in reversed(below)]


def lstat(at: int, name: str) -> os.stat_result | None:
    """What has this name, which is not followed; None where nothing has."""
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None


def our_own(top: int, name: str, *, make: bool = False) -> int | None:
    """A folder that is ours alone, 0700: no other user can put anything there. None where it is missing."""
    if make:
        os.mkdir(name, 0o700, dir_fd=top)
    elif lstat(top, name) is None:
        return None
    try:
        at = os.open(name, FOLDER, dir_fd=top)
    except OSError as why:
        sys.exit(f"{name}: is no folder of popbox's: {why.strerror}; remove it by hand")
    found = os.fstat(at)
    mode = stat.S_IMODE(found.st_mode) & ~stat.S_ISGID  # which alias/ hands on to each folder in it
    if found.st_uid != os.geteuid() or mode != 0o700:
        sys.exit(f"{name}: belongs to uid {found.st_uid} with mode {mode:04o}, so it is none of popbox's")
    return at


def drop_own(top: int, name: str) -> None:
    """Remove such a folder with all in it, where it is ours."""
    at = our_own(top, name)
    if at is not None:
        os.close(at)
        shutil.rmtree(name, dir_fd=top)


def second_name_of_others(found: os.stat_result, folder: os.stat_result, names: int) -> bool:
    """Whether a file has more names than ``names`` and is not its folder's owner's, who can have made the one here."""
    return found.st_nlink > names and found.st_uid != folder.st_uid
