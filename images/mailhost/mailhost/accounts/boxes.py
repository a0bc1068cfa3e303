"""A box on disk: ``popboxes/<prefix>/<box>/`` with ``.qmail``, ``.qmail-default`` and ``Maildir/{tmp,new,cur}``."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mailhost.accounts.errors import BusyError
from mailhost.accounts.files import SUFFIX, make_directory, sync_directory, write_all
from mailhost.accounts.layout import Identity

DOT_QMAIL, DOT_DEFAULT = ".qmail", ".qmail-default"
_MAILDIR = ("Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur")


_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})


class Delivery(Enum):
    """Where a box keeps its mail; the value is the line in ``.qmail``. Only a Maildir is seen by POP3 (H-33)."""

    MAILDIR = "./Maildir/"
    MBOX = "./Mailbox"


@dataclass(frozen=True, slots=True)
class DotQmail:
    """What a ``.qmail`` of ours says: at most one delivery, then any number of forwards."""

    delivery: Delivery | None
    forwards: tuple[str, ...] = ()

    def render(self) -> bytes:
        """The file's text."""
        lines = [self.delivery.value] if self.delivery else []
        return "".join(f"{line}\n" for line in [*lines, *("&" + target for target in self.forwards)]).encode()


def parse(text: bytes) -> DotQmail | int:
    """Read a ``.qmail`` of ours; or the number of the first line that is none of ours (a program, a comment, ...)."""
    delivery: Delivery | None = None
    forwards: list[str] = []
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        if line.startswith(b"&") and line.isascii() and b"@" in line and line[-1:] not in (b" ", b"\t", b"\r"):
            forwards.append(line[1:].decode())
        elif number == 1 and line in (b"./Maildir/", b"./Mailbox"):
            delivery = Delivery(line.decode())
        else:
            return number
    return DotQmail(delivery, tuple(forwards))


def read(path: str) -> bytes | None:
    """The text of a .qmail, None where there is none; what is no regular file counts as none, as it does for qmail.

    Its directory belongs to the one who delivers there, who could put a FIFO in its place to hold root up (Q-DOT-7).

    Raises:
        BusyError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as why:
        if why.errno in _ABSENT:
            return None
        raise BusyError(f"{path}: cannot be read: {why.strerror}") from why
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def make(box: str, texts: dict[str, str], identity: Identity, *, maildir: bool, sync: bool) -> None:
    """Make what is missing of a box and write its files; 0700 and 0600, owned by the identity.

    A new box appears whole, by a rename: where it takes the place of one that was moved aside, mail is led there
    already, and a box without its .qmail yet would have that mail in ./Mailbox (Q-DOT-6). Written so that it can be
    done again after a crash. ``sync`` makes it durable at once; without it the caller syncs once for many boxes. Paths
    are plain strings here: this is done a hundred thousand times in one `apply`.

    Raises:
        BusyError: the system refuses (disk full, no permission).
    """
    try:
        parent, _, name = box.rpartition("/")
        fresh = not os.path.isdir(box)  # noqa: PTH112
        place = f"{parent}/.{name}{SUFFIX}" if fresh else box
        if fresh:
            _make_directory(place)
        if maildir:
            _make_maildir(place, identity, fresh=fresh, sync=sync)
        for file, text in texts.items():
            _put(f"{place}/", file, text, identity, fresh=fresh, sync=sync)
        if os.geteuid() == 0:
            _own(place, identity)
        if fresh:
            os.rename(place, box)  # noqa: PTH104
        if sync:
            for path in (box, parent):
                sync_directory(path)
    except OSError as why:
        raise BusyError(f"{why.filename or box}: {why.strerror}") from why


def _make_directory(path: str) -> None:
    """Make one directory, 0700, anew where a crash left one. The prefix's own directory is everybody's to search."""
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102
    except FileExistsError:
        shutil.rmtree(path)
        os.mkdir(path, 0o700)  # noqa: PTH102
    except FileNotFoundError:
        make_directory(Path(path).parent)  # popuser must search it, whatever the umask (Q-PERM-6)
        os.mkdir(path, 0o700)  # noqa: PTH102


def _make_maildir(box: str, identity: Identity, *, fresh: bool, sync: bool) -> None:
    """Make what is missing of the Maildir. In a box that popuser has already, no name on the way is followed."""
    if fresh:
        made = [f"{box}/{name}" for name in _MAILDIR]
        for path in made:
            os.mkdir(path, 0o700)  # noqa: PTH102
            if os.geteuid() == 0:
                _own(path, identity)
        for path in made if sync else ():
            sync_directory(path)
        return
    for name in _MAILDIR:
        above, _, last = f"{box}/{name}".rpartition("/")
        with descriptor_of(Path(above), Path(box)) as directory:
            with contextlib.suppress(FileExistsError):
                os.mkdir(last, 0o700, dir_fd=directory)
            if os.geteuid() == 0:
                _own(last, identity, directory)
            if sync:
                os.fsync(directory)


@contextlib.contextmanager
def descriptor_of(path: Path, base: Path) -> Iterator[int]:
    """Open a directory or file below ``base`` and follow no link on the way from there.

    What is in a box belongs to popuser, who could put a link in the place of any name, also between a look at it and
    root's chown: so root names things there by descriptors only. ``base`` is root's, its own links are followed.

    Raises:
        OSError: something on the way is missing or a link (ELOOP, ENOTDIR), or ``path`` is not below ``base``.
    """
    if not path.is_relative_to(base):
        raise OSError(errno.ELOOP, f"a link leads out of {base}", str(path))
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(base, flags | os.O_DIRECTORY)
    try:
        for name in path.relative_to(base).parts:
            below = os.open(name, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _put(base: str, name: str, text: str, identity: Identity, *, fresh: bool, sync: bool) -> None:
    """Replace one file of a box. The box belongs to popuser, so no name in it is followed when root writes there."""
    staged = base + (name if fresh else SUFFIX)  # nobody is led into a fresh box yet
    if not fresh:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)  # noqa: PTH108
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, text.encode())
        if os.geteuid() == 0:
            os.fchown(descriptor, identity.uid, identity.gid)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not fresh:
        os.replace(staged, base + name)  # noqa: PTH105


def _own(path: str, identity: Identity, directory: int | None = None) -> None:
    """Give a directory that root made, now or before a crash, to the identity; one that is somebody's stays his."""
    if os.stat(path, dir_fd=directory, follow_symlinks=False).st_uid == 0:
        os.chown(path, identity.uid, identity.gid, dir_fd=directory, follow_symlinks=False)
