"""What is done with a box in popboxes/.removed by hand: count its mail, hand it to a mailbox, remove it for good.

The boxes belong to popuser, who could put a link in any place: every name in them is reached by descriptors that
follow none, and nothing is written over. A message moves by a link and an unlink: what was killed is run again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailhost.accounts.errors import BusyError, InputError
from mailhost.accounts.files.removed import REMOVED, Kept, record_path
from mailhost.accounts.layout import Identity, Layout
from mailhost.system.removal import remove_directory

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAIL = ("new", "cur")


@dataclass(frozen=True, slots=True)
class Mail:
    """How much a box holds, in all its folders; ``mbox``: octets of ./Mailbox."""

    messages: int = 0
    octets: int = 0
    mbox: int = 0


def mail(layout: Layout, one: Kept) -> Mail:
    """What a kept box holds.

    Raises:
        BusyError: it cannot be looked into.
    """
    sizes: list[int] = []
    try:
        with _kept(layout, one) as box, _below(box, "Maildir") as maildir:
            mbox = _size(box, "Mailbox") or 0
            for name in _folder_names(maildir):
                with _below(maildir, name) as folder:
                    for place in MAIL:
                        with _below(folder, place) as there:
                            sizes += [size for file in _names(there) if (size := _size(there, file)) is not None]
    except OSError as why:
        raise BusyError(f"popboxes/{REMOVED}/{one.name}: cannot be looked into: {why.strerror}") from why
    return Mail(len(sizes), sum(sizes), mbox)


def restore(layout: Layout, one: Kept, box: Path) -> tuple[int, int]:
    """Move the mail of a kept box into a mailbox's directory; how many messages, and how many stay.

    A message stays whose name is taken there by another one; ./Mailbox moves where there is none.

    Raises:
        BusyError: the system refuses one; those before it have moved.
    """
    moved: list[bool] = []
    try:
        with _kept(layout, one) as old, _opened(layout, str(box.relative_to(layout.popboxes))) as new:
            with _below(old, "Maildir") as source, _made(new, "Maildir", layout.identity) as target:
                for name in _folder_names(source):
                    with _below(source, name) as folder, _made(target, name, layout.identity) as into:
                        _restore_folder(folder, into, layout.identity, moved)
            if _size(old, "Mailbox"):
                moved.append(_move("Mailbox", old, new))
    except OSError as why:
        raise BusyError(f"popboxes/{REMOVED}/{one.name}: after {sum(moved)} messages: {why.strerror}") from why
    return sum(moved), len(moved) - sum(moved)


def _restore_folder(folder: int | None, into: int, identity: Identity, moved: list[bool]) -> None:
    """One Maildir's messages, and the files that mail programs keep beside them."""
    for place in ("tmp", *MAIL):
        with _below(folder, place) as source, _made(into, place, identity) as target:
            for name in [] if place == "tmp" or source is None else _names(source):
                if source is not None and _size(source, name) is not None:
                    moved.append(_move(name, source, target))
            os.fsync(target)
    for name in _names(folder):
        if folder is not None and _size(folder, name) is not None:
            _move(name, folder, into)
    os.fsync(into)


def _move(name: str, source: int, target: int) -> bool:
    """True where it is there now; False where another file has the name."""
    try:
        os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError:
        mine = os.stat(name, dir_fd=source, follow_symlinks=False)
        there = os.stat(name, dir_fd=target, follow_symlinks=False)
        if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
            return False
    os.unlink(name, dir_fd=source)
    return True


def purge(layout: Layout, one: Kept) -> None:
    """Remove a kept box for good, and its record where that is of it alone.

    Raises:
        InputError: it is not one that we put there.
        BusyError: the system refuses; what is left is purged by another run.
    """
    above, _, name = one.name.rpartition("/")
    try:
        with _opened(layout, f"{REMOVED}/{above}") as directory:
            _prove(layout, one, directory, name)
            remove_directory(directory, name)
            os.fsync(directory)
        record_path(layout, one.path(layout)).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are kept there
            one.path(layout).parent.rmdir()
            record_path(layout, one.path(layout).parent).unlink(missing_ok=True)
    except OSError as why:
        raise BusyError(f"popboxes/{REMOVED}/{one.name}: cannot be removed: {why.strerror}") from why


def _prove(layout: Layout, one: Kept, directory: int, name: str) -> None:
    """A directory of the mail user's (or ours) in a folder of ours, on the disk of .removed."""
    above, found = os.fstat(directory), os.stat(name, dir_fd=directory, follow_symlinks=False)
    ours = {os.geteuid(), layout.identity.uid}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours or above.st_uid != os.geteuid():
        rule = f"is not a box that was set aside: it belongs to uid {found.st_uid}, its folder to {above.st_uid}"
        raise InputError(rule, file=f"popboxes/{REMOVED}/{one.name}")
    if found.st_dev != above.st_dev:
        raise InputError("is another file system", file=f"popboxes/{REMOVED}/{one.name}")


@contextlib.contextmanager
def _opened(layout: Layout, path: str) -> Iterator[int]:
    """A directory of popboxes/, by no link that is not root's."""
    with layout.beneath(layout.popboxes) as tree, tree.directory(path) as descriptor:
        yield descriptor


def _kept(layout: Layout, one: Kept) -> contextlib.AbstractContextManager[int]:
    return _opened(layout, f"{REMOVED}/{one.name}")


@contextlib.contextmanager
def _below(directory: int | None, name: str) -> Iterator[int | None]:
    """A directory in one, by no link; the directory itself where ``name`` is empty; None where there is none."""
    try:
        descriptor = None if directory is None else os.open(name or ".", _FLAGS, dir_fd=directory)
    except OSError as why:
        if why.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def _made(directory: int, name: str, identity: Identity) -> Iterator[int]:
    """The same, made for the mail user where it is missing; a link in its place is refused (OSError)."""
    if name:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=directory)
            if os.geteuid() == 0:
                os.chown(name, identity.uid, identity.gid, dir_fd=directory, follow_symlinks=False)
    descriptor = os.open(name or ".", _FLAGS, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _names(directory: int | None) -> list[str]:
    return [] if directory is None else sorted(os.listdir(directory))


def _folder_names(maildir: int | None) -> list[str]:
    """The Maildir itself, as the empty name, and its folders (Maildir++)."""
    return ["", *(name for name in _names(maildir) if name.startswith(".") and _is_directory(maildir, name))]


def _is_directory(directory: int | None, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


def _size(directory: int | None, name: str) -> int | None:
    """The octets of a regular file; None for anything else."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False) if directory is not None else None
    except FileNotFoundError:
        return None
    return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None
