"""The .qmail file of a delivery: the names tried, the refusals, the meaning of its lines. Source: Q-DOT-*, Q-LINE-*."""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from mailhost.qmail.control import DEFAULT_DELIVERY
from mailhost.qmail.failure import Failure, error_text, is_temporary

WRITABLE = stat.S_IWOTH  # conf-patrn of the stock build; group-writable passes (Q-LOCAL-3, E-44)
HOME_WRITABLE = Failure(permanent=False, text="Uh-oh: home directory is writable. (#4.7.0)")
HOME_STICKY = Failure(permanent=False, text="Home directory is sticky: user is editing his .qmail file. (#4.2.1)")
FILE_WRITABLE = Failure(permanent=False, text="Uh-oh: .qmail file is writable. (#4.7.0)")
USAGE = Failure(
    permanent=True,
    text="qmail-local: usage: qmail-local [ -nN ] user homedir local dash ext domain sender aliasempty",
)
NOT_FOLLOWED = Failure(permanent=False, text="The .qmail file is a link, and not followed.")  # ours, never qmail's
NO_MAILBOX = Failure(permanent=True, text="Sorry, no mailbox here by that name. (#5.1.1)")
BLANK_FIRST = Failure(permanent=False, text="Uh-oh: first line of .qmail file is blank. (#4.2.1)")
ADDRESS_OCTETS = 1002  # what qmail-queue takes of a sender or recipient (Q-QUEUE-3, Q-FWD-9)
TOO_LONG = Failure(permanent=True, text="Unable to forward message: envelope address too long for qq (#5.1.3).")
FILE_AND_X = Failure(permanent=False, text="Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)")
PROG_AND_X = Failure(permanent=False, text="Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)")
_DEFAULT = b"default"
MOST_OCTETS = 1 << 20
"""Our choice: 30,000 forwards. qmail reads any size, and defers when it runs out of memory; a sparse file of 64 GiB
costs its owner nothing."""
Opened: TypeAlias = "tuple[bytes, int] | Failure | None"
"""What stands under a name: (content, st_mode), a refusal, or None when it counts as absent (Q-DOT-7..9)."""


class Kind(Enum):
    """What one line of a .qmail file does; the values are the words qmail-local -n prints."""

    MAILDIR = "maildir"
    MBOX = "mbox"
    PROGRAM = "program"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One delivery: ``argument`` is the path, command or address, without marker and trailing blanks; ``line`` from 1.

    With ``failure`` set, the delivery stops at this line; the lines before it have been carried out (Q-LOCAL-9).
    """

    kind: Kind
    argument: bytes
    line: int
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The instructions to follow: ``name`` is the .qmail file, None for the default delivery that needs no file.

    ``mode`` is the file's st_mode. ``default``: the value of DEFAULT; None: it is not set (Q-DOT-10). ``tried``: the
    names tried before it.
    """

    name: bytes | None
    text: bytes
    mode: int
    default: bytes | None
    tried: tuple[bytes, ...]

    @property
    def executable(self) -> bool:
        """Whether its owner may execute it."""
        return bool(self.mode & stat.S_IXUSR)


def safe(ext: bytes) -> bytes:
    """``ext`` as it stands in a file name: lower case, dots as colons (Q-DOT-1)."""
    return ext.lower().replace(b".", b":")


@functools.lru_cache(maxsize=256)  # of most boxes both are empty
def _candidates(dash: bytes, ext: bytes) -> tuple[tuple[bytes, bytes | None], ...]:
    """(file name, DEFAULT) in the order tried (Q-DOT-1, -2, -10)."""
    name = safe(ext)
    exact = ext[len(name) - len(_DEFAULT) :] if name.endswith(_DEFAULT) else None
    return tuple(zip(names(dash, ext), [exact, *(ext[end:] for end in _cuts(name))], strict=True))


def _cuts(name: bytes) -> Iterator[int]:
    """Where ``default`` can stand for the rest: behind each dash, the last one first, and at the beginning."""
    end = len(name)
    while end := name.rfind(b"-", 0, end) + 1:
        yield end
        end -= 1
    yield 0


def names(dash: bytes, ext: bytes) -> tuple[bytes, ...]:
    """The .qmail names that qmail-local tries, in order (dot-qmail(5), facts B.4)."""
    name = safe(ext)
    base = b".qmail" + dash
    return (base + name, *[base + name[:end] + _DEFAULT for end in _cuts(name)])


def check_home(home_dir: bytes) -> Failure | None:
    """Why qmail-local would refuse this home directory, as the calling user sees it; or None (Q-LOCAL-1..5)."""
    return judge_home(home_dir, _directory_mode)


def judge_home(home_dir: bytes, mode_of: Callable[[bytes], int]) -> Failure | None:
    """The same where ``mode_of`` gives a directory's mode, or raises the OSError that chdir would have."""
    if not home_dir.startswith(b"/"):
        return USAGE
    try:
        mode = mode_of(home_dir)
    except OSError as error:
        home = os.fsdecode(home_dir)
        return Failure(permanent=False, text=f"Unable to switch to {home}: {error_text(error.errno)}. (#4.3.0)")
    if mode & WRITABLE:
        return HOME_WRITABLE
    return HOME_STICKY if mode & stat.S_ISVTX else None


