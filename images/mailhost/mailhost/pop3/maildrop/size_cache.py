"""``popbox-sizes``: what the scans of a large Maildir have learned, kept in it across restarts of the server.

Sizes as sent take one read of every file, so the first LIST of a large box is a client's most expensive request.
courier (``courierpop3dsizelist``) and Dovecot (``dovecot-uidlist``) keep theirs in the Maildir as well.

A line of text: the file's name, version, byte order, checksum, number of messages, octets of their paths, and the
stamps of new/ and cur/. Then the paths, the ids, and five columns of 64-bit numbers. A file with any fault is
ignored: only time depends on it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import zlib
from array import array
from typing import NamedTuple

from mailhost.pop3.protocol.listing import RUN, Message

VERSION = b"1"

SAVED_FROM = 1_024
"""Messages: a smaller box is read in less than 10 ms, and most boxes need no such file."""

MOST_OCTETS = 1 << 30
"""No longer file is read; 100,000 messages take 9 MB."""

_COLUMNS = "qqqqQ"  # size, content_flags, disk, mtime_ns, inode
_ORDER = sys.byteorder.encode("ascii")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Saved(NamedTuple):
    """``stamps`` of the directories when ``messages`` were all there was, empty when unknown; ``at`` in seconds."""

    stamps: tuple[int, ...]
    messages: list[Message]
    at: float


def name_of(*, qmail_quirks: bool) -> bytes:
    """The file's name: sizes on disk, for the profile ``qmail``, have a file of their own."""
    return b"popbox-sizes-qmail" if qmail_quirks else b"popbox-sizes"


def read(maildir: int, name: bytes) -> Saved | None:
    """What the file in the directory ``maildir`` holds; None where it is not whole, or another user's."""
    try:
        fd = os.open(name, _READ, dir_fd=maildir)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_size > MOST_OCTETS:
            return None
        with open(fd, "rb", closefd=False) as file:
            return _parsed(name, file.readline(4096), file.read(), found.st_mtime)
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)


def _parsed(name: bytes, head: bytes, body: bytes, at: float) -> Saved | None:
    """The line and what it describes; ValueError or None where they do not belong together."""
    words = head.split()
    if len(words) < 6 or words[:3] != [name, VERSION, _ORDER] or int(words[3]) != _checksum(words[4:], body):
        return None
    count, octets, *stamps = map(int, words[4:])
    numbers = len(body) - count * 8 * len(_COLUMNS)
    if not _inside(body[:octets], count):
        return None
    columns = [array(code, body[numbers + 8 * count * n :][: 8 * count]) for n, code in enumerate(_COLUMNS)]
    paths, uids = body[:octets].split(b"\0"), body[octets:numbers].split(b"\0")
    return Saved(tuple(stamps), list(map(Message, paths, uids, *columns)), at)


def _inside(paths: bytes, count: int) -> bool:
    """Whether all ``count`` paths lie in new/ or cur/."""
    all_paths = b"\0" + paths
    return all_paths.count(b"\0new/") + all_paths.count(b"\0cur/") == count == paths.count(b"/")


def packed(name: bytes, stamps: tuple[int, ...], messages: list[Message]) -> bytes:
    """The file's content; ``messages`` is not empty."""
    paths: list[bytes] = []
    uids: list[bytes] = []
    columns = [array(code) for code in _COLUMNS]
    for start in range(0, len(messages), RUN):  # all at once would delay every session by 50 ms
        some_paths, some_uids, *numbers = zip(*messages[start : start + RUN], strict=True)
        paths += some_paths
        uids += some_uids
        for column, part in zip(columns, numbers, strict=True):
            column.extend(part)
    names = b"\0".join(paths)
    body = b"".join([names, b"\0".join(uids), *[column.tobytes() for column in columns]])
    described = [b"%d" % number for number in (len(messages), len(names), *stamps)]
    return b" ".join([name, VERSION, _ORDER, b"%d" % _checksum(described, body), *described]) + b"\n" + body


def _checksum(described: list[bytes], body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(b" ".join(described)))


def write(maildir: bytes, name: bytes, stamps: tuple[int, ...], messages: list[Message]) -> bool:
    """Put a new file in place of the old one; False, and nothing is changed, where that cannot be done.

    That is also where a date does not fit: the year 2262 is the last that nanoseconds in 64 bits can tell.
    What a crash leaves in tmp/ is removed with other old files there. Nothing is synced: a file that is not whole
    after a power cut is told by its checksum.
    """
    temporary = maildir + b"/tmp/%b.%d.%d" % (name, os.getpid(), threading.get_ident())
    try:
        data = packed(name, stamps, messages)
        with open(os.open(temporary, _WRITE, 0o600), "wb") as file:
            file.write(data)
        os.rename(temporary, maildir + b"/" + name)
    except (OSError, OverflowError):
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        return False
    return True


def forget(maildir: int, name: bytes) -> None:
    """Remove the file."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=maildir)
