"""For mbox: one mboxrd file of a mailbox, written as its messages stream by, and what it cannot hold of them.

Lines ``>*From `` get one ``>`` more, as mbox(5) of qmail calls it mboxrd. A message's octets are its own but for that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import IO

from popbox.migrate.oldhost.mboxes.index import Entry, status_fields
from popbox.migrate.oldhost.mboxes.opened import CHUNK_OCTETS
from popbox.migrate.oldhost.mboxes.split import Split
from popbox.migrate.oldhost.mboxes.survey import Choice, survey

HEAD_OCTETS = 64 << 10  # our choice: where the Return-Path is looked for
SENDER_OCTETS = 800  # our choice: a From_ line of ours stays below the 1,000 octets that `index` reads as one
LATEST_S = 253_402_300_799  # the end of the year 9999
NS = 1_000_000_000
AS_WRITTEN = Choice("rd", "blank")
_LINE = re.compile(rb"\n(>*From )")
_OPEN = re.compile(rb"\n>*(F(?:r(?:o(?:m)?)?)?)\Z")
_BARE = re.compile(rb"\n>*\Z")
_HEADER_END = re.compile(rb"(?:\A|\n)\r?\n")
_RETURN_PATH = re.compile(rb"(?:\A|\n)Return-Path:[ \t]*<([^>\r\n]*)>", re.I)


class Quoter:
    """Adds a ``>`` to each line ``>*From ``, wherever the pieces are cut; holds back four octets at most."""

    def __init__(self) -> None:
        """A line begins."""
        self._bare, self._held = True, b""

    def take(self, piece: bytes) -> bytes:
        """What can be written now."""
        text = (b"\n" if self._bare else b"x") + self._held + piece
        text = _LINE.sub(rb"\n>\1", text)
        cut = _OPEN.search(text)
        self._held = cut[1] if cut else b""
        text = text[: len(text) - len(self._held)]
        self._bare = _BARE.search(text) is not None
        return text[1:]

    def rest(self) -> bytes:
        """What was held back."""
        return self._held


def from_line(head: bytes, arrival_ns: int) -> bytes:
    """The From_ line of a message by the beginning of its text; blanks and controls in a sender are ``-`` (qmail)."""
    end = _HEADER_END.search(head)
    found = _RETURN_PATH.search(head[: end.start()] if end else head)
    sender = re.sub(rb"[\0-\x20\x7f]", b"-", found[1]) if found else b""
    if not 0 < len(sender) <= SENDER_OCTETS:
        sender = b"MAILER-DAEMON"
    moment = time.gmtime(min(max(arrival_ns // NS, 0), LATEST_S))
    return b"From " + sender + b" " + time.asctime(moment).encode() + b"\n"


@dataclass(slots=True)
class Writer:
    """Writes messages to ``file``, which is open for reading and writing; ``fields``: add Status and X-UIDL."""

    file: IO[bytes]
    fields: bool

    def add(self, body: Iterator[bytes], arrival_ns: int, flags: bytes, uidl: bytes) -> tuple[Entry, str]:
        """One message, and in words what this format changes of it.

        Raises:
            OldHostError: it cannot be read to its end; the file ends then as if it had not begun.
            OSError: the disk refuses a write.
        """
        offset = self.file.tell()
        try:
            return self._add(offset, body, arrival_ns, flags, uidl)
        except BaseException:
            self.file.seek(offset)
            self.file.truncate()
            raise

    def _add(self, offset: int, body: Iterator[bytes], arrival_ns: int, flags: bytes, uidl: bytes) -> tuple[Entry, str]:
        head = b""
        for piece in body:
            head += piece
            if len(head) >= HEAD_OCTETS:
                break
        own, written, quoter = sha256(), sha256(), Quoter()
        first = status_fields(flags, uidl) if self.fields else b""
        written.update(first)
        self.file.write(from_line(head, arrival_ns) + first)
        octets, last = 0, b"\n"
        for piece in _then(head, body):
            own.update(piece)
            written.update(piece)
            octets, last = octets + len(piece), piece[-1:] or last
            self.file.write(quoter.take(piece))
        self.file.write(quoter.rest())
        told = "has no octets, which reads back as the empty line of a header" if not octets and not first else ""
        if octets and last != b"\n":
            told = "has no newline at its end: one is added, as a line of an mbox has one"
            written.update(b"\n")
            self.file.write(b"\n")
        self.file.write(b"\n")
        return Entry(offset, octets, own.hexdigest(), arrival_ns, flags, uidl, written.hexdigest()), told


def _then(head: bytes, body: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from body


def read_back(file: IO[bytes], entries: list[Entry]) -> Iterator[tuple[int, str]]:
    """What popbox's own reader finds otherwise than it was written: the number of a message from 0, and in words."""
    file.seek(0)
    reading = survey(_pieces(file), AS_WRITTEN)
    file.seek(0)
    found: list[str] = []
    octets = sha256()
    for piece in Split(_pieces(file), reading):
        if piece.start:
            found.append("")
            octets = sha256()
        octets.update(piece.octets)
        found[-1] = octets.hexdigest()
    for number, entry in enumerate(entries):
        if number >= len(found) or found[number] != entry.written:
            yield number, "reads back otherwise from an mbox; the index tells where it lies"
            if len(found) != len(entries):
                return
    if reading.folder_data and entries:
        yield 0, "looks like a mail reader's own notes, which an import leaves out"


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(CHUNK_OCTETS):
        yield piece