def _directory_mode(directory: bytes) -> int:
    """The mode of a directory we may enter: looking up its ``.`` needs the search permission that chdir needs."""
    fd = os.open(directory + b"/.", os.O_PATH | os.O_CLOEXEC)
    try:
        return os.fstat(fd).st_mode
    finally:
        os.close(fd)


def find(home_dir: bytes, dash: bytes, ext: bytes, *, follow: bool = True) -> Found | Failure:
    """The .qmail file for (dash, ext) in an absolute home directory, read as the calling user (Q-DOT-1..10).

    ``check_home`` checks the directory itself; the loop check comes between the two (Q-LOCAL-6). Without ``follow``,
    a link, or a second name of another user's file, is NOT_FOLLOWED: root can read files that the owner of the
    directory cannot.
    """
    return search(dash, ext, lambda name: _open(home_dir, name, follow))


def search(dash: bytes, ext: bytes, open_one: Callable[[bytes], Opened]) -> Found | Failure:
    """The first file of a home that there is, opened by name with ``open_one``; without any, what that means."""
    tried: list[bytes] = []
    for name, default in _candidates(dash, ext):
        opened = open_one(name)
        if isinstance(opened, Failure):
            return opened
        if opened is not None:
            text, mode = opened
            return Found(name, text, mode, default, tuple(tried))
        tried.append(name)
    if dash:
        return NO_MAILBOX
    return Found(None, b"", mode=0, default=None, tried=tuple(tried))


def _owns(directory: bytes, status: os.stat_result) -> bool:
    """Whether a file is its directory's owner's."""
    try:
        return os.stat(directory).st_uid == status.st_uid
    except OSError:
        return False


def _open(home_dir: bytes, name: bytes, follow: bool) -> Opened:
    """A regular file of the disk, as the calling user may open it."""
    try:
        # O_NONBLOCK: a FIFO of that name must not block us; it counts as absent.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        fd = os.open(home_dir + b"/" + name, flags)
    except OSError as error:
        return NOT_FOLLOWED if error.errno == errno.ELOOP and not follow else not_opened(name, error)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        if not follow and status.st_nlink > 1 and not _owns(home_dir, status):
            return NOT_FOLLOWED
        if status.st_mode & WRITABLE:
            return FILE_WRITABLE
        text = _content(fd)
        return too_large(name) if text is None else (text, status.st_mode)
    finally:
        os.close(fd)


def not_opened(name: bytes, error: OSError) -> Failure | None:
    """What an error at the opening of a .qmail file means; None: the file counts as absent (Q-DOT-7)."""
    if is_temporary(error.errno) or isinstance(error, PermissionError):
        text = f"Unable to open {os.fsdecode(name)}: {error_text(error.errno)}. (#4.3.0)"
        return Failure(permanent=False, text=text)
    return None


def _content(fd: int) -> bytes | None:
    """The text of an open .qmail file, None where it is too large for us to read."""
    pieces, left = [], MOST_OCTETS + 1
    while left and (piece := os.read(fd, min(left, 1 << 16))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces) if left else None


def too_large(name: bytes) -> Failure:
    """A .qmail file of more than MOST_OCTETS is not read."""
    return Failure(permanent=False, text=f"{os.fsdecode(name)} is larger than {MOST_OCTETS} octets, and not read.")


def parse(text: bytes, executable: bool = False, default: bytes = DEFAULT_DELIVERY) -> tuple[Instruction, ...]:
    """The instructions of the lines, in order, up to the first line that fails. Source: dot-qmail(5), Q-LINE-1..8.

    An empty ``text`` means ``default``, qmail-start's delivery instruction, for which the x bit does not count.
    An empty result drops the mail, with success. A NUL ends an argument only when it is used.
    """
    forward_only = executable and bool(text)
    result: list[Instruction] = []
    for number, raw in enumerate((text or default).split(b"\n"), start=1):
        line = raw.rstrip(b" \t")
        if line == b"+list":
            forward_only = True
        if number == 1 and line[:1] in (b"", b"\0"):
            return (Instruction(Kind.FORWARD, b"", 1, BLANK_FIRST),)
        if line[:1] in (b"", b"\0", b"#", b"+"):
            continue
        result.append(_instruction(line, number, forward_only))
        if result[-1].failure is not None:
            break
    return tuple(result)


def _instruction(line: bytes, number: int, forward_only: bool) -> Instruction:
    """The first byte decides (Q-LINE-4, -5)."""
    if line[:1] in (b".", b"/"):
        kind = Kind.MAILDIR if line.endswith(b"/") else Kind.MBOX
        return Instruction(kind, line, number, FILE_AND_X if forward_only else None)
    if line[:1] == b"|":
        return Instruction(Kind.PROGRAM, line[1:], number, PROG_AND_X if forward_only else None)
    return Instruction(Kind.FORWARD, line.removeprefix(b"&"), number)
