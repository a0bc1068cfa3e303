"""What an import has put into one mailbox: an append-only file, so that a killed run goes on where it was.

Lines, names percent-encoded::

    T key size sha256 mtime_ns place    taken: it lies in tmp/, synced, and is about to be linked to its place
    P                                   all taken so far are in their places
    M key place                         moved, as the old host moved it (new/ to cur/)
    D key                               removed, as it was on the old host; or taken and never placed
    S octets mtime_ns                   an mbox of that size and date is converted to its end

A line without its newline is from a killed writer and does not count. A message taken and not placed is looked for in
its place and else copied again; one placed and not there was fetched and deleted on the new host: it stays away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from popbox.errors import PopboxError


class Record(NamedTuple):
    """One message of ours. ``place``: ``new/NAME`` or ``cur/NAME`` below the Maildir."""

    key: bytes
    size: int
    sha256: str
    mtime_ns: int
    place: bytes
    placed: bool = False


class Journal:
    """The journal of one mailbox. The file is open only while something is added: there may be many mailboxes."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a torn last line is cut off.

        Raises:
            PopboxError: a line is not of this journal.
        """
        self.records: dict[bytes, Record] = {}
        self.converted: tuple[int, int] | None = None
        self._pending: list[bytes] = []
        self.path = path
        self._there = path.exists()
        text = path.read_bytes() if self._there else b""
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
            try:
                self._take(line.split(b" "))
            except (ValueError, KeyError, IndexError) as why:
                raise PopboxError(f"{path}:{number}: no line of a journal ({why}): {line[:80]!r}") from why

    def _take(self, words: list[bytes]) -> None:
        verb, values = words[0], words[1:]
        if verb == b"T":
            key, place = unquote_to_bytes(values[0]), unquote_to_bytes(values[4])
            self.records[key] = Record(key, int(values[1]), values[2].decode(), int(values[3]), place)
            self._pending.append(key)
        elif verb == b"P":
            self.placed()
        elif verb == b"M":
            self.moved(unquote_to_bytes(values[0]), unquote_to_bytes(values[1]))
        elif verb == b"D":
            self.removed(unquote_to_bytes(values[0]))
        elif verb == b"S":
            self.converted = int(values[0]), int(values[1])
        else:
            raise ValueError("a newer popbox may have written it")

    def unsettled(self) -> list[Record]:
        """Records of a killed run: taken, and perhaps placed."""
        return [self.records[key] for key in self._pending]

    def placed(self) -> None:
        """All pending records are in their places."""
        for key in self._pending:
            if key in self.records:
                self.records[key] = self.records[key]._replace(placed=True)
        self._pending.clear()

    def moved(self, key: bytes, place: bytes) -> None:
        """A record has another place."""
        self.records[key] = self.records[key]._replace(place=place)

    def removed(self, key: bytes) -> None:
        """A record is gone."""
        del self.records[key]
        if key in self._pending:
            self._pending.remove(key)

    def write_taken(self, records: list[Record]) -> None:
        """Note, durably, what is about to be placed."""
        lines = (
            f"T {quote_from_bytes(r.key)} {r.size} {r.sha256} {r.mtime_ns} {quote_from_bytes(r.place)}\n"
            for r in records
        )
        self._write("".join(lines), sync=True)
        for record in records:
            self.records[record.key] = record
            self._pending.append(record.key)

    def write_placed(self) -> None:
        """Note that it is done; durable with the next batch, since a lost note only costs a look."""
        self._write("P\n")
        self.placed()

    def write_moved(self, key: bytes, place: bytes) -> None:
        """Note a move that is done."""
        self._write(f"M {quote_from_bytes(key)} {quote_from_bytes(place)}\n")
        self.moved(key, place)

    def write_removed(self, key: bytes) -> None:
        """Note a removal that is done."""
        self._write(f"D {quote_from_bytes(key)}\n")
        self.removed(key)

    def write_converted(self, octets: int, mtime_ns: int) -> None:
        """Note that an mbox is done."""
        self._write(f"S {octets} {mtime_ns}\n")
        self.converted = octets, mtime_ns

    def make(self) -> None:
        """Make the file, and its name durable, where there is none."""
        if self._there:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_directory(self.path.parent)
        self._there = True

    def _write(self, text: str, *, sync: bool = False) -> None:
        """Append; only what must be known before a message is placed has to be on disk at once."""
        self.make()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            octets = memoryview(text.encode("ascii"))
            while octets:
                octets = octets[os.write(file, octets) :]
            if sync:
                os.fsync(file)
        finally:
            os.close(file)


def sync_directory(path: Path | bytes) -> None:
    """Make the names in a directory durable."""
    at = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(at)
    finally:
        os.close(at)
