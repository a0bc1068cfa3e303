"""What qmail-newu and qmail-newmrh write to the disk. Source: Q-ASSIGN-4..6, Q-MRH-1..3."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mailhost.qmail.assignbulk import pieces
from mailhost.qmail.assigntext import ASSIGN_FILE, NewuError
from mailhost.qmail.cdb.writer import CdbWriter, part, write
from mailhost.qmail.controlfile import BLANKS
from mailhost.qmail.failure import error_text

MOST_OCTETS = 1 << 30
"""Our choice: the users/assign of a million mailboxes has 250 MB, and a cdb has at most 4 GiB (Q-CDB-1)."""


def make(assign: BinaryIO, cdb: BinaryIO) -> None:
    """Write the cdb of an open users/assign into an empty seekable file.

    Raises:
        NewuError: users/assign has a bad line or cannot be read.
        OSError: the cdb cannot be written.
    """
    writer = CdbWriter(cdb)
    ends = b""
    for piece in pieces(assign.fileno()):
        writer.put(piece.part)
        ends += piece.ends
    writer.put(part([b""], [bytes(dict.fromkeys(ends))]))
    writer.finish()


def open_bounded(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        OSError: it cannot be opened, or is larger than MOST_OCTETS.
    """
    file = path.open("rb")
    if os.fstat(file.fileno()).st_size > MOST_OCTETS:
        file.close()
        raise OSError(errno.EFBIG, f"is larger than {MOST_OCTETS} octets, and not read", os.fspath(path))
    return file


def newu(home: Path) -> None:
    """Make users/cdb from users/assign. Source: qmail-newu(8).

    Raises:
        NewuError: it failed; users/cdb is as before, and users/cdb.tmp may be left.
    """
    work = _Replacement("qmail-newu", home, ASSIGN_FILE, "users/cdb.tmp", "users/cdb", "open")
    with work.source("unable to open users/assign") as assign:
        work.run(lambda cdb: make(assign, cdb))


def newmrh(home: Path) -> None:
    """Make control/morercpthosts.cdb from control/morercpthosts. Source: qmail-newmrh(8).

    Raises:
        NewuError: it failed; the text is qmail-newmrh's.
    """
    name = "control/morercpthosts"
    work = _Replacement("qmail-newmrh", home, name, f"{name}.tmp", f"{name}.cdb", "write to")
    with work.source(f"unable to read {name}") as text:
        work.run(lambda cdb: make_more(text, cdb))


def make_more(text: Iterable[bytes], cdb: BinaryIO) -> None:
    """Write the cdb of the lines of control/morercpthosts into an empty seekable file. Source: Q-MRH-1, -2.

    Raises:
        OSError: the cdb cannot be written.
    """
    lines = (line.lower().rstrip(BLANKS) for line in text)
    write(((line, b"") for line in lines if line[:1] not in (b"", b"#")), cdb)


@dataclass(frozen=True, slots=True)
class _Replacement:
    """What both programs share: read one file, write another, make it durable, rename it."""

    program: str
    home: Path
    file: str
    temporary: str
    final: str
    opening: str  # the program's word for opening the temporary file

    def source(self, complaint: str) -> BinaryIO:
        """The open source file."""
        with self.complaining("unable to chdir", str(self.home)):
            os.close(os.open(self.home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        if (self.home / self.file).is_dir():  # the programs can open a directory, and fail when they read it
            complaint = complaint.replace("open", "read")
        with self.complaining(complaint, self.file):
            return open_bounded(self.home / self.file)

    def run(self, put: Callable[[BinaryIO], None]) -> None:
        """Write the temporary file through ``put`` and make it the final one; mode 0644 whatever the umask."""
        with self.complaining(f"unable to {self.opening} {self.temporary}", self.temporary):
            file = (self.home / self.temporary).open("wb")
        with self.complaining(f"unable to write {self.temporary}", self.temporary), file:
            os.fchmod(file.fileno(), 0o644)
            put(file)
            file.flush()
            os.fsync(file.fileno())
        with self.complaining(f"unable to move {self.temporary} to {self.final}", self.final):
            (self.home / self.temporary).replace(self.home / self.final)

    @contextmanager
    def complaining(self, complaint: str, file: str) -> Iterator[None]:
        """Turn an OSError into the program's message; qmail-newmrh adds the reason, qmail-newu does not.

        Raises:
            NewuError: the message, with the file and the system's reason.
        """
        try:
            yield
        except OSError as error:
            reason = f": {error_text(error.errno)}" if self.program == "qmail-newmrh" else ""
            text = f"{self.program}: fatal: {complaint}{reason}"
            raise NewuError(text, file, 0, error.strerror or str(error)) from error
