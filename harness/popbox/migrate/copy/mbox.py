"""One mbox on its way into a Maildir: surveyed from a copy of our own, then split; in the same order, every time alike.

The copy is what both passes over it see, whatever the old host does to the file; it needs as much room as the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO

from popbox.migrate.copy.arranged import NAME_OCTETS, not_named
from popbox.migrate.copy.journal import Record
from popbox.migrate.copy.maildir import Staged, uid_of
from popbox.migrate.copy.work import NS, BoxWork, MboxRead
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.mboxes.header import HEAD_OCTETS, date_of, flags_of
from popbox.migrate.oldhost.mboxes.index import SUFFIX, Fitted, fit, is_ours, message, parse
from popbox.migrate.oldhost.mboxes.opened import CHUNK_OCTETS, SMALL_OCTETS, opened
from popbox.migrate.oldhost.mboxes.rule import Rule
from popbox.migrate.oldhost.mboxes.split import Parts, Split
from popbox.migrate.oldhost.mboxes.survey import Choice, Reading
from popbox.migrate.oldhost.tree import Body, FileRequest, OldHostError, OldHostTree, read_text


class MboxCopy:
    """The names of messages are made from date and content, so that a later pass makes the same."""

    def __init__(
        self, box: BoxWork, wanted: FileRequest, choice: Choice, index: bytes | OldHostError | None = None
    ) -> None:
        self.box, self.wanted, self.choice, self.index = box, wanted, choice, index
        self.file = shown(wanted.path)
        self.doubted = self.exact = False
        self.seen: set[bytes] = set()
        self.twins: dict[str, int] = {}
        self.number = self.last_s = 0
        self.latest_s = wanted.entry.mtime_ns // NS

    @property
    def state(self) -> tuple[int, int]:
        """What tells that nothing has changed since a whole conversion: octets and date, and those of the index."""
        size, mtime_ns = self.wanted.entry.size, self.wanted.entry.mtime_ns
        if isinstance(self.index, bytes):
            return size, mtime_ns ^ int(sha256(self.index).hexdigest()[:15], 16)
        return size, mtime_ns

    def convert(self, body: Body) -> None:
        """Take the messages one by one; afterwards, in the final pass, drop those that are no longer there.

        Raises:
            OldHostError: the file is no mbox, or its parts do not add up to it.
            OSError: this machine's disk fails.
        """
        if self.index is None:
            self._by_evidence(self.box.pace.slowed(body))
            return
        with tempfile.SpooledTemporaryFile(SMALL_OCTETS, dir=str(self._beside())) as copy:
            for chunk in self.box.pace.slowed(body):
                copy.write(chunk)
            octets = copy.tell()
            try:
                if isinstance(self.index, OldHostError):
                    raise self.index
                fitted = fit(copy, octets, parse(self.index))
            except (ValueError, OldHostError) as why:
                self._told(f": {why}: its UIDLs and flags are not taken")
                copy.seek(0)
                self._by_evidence(iter(lambda: copy.read(CHUNK_OCTETS), b""))
            else:
                self._by_index(copy, octets, fitted)

    def _by_index(self, copy: IO[bytes], octets: int, fitted: list[Fitted]) -> None:
        """Each message as it was: octets, name, flags and date."""
        self.exact, parts = True, Parts()
        names = _places(fitted, self._told)
        for one, place in zip(fitted, names, strict=True):
            self.box.pace.files.take(1)
            staged = self.box.batch.stage(self.box.target)
            try:
                last = b"\n"
                for piece in message(copy, one):
                    staged.write(piece)
                    last = piece[-1:] or last
                self._put(staged, one.entry.arrival_ns, place)
            except BaseException:
                staged.drop()
                raise
            closed = 1 if last == b"\n" else 2
            parts.from_lines += one.start - one.entry.offset
            parts.text += one.entry.octets
            parts.separators += closed
            parts.quotes += one.end - one.start - one.entry.octets - closed
        reading = Reading("mboxrd by its index", Rule(blank=True), "rd", "LF", False, len(fitted), False, octets)
        _check(parts, len(fitted), reading)
        self.box.tally.mboxes.append(MboxRead(self.box.address, self.file, reading, parts))
        self.box.batch.commit()
        self._settle(reading)

    def _told(self, what: str) -> None:
        self.doubted = True
        self.box.tally.problems.append(f"{self.box.address}: {self.file}{SUFFIX.decode()}{what}")

    def _by_evidence(self, body: Iterable[bytes]) -> None:
        """Each message by what the file says."""
        with opened(body, self.choice, str(self._beside())) as (reading, split):
            whole = reading.octets == self.wanted.entry.size
            self._take_apart(split, reading, reading.messages + reading.folder_data - (not whole))
        if not whole:  # the old host is at work on it: its last message can be half of one
            self.box.put_off(self.wanted.path, f"{reading.octets} octets came, {self.wanted.entry.size} were announced")
            return
        self.box.batch.commit()
        self._settle(reading)

    def _beside(self) -> Path:
        """Where the copy lies: on the disk of our state, which is ours alone."""
        return next(path for path in self.box.target.journal.path.parents if path.exists())

    def _settle(self, reading: Reading) -> None:
        """Note that it is done. With doubts, or messages to remove, it is not, so that each pass says and does so."""
        tally, journal = self.box.tally, self.box.target.journal
        if self.doubted:
            return
        tally.notes += [f"{self.file}: {note}" for note in reading.notes]
        if reading.doubts:
            for line, text in reading.doubts:
                place = f"{self.file}:{line}" if line else self.file
                tally.problems.append(f"{self.box.address}: {place}: {text}")
            return
        gone = [record for key, record in journal.records.items() if key not in self.seen]
        if self.box.final:
            for record in gone:
                tally.removed += self.box.target.remove(record)
        if self.box.final or not gone:  # else the final pass must come here again
            journal.write_converted(*self.state)

    def _take_apart(self, split: Split, reading: Reading, most: int) -> None:
        """The first ``most`` messages, without a mail reader's own notes."""
        staged: Staged | None = None
        head = start = b""
        begun = 0
        try:
            for piece in split:
                if piece.start:
                    if staged is not None:
                        self._add(staged, start, head)
                        staged = None
                    begun += 1
                    if begun <= most and not (reading.folder_data and begun == 1):
                        self.box.pace.files.take(1)
                        staged, head, start = self.box.batch.stage(self.box.target), b"", piece.start
                if staged is not None:
                    staged.write(piece.octets)
                    head += piece.octets[: HEAD_OCTETS - len(head)]
            _check(split.parts, begun, reading)
            if staged is not None:
                last, staged = staged, None
                self._add(last, start, head)
        except BaseException:
            if staged is not None:
                staged.drop()
            raise
        self.box.tally.mboxes.append(MboxRead(self.box.address, self.file, reading, split.parts))

    def _add(self, staged: Staged, start: bytes, head: bytes) -> None:
        """One whole message, named by its date and content."""
        self.number += 1
        own_s = date_of(start, head)
        self.last_s = max(min(self.latest_s if own_s is None else own_s, self.latest_s), self.last_s)
        name = b"%d.M%06dP%s.popbox" % (self.last_s, self.number, staged.sha256[:16].encode())
        flags = flags_of(head)
        place = b"new/" + name if flags is None else b"cur/" + name + b":2," + flags
        self._put(staged, self.last_s * NS + self.number, place)

    def _put(self, staged: Staged, mtime_ns: int, place: bytes) -> None:
        """Known by its content, so that a later pass finds it again wherever it stands then, whatever its name."""
        digest = staged.sha256
        self.twins[digest] = self.twins.get(digest, -1) + 1
        key = b"%s.%d" % (digest[:32].encode(), self.twins[digest])
        self.seen.add(key)
        known = self.box.target.journal.records.get(key)
        record = Record(key, staged.size, digest, mtime_ns, place)
        if known is not None:
            staged.drop()
            self._skip(known, place)
        elif self.box.is_there(record, uid_of(place)):
            staged.drop()
        else:
            self.box.ours.add(uid_of(place))
            self.box.batch.add(staged, record)
            self.box.count_copied(staged.size)

    def _skip(self, known: Record, place: bytes) -> None:
        """One that an earlier pass brought; by an index it gets the name that it should have."""
        if self.exact and uid_of(place) != uid_of(known.place):
            self.box.tally.moved += self.box.target.move(known, place)
        self.last_s = max(self.last_s, known.mtime_ns // NS)
        self.box.tally.known += 1
        self.box.tally.deleted_there += self.box.target.place_of(known) is None
        self.box.pace.meter.known_already(1, known.size)


def beside(tree: OldHostTree, wanted: FileRequest) -> bytes | OldHostError | None:
    """The index of an mbox, as an export writes it; None for none, an error for one that cannot be read."""
    try:
        text = read_text(tree, wanted.path + SUFFIX)
    except OldHostError as why:
        return why
    return text if text is not None and is_ours(text) else None


def _places(fitted: list[Fitted], told: Callable[[str], None]) -> Iterator[bytes]:
    """Where each message goes by its flags and UIDL; one that no name can have is told: then by date and content."""
    taken: set[bytes] = set()
    for number, (entry, *_) in enumerate(fitted, start=2):
        part, _, rest = entry.flags.partition(b":")
        flags, uid = b":" + rest if rest else b"", entry.uidl
        if why := not_named(uid, flags, taken):
            told(f":{number}: UIDL {shown(uid)}: {why}")
            uid = b"%d.M%06dP%s.popbox" % (max(entry.arrival_ns, 0) // NS, number - 1, entry.sha256[:16].encode())
            flags = flags if len(uid + flags) <= NAME_OCTETS else b""
        taken.add(uid)
        yield part + b"/" + uid + flags


def _check(parts: Parts, begun: int, reading: Reading) -> None:
    """That each octet of the file is accounted for, by another count than the reader's own."""
    if parts.octets != reading.octets or begun != reading.messages + reading.folder_data:
        raise OldHostError(f"its parts do not add up: {begun} messages, {parts}, against {reading}")
