"""Following a log: ``Follower`` for any host, ``FileFollower`` for a log file that grows.

The file is read on from a position, through rotation, truncation, restarts and half-written last lines.

A file is known by its first octets. Where the path holds another one, or fewer octets than were read, the log was
rotated: renamed (logrotate, multilog, s6-log) or copied and truncated. What was not read of it is then looked for
beside it and read first, then what was rotated after it, at last what is at the path.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from popbox.errors import HostError

FIRST_OCTETS = 1024  # our choice: two logs differ in their first lines
LINE_OCTETS = 64 * 1024  # our choice: what has no end of line for so long is no log line of an MTA, and is passed over
READ_OCTETS = 1 << 18  # our choice: of one read; the rest follows at once, so that memory stays flat
MOST_BESIDE = 100  # our choice: rotated files that are looked at, youngest first
LOST = "the log {} was rotated or removed, and the rest of what was read before is not beside it"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One whole line without its newline. ``place`` tells it from all other lines of its source."""

    text: str
    place: str


class Follower(Protocol):
    """Gives the lines of one log once each, in order. ``position`` is text for a store, to go on from later."""

    gap: str  # after `lines`: why something may be missing behind the lines given; empty if nothing is

    @property
    def position(self) -> str:
        """Behind the last line that was given out."""

    def lines(self) -> Iterator[LogLine]:
        """The whole lines that are there now and were not given out before; it never waits for more.

        Raises:
            OSError: the log cannot be read now.
            HostError: the host cannot show it.
        """

    def close(self) -> None:
        """Let go of file, connection or program."""


@dataclass(slots=True)
class Position:
    """Where reading goes on; it moves with each line.

    ``generation`` counts the files, ``digest`` is that of the first ``digested`` octets.
    """

    generation: int = 0
    offset: int = 0
    inode: int = 0
    digested: int = 0
    digest: str = ""


class FileFollower:
    """Follows one path. See ``Follower``."""

    def __init__(self, path: Path, position: str = "") -> None:
        """``position`` is what the property of that name was; empty: from the beginning of what is at the path."""
        self._path = path
        self._at = Position(*json.loads(position)) if position else Position()
        self._file: BinaryIO | None = None
        self.gap = ""

    @property
    def position(self) -> str:
        """Behind the last line that was given out."""
        at = self._at
        return json.dumps((at.generation, at.offset, at.inode, at.digested, at.digest))

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None

    def lines(self) -> Iterator[LogLine]:
        """The whole lines that are there now and were not given out before; none while there is no file.

        Raises:
            OSError: the file cannot be read.
        """
        self.gap = ""
        while ((self._file and self._holds_ours(self._file)) or self._open_next()) and not self.gap:
            yield from self._rest()
            if self._is_current() or not self._open_next():
                return

    def _rest(self) -> Iterator[LogLine]:
        """The whole lines between our offset and the end of the open file."""
        assert self._file is not None
        while True:
            self._file.seek(self._at.offset)
            octets = self._file.read(READ_OCTETS)
            whole, newline, torn = octets.rpartition(b"\n")
            if newline:
                for line in whole.split(b"\n"):
                    place = f"{self._at.generation}:{self._at.offset}"
                    self._forward(len(line) + 1)
                    if len(line) <= LINE_OCTETS:
                        yield LogLine(line.decode("utf-8", "replace"), place)
            elif len(torn) > LINE_OCTETS:
                self._forward(len(torn))
            if len(octets) < READ_OCTETS:
                return

    def _forward(self, octets: int) -> None:
        self._at.offset += octets
        if self._at.digested < FIRST_OCTETS and self._file:
            self._at.digested = min(FIRST_OCTETS, self._at.offset)
            self._at.digest = _digest(self._file, self._at.digested)

    def _is_current(self) -> bool:
        """Whether the path names the open file still, and it holds what we read of it."""
        assert self._file is not None
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return True  # between rename and creation: the old file is still written to
        ours = os.fstat(self._file.fileno())
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) and self._holds_ours(self._file)

    def _holds_ours(self, file: BinaryIO) -> bool:
        """Whether a file begins as the one that we read, and is no shorter than what we read of it."""
        found = os.fstat(file.fileno())
        if found.st_size < self._at.offset or (not self._at.digested and found.st_ino != self._at.inode):
            return False
        return _digest(file, self._at.digested) == self._at.digest or not self._at.digested

    def _open_next(self) -> bool:
        """Open what is to be read next, at the right offset; False where there is none yet."""
        known, read_whole = bool(self._at.generation), self._file is not None and self._holds_ours(self._file)
        self.close()
        line = [*self._beside(), self._path]
        if known:
            order = [len(line) - 1, *range(len(line) - 1)]
            ours = next((number for number in order if self._opened(line[number])), None)
            if ours is not None and not read_whole:
                return True
            self.close()
            if ours is None and not read_whole:
                self.gap = LOST.format(self._path)
            line = line[ours + 1 :] if ours is not None else line[-1:]
        else:
            line = line[-1:]
        for path in line:
            with suppress(FileNotFoundError):
                self._file = _opened(path)
                self._at = Position(self._at.generation + 1, 0, os.fstat(self._file.fileno()).st_ino)
                return True
        return False

    def _opened(self, path: Path) -> bool:
        """Whether that file is ours; it then stays open."""
        with suppress(FileNotFoundError, PermissionError, IsADirectoryError):
            self._file = _opened(path)
            if self._holds_ours(self._file):
                return True
            self.close()
        return False

    def _beside(self) -> list[Path]:
        """Rotated logs of this path, oldest first: NAME with something behind it, and multilog's and s6-log's @TIME."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self._path.parent) as entries:
            for entry in entries:
                rotated = entry.name.startswith(f"{self._path.name}.") or (
                    self._path.name == "current" and entry.name.startswith("@")
                )
                if rotated and entry.is_file(follow_symlinks=False):
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path))
        return [Path(path) for _, path in sorted(found)[-MOST_BESIDE:]]


def _opened(path: Path) -> BinaryIO:
    """A log opened for reading; a FIFO, which would have us wait for its writer, is refused.

    Raises:
        OSError: it is no regular file, or cannot be read.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def end_of(path: Path, octets: int) -> str:
    """The last whole lines of a log, at most so many octets; empty where there is no file.

    Raises:
        HostError: it is no regular file, or cannot be read.
    """
    try:
        with _opened(path) as file:
            begin = max(0, os.fstat(file.fileno()).st_size - octets)
            found = os.pread(file.fileno(), octets, begin)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise HostError(f"the log {path} cannot be read: {error.strerror}") from error
    return whole_lines(found, cut=begin > 0)


def whole_lines(octets: bytes, *, cut: bool) -> str:
    """The end of a log as text; where its beginning was ``cut`` off, without what is left of the first line."""
    return (octets.partition(b"\n")[2] if cut else octets).decode("utf-8", "replace")


def _digest(file: BinaryIO, octets: int) -> str:
    return hashlib.blake2b(os.pread(file.fileno(), octets, 0), digest_size=8).hexdigest()
