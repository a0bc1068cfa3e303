"""A box on disk: ``popboxes/<prefix>/<box>/`` with ``.qmail``, ``.qmail-default`` and ``Maildir/{tmp,new,cur}``."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

from mailhost.accounts.errors import BusyError
from mailhost.accounts.files.durable import SUFFIX, Mark
from mailhost.accounts.layout import Identity
from mailhost.accounts.model import Delivery
from mailhost.system.beneath import Beneath
from mailhost.system.reading import Refused

DOT_QMAIL, DOT_DEFAULT = ".qmail", ".qmail-default"
_MAILDIR = ("Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur")
DOT_QMAIL_OCTETS = 1 << 20
"""Our choice: 30,000 forwards. qmail reads any size, and defers when its memory is at an end."""


@dataclass(frozen=True, slots=True)
class DotQmail:
    """What a ``.qmail`` of ours says: at most one delivery, then any number of forwards."""

    delivery: Delivery | None
    forwards: tuple[str, ...] = ()

    def render(self) -> bytes:
        """The file's text."""
        lines = [self.delivery.value] if self.delivery else []
        return "".join(f"{line}\n" for line in [*lines, *("&" + target for target in self.forwards)]).encode()


@functools.lru_cache(maxsize=8)  # the .qmail of nearly all boxes has the same text
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


def read(tree: Beneath, path: str, owner: int) -> bytes | None:
    """The text of a .qmail below ``tree``, None where there is none; what is no regular file counts as none (Q-DOT-7).

    Its directory belongs to the one who delivers there: see `beneath`. ``owner`` is that one's uid.

    Raises:
        Refused: it is a link, a second name of another user's file, or longer than `DOT_QMAIL_OCTETS`.
        BusyError: it cannot be read.
    """
    try:
        return tree.read(path, DOT_QMAIL_OCTETS, owner)
    except Refused:
        raise
    except OSError as why:
        raise BusyError(f"{why.filename}: cannot be read: {why.strerror}") from why


def mark(tree: Beneath, path: str) -> Mark | None:
    """The mark of what stands at a path below ``tree``, a link itself; None where nothing does."""
    found = tree.lstat(path)
    return None if found is None else Mark.of(found)


def make(tree: Beneath, box: str, texts: dict[str, str], identity: Identity, *, maildir: bool, sync: bool) -> None:
    """Make what is missing of a box (``prefix/name``) and write its files; 0700 and 0600, owned by the identity.

    A new box appears whole, by a rename: where it takes the place of one that was moved aside, mail is led there
    already, and a box without its .qmail yet would have that mail in ./Mailbox (Q-DOT-6). Written so that it can be
    done again after a crash. ``sync`` makes it durable at once; without it the caller syncs once for many boxes.

    Raises:
        BusyError: the system refuses (disk full, no permission), or something of another kind is in the way.
    """
    try:
        prefix, _, name = box.rpartition("/")
        with _opened(tree, prefix) as domain:
            if domain.lstat(name) is None:
                _make_fresh(domain, name, texts, _owner(identity), maildir=maildir, sync=sync)
            else:
                with domain.below(name) as inside:
                    _mend(inside, texts, _owner(identity), maildir=maildir, sync=sync)
            for path in (name, "") if sync else ():
                domain.sync(path)
    except OSError as why:
        raise BusyError(f"{why.filename or box}: {why.strerror}") from why


def _opened(tree: Beneath, prefix: str) -> Beneath:
    """The directory of a domain's boxes, made where it is missing."""
    try:
        return tree.below(prefix)
    except FileNotFoundError:
        make_prefix(tree, prefix)
        return tree.below(prefix)


def make_prefix(tree: Beneath, prefix: str) -> None:
    """Make the directory of a domain's boxes, which everybody may search, whatever the umask (Q-PERM-6)."""
    staged = f".{prefix}{SUFFIX}"
    tree.remove(staged)
    tree.make(staged, 0o755)
    tree.rename(staged, prefix)
    tree.sync("")


def _make_fresh(
    domain: Beneath, name: str, texts: dict[str, str], owner: tuple[int, int] | None, *, maildir: bool, sync: bool
) -> None:
    """Make a whole box beside its place, in a directory that is still root's: what is in it is told by names alone."""
    staged = f".{name}{SUFFIX}"
    try:
        inside = domain.make_private(staged)
    except FileExistsError:
        domain.remove(staged)  # a crash left it
        inside = domain.make_private(staged)
    with inside:
        top = inside.fileno()
        for path in _MAILDIR if maildir else ():
            os.mkdir(path, 0o700, dir_fd=top)
            os.chmod(path, 0o700, dir_fd=top)  # whatever the umask
            if owner:
                os.chown(path, *owner, dir_fd=top)
            if sync:
                inside.sync(path)
        for file, text in texts.items():
            inside.write(file, text.encode(), 0o600, owner, sync=sync)
        if owner:
            os.fchown(top, *owner)
    domain.rename(staged, name)


def _mend(box: Beneath, texts: dict[str, str], owner: tuple[int, int] | None, *, maildir: bool, sync: bool) -> None:
    """Make what is missing of a box that is there, and replace its files."""
    for path in _MAILDIR if maildir else ():
        try:
            box.make(path, 0o700, owner)
        except FileExistsError:
            _own(box, path, owner)
        if sync:
            box.sync(path.rpartition("/")[0])
    for file, text in texts.items():
        box.remove(SUFFIX)
        box.write(SUFFIX, text.encode(), 0o600, owner, sync=sync)
        box.rename(SUFFIX, file, replace=True)
    _own(box, "", owner)


def _owner(identity: Identity) -> tuple[int, int] | None:
    """To whom root gives what it makes."""
    return (identity.uid, identity.gid) if os.geteuid() == 0 else None


def _own(box: Beneath, path: str, owner: tuple[int, int] | None) -> None:
    """Give a directory that root made, now or before a crash, to the owner; one that has an owner keeps it."""
    with box.directory(path) as descriptor:
        if owner and os.fstat(descriptor).st_uid == 0:
            os.fchown(descriptor, *owner)
